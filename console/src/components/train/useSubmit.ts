/** Starts the training: makes the model if it is a new one, but never a second time. */

import { ref, shallowRef } from 'vue'
import { api, ask, Problem, type Schema } from '@/api/client'
import { useOnce } from '@/lib/idempotency'
import { same } from '@/lib/json'
import type { Training } from './useTraining'

export function useSubmit(training: Training) {
  const submitting = ref(false)
  const problem = shallowRef<Problem>()
  /** A new model that is made, whose training was refused. */
  const made = shallowRef<{ id: number; as: Training['newModel']['value'] }>()
  /** Where an already running training can be seen. */
  const target = ref<number>()
  const once = useOnce()

  async function modelToTrain(): Promise<number> {
    if (training.existing.value && training.model.value) return training.model.value.id
    const wanted = training.newModel.value
    if (!made.value) {
      const model = await once('model', wanted, (key) => ask(api.POST('/api/v2/ai/models', { body: wanted, params: { header: { 'Idempotency-Key': key } } })))
      made.value = { id: model.id, as: wanted }
    } else if (!same(made.value.as, wanted)) {
      const { id } = made.value
      await ask(api.PATCH('/api/v2/ai/models/{id}', { params: { path: { id } }, body: { plugin_version: null, ...wanted } }))
      made.value = { id, as: wanted }
    }
    return made.value.id
  }

  /** Gives the model whose training is submitted; undefined if it was refused. */
  async function submit(): Promise<number | undefined> {
    if (submitting.value) return undefined
    submitting.value = true
    problem.value = undefined
    target.value = undefined
    try {
      const id = await modelToTrain()
      target.value = id
      // Optional fields that have a usual value are left out of it, which the description's types do not know.
      const body = training.body.value as unknown as Schema<'TrainBody'>
      await once(`train ${id}`, body, (key) => ask(api.POST('/api/v2/ai/models/{id}/train', { params: { path: { id }, header: { 'Idempotency-Key': key } }, body })))
      return id
    } catch (error) {
      problem.value = Problem.from(error)
      return undefined
    } finally {
      submitting.value = false
    }
  }

  return { submitting, problem, made, target, submit }
}
