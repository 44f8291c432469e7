import { effectScope, type EffectScope } from 'vue'
import { afterEach, expect, test, vi } from 'vitest'
import { useTraining } from '@/components/train/useTraining'

const run = {
  id: 'r', plugin: 'mlp', plugin_version: '1.0.0', seed: 7, training_parameters: { epochs: 9 }, labels: ['gpu'],
  limits: { time_seconds: 60, memory_mb: 512, device: 'cuda', tf32: true }, training_dataset: { source: 'upload', dataset_id: 'x', lookback: 3, horizon: 2 },
}
const model = { id: 1, name: 'pump', plugin: 'mlp', plugin_version: '1.0.0', training_parameters: { device: 'cuda:1', tf32: true }, training_dataset: run.training_dataset }
const plugin = { name: 'mlp', version: '1.0.0', tasks: ['forecasting'], parameters: { properties: { epochs: { type: 'integer', default: 5 } } } }

vi.mock('@/api/client', async (original) => ({
  ...(await original<object>()),
  ask: (answer: unknown) => answer,
  api: {
    GET: async (path: string) => (path.endsWith('/{run}') ? run : path.endsWith('/{id}') ? model : { items: [plugin] }),
  },
}))

let scope: EffectScope
afterEach(() => scope.stop())

async function training() {
  scope = effectScope()
  const made = scope.run(useTraining)
  if (!made) throw new Error('the scope is over')
  await vi.waitFor(() => expect(made.plugins.data.value).toBeDefined())
  return made
}

test('a model that wants a card can be trained on the processor for once', async () => {
  const { form, body, take } = await training()
  await take(1)
  await vi.waitFor(() => expect(form.computeOn).toBe('cuda:1'))
  expect(body.value).toMatchObject({ device: 'cuda:1', tf32: true })
  form.computeOn = 'cpu'
  expect(body.value).toMatchObject({ device: 'cpu', tf32: false })
  form.computeOn = 'auto'
  form.tf32 = false
  expect(body.value).toMatchObject({ device: 'auto', tf32: false })
})

test('a run says where it was computed, whatever its model says, and may go elsewhere', async () => {
  const { form, typed, body, take } = await training()
  await take(1, 'r')
  await vi.waitFor(() => expect(typed.value).toEqual({ epochs: '9' }))
  expect(body.value).toMatchObject({ seed: 7, device: 'cuda', tf32: true, training_parameters: { epochs: 9 } })
  form.computeOn = 'cpu'
  expect(body.value).not.toHaveProperty('labels')
})
