import { describe, expect, it } from 'vitest'
import { execFileSync } from 'node:child_process'
import { curl, literal, python, quoted, type Training } from '@/lib/snippets'

const hostile = `it's "$(reboot)" \`id\` \\ \n\u202e 名`
const training: Training = {
  address: 'http://127.0.0.1:8080',
  model: 3,
  signedIn: true,
  body: {
    training_dataset: { source: 'upload', dataset_id: 'x', target: hostile, lookback: 48, preprocess: { sort: true } },
    training_parameters: { hidden: [64, 32], rate: 1e-7, norm: false, limit: null },
    seed: 1,
  },
}

describe('curl', () => {
  it('sends what the page would send, whatever is in it', () => {
    const command = curl(training).replace('curl ', 'printf "%s\\0" ')
    const said = execFileSync('sh', ['-c', command], { env: { TRAINYARD_TOKEN: 'ty_secret' } }).toString().split('\0')
    expect(said).toContain('http://127.0.0.1:8080/api/v2/ai/models/3/train')
    expect(said).toContain('Authorization: Bearer ty_secret')
    expect(JSON.parse(said[said.indexOf('-d') + 1] ?? '')).toEqual(training.body)
    expect(curl(training)).not.toContain('\u202e')
  })

  it('makes a new model first', () => {
    const command = curl({ ...training, model: { name: "o'clock", plugin: 'mlp' }, signedIn: false })
    expect(command).toContain('| jq .data.id)')
    expect(command).toContain('/models/$MODEL/train"')
    expect(command).not.toContain('TOKEN')
  })

  it('quotes for a shell', () => expect(quoted("a'b")).toBe(`'a'\\''b'`))
})

describe('Python', () => {
  it('writes values as Python does', () => {
    expect(literal({ a: [true, null, 1.5], 'b"': 'x' })).toBe('{"a": [True, None, 1.5], "b\\"": "x"}')
    expect(literal([Number.NaN, Infinity, -Infinity])).toBe('[float("nan"), float("inf"), float("-inf")]')
    expect(literal({ list: Array.from({ length: 40 }, (_, at) => at) })).toContain('\n')
  })

  it('names what the client names', () => {
    const script = python(training)
    expect(script).toContain('run = client.train(\n    3,\n    {"source": "upload", "dataset_id": "x"},\n')
    expect(script).toContain('    parameters={"hidden": [64, 32], "rate": 1e-7, "norm": False, "limit": None},\n')
    expect(script).toContain('    preprocess={"sort": True},\n')
    expect(script).not.toContain('\u202e')
    expect(python({ ...training, model: { name: 'w', plugin: 'mlp', plugin_version: '0.1.0' } })).toContain('model = client.create_model("w", plugin="mlp", plugin_version="0.1.0")')
  })
})
