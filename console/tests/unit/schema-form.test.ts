import { describe, expect, it } from 'vitest'
import { boundsOf, fieldsOf, fill, lengthsOf, rangeOf, read, write, type Field } from '@/lib/schema-form'
import { count, partsOf, readSplit, stretches, windowsIn } from '@/lib/split'
import { cardsAmong, datasetOf, emptyForm, optionsOf, placeOf, sourceOf, takeDataset, takeOptions } from '@/lib/train-form'

const schema = {
  type: 'object',
  required: ['depth'],
  $defs: { Mode: { type: 'string', enum: ['a', 'b'], description: 'of the definition' } },
  properties: {
    hidden: { type: 'array', items: { type: 'integer', minimum: 1 }, maxItems: 3, default: [64, 64] },
    names: { type: 'array', items: { type: 'string' }, default: ['x'] },
    rate: { type: 'number', exclusiveMinimum: 0, maximum: 1, default: 0.001, description: 'How far.' },
    epochs: { type: 'integer', minimum: 1, maximum: 100, default: 10 },
    depth: { type: 'integer', minimum: 1 },
    norm: { type: 'boolean', default: false },
    activation: { type: 'string', enum: ['relu', 'tanh'], default: 'relu' },
    mode: { $ref: '#/$defs/Mode', default: 'a' },
    limit: { anyOf: [{ type: 'integer', minimum: 2 }, { type: 'null' }], default: null },
    odd: { type: 'object', default: { a: 1 } },
  },
}
const fields = fieldsOf(schema)
const field = (name: string) => fields.find((one) => one.name === name) as Field

describe('a schema as fields', () => {
  it('has its parameters in order, each of the kind that is typed', () => {
    expect(fields.map(({ name, kind }) => `${name} ${kind}`)).toEqual([
      'hidden list', 'names list', 'rate number', 'epochs integer', 'depth integer', 'norm boolean', 'activation choice', 'mode choice',
      'limit integer', 'odd json',
    ])
    expect(field('limit').nullable).toBe(true)
    expect(field('mode').help).toBe('of the definition')
    expect(field('rate').help).toBe('How far.')
  })

  it('survives what is no schema', () => {
    for (const odd of [null, 7, [], {}, { properties: 3 }]) expect(fieldsOf(odd)).toEqual([])
    expect(fieldsOf({ properties: { a: true, b: { type: 3, enum: 'x', minimum: 'y' }, c: { $ref: '#/$defs/c' } }, $defs: { c: { $ref: '#/$defs/c' } } }).map(({ kind }) => kind)).toEqual(['json', 'json', 'json'])
  })

  it('tells ranges by their ends', () => {
    expect(rangeOf(field('rate'))).toEqual({ key: 'aboveTo', values: { low: 0, high: 1 } })
    expect(rangeOf(field('epochs'))).toEqual({ key: 'fromTo', values: { low: 1, high: 100 } })
    expect(rangeOf(field('depth'))).toEqual({ key: 'from', values: { low: 1 } })
    expect(rangeOf(field('norm'))).toBeUndefined()
  })

  it('tells bounds and lengths in signs', () => {
    expect(['rate', 'epochs', 'norm'].map((name) => boundsOf(field(name)))).toEqual(['> 0, ≤ 1', '≥ 1, ≤ 100', ''])
    expect(boundsOf(field('hidden').item as Field)).toBe('≥ 1')
    expect(lengthsOf(field('hidden'))).toBe('0 – 3')
    expect(lengthsOf(fieldsOf({ properties: { a: { type: 'array', minItems: 2 } } })[0] as Field)).toBe('2 – ∞')
    expect(lengthsOf(field('names'))).toBe('')
  })

  it('keeps the type that the schema says', () => {
    expect(['mode', 'limit', 'hidden', 'odd'].map((name) => field(name).type)).toEqual(['string', 'integer', 'array', 'object'])
    expect(fieldsOf({ properties: { a: { type: ['boolean', 'null'] }, b: { type: 'array', items: { enum: ['x'] } } } })).toMatchObject([
      { type: 'boolean', kind: 'choice', nullable: true },
      { kind: 'json', item: { choices: ['x'] } },
    ])
  })
})

describe('what is typed', () => {
  it.each([
    ['rate', '1e-3', 0.001], ['rate', ' .5 ', 0.5], ['epochs', '1e1', 10], ['hidden', '8, 4', [8, 4]], ['hidden', '[]', []], ['hidden', '', undefined],
    ['names', '["a,b", "c"]', ['a,b', 'c']], ['norm', 'true', true], ['activation', '"tanh"', 'tanh'], ['limit', '', null], ['odd', '{"b":[1]}', { b: [1] }],
  ])('%s as %j is %j', (name, typed, value) => expect(read(field(name), typed)).toEqual({ value }))

  it.each([
    ['rate', '0', 'range.aboveTo'], ['rate', 'NaN', 'number'], ['rate', '1e999', 'number'], ['rate', '0x1', 'number'], ['epochs', '1.5', 'integer'],
    ['epochs', '101', 'range.fromTo'], ['depth', '', 'missing'], ['depth', '9007199254740993', 'integer'], ['hidden', '8, x', 'item'], ['hidden', '8,', 'item'], ['hidden', '1,2,3,4', 'many'],
    ['activation', '"gelu"', 'choice'], ['odd', '{', 'json'],
  ])('%s as %j is refused: %s', (name, typed, key) => expect(read(field(name), typed).wrong?.key).toBe(key))

  it('is what was written', () => {
    for (const [name, value] of [['hidden', [3, 4]], ['hidden', []], ['names', ['a,b', '']], ['rate', 1e-7], ['norm', true], ['mode', 'b'], ['limit', null], ['odd', { x: null }]] as const) {
      expect(read(field(name), write(field(name), value))).toEqual({ value })
    }
  })
})

describe('the parameters that are sent', () => {
  it('are those that differ from what they would be', () => {
    const filled = fill(fields, { rate: '0.001', epochs: '20', depth: '3', hidden: '64,64' })
    expect(filled.changed).toEqual({ epochs: 20, depth: 3 })
    expect(filled.all).toMatchObject({ rate: 0.001, epochs: 20, activation: 'relu' })
    expect(filled.wrong).toEqual({})
  })

  it('say so where the model has another than the default', () => {
    expect(fill(fields, { epochs: '10', depth: '1' }, { epochs: 50, depth: 1 }).changed).toEqual({ epochs: 10 })
    expect(fill(fields, {}, { epochs: 50, depth: 1 }).all).toMatchObject({ epochs: 50 })
  })

  it('name what is missing or wrong', () => {
    expect(fill(fields, { rate: '2' }).wrong).toEqual({ rate: { key: 'range.aboveTo', values: { low: 0, high: 1 } }, depth: { key: 'missing' } })
  })

})

describe('a split', () => {
  it('is read as the service reads it', () => {
    expect(readSplit(partsOf('0.7/0.1/0.2')).split).toEqual({ unit: 'fractions', parts: [0.7, 0.1, 0.2] })
    expect(readSplit(partsOf('8640/2880/2880')).split?.unit).toBe('rows')
    expect(readSplit(partsOf('0.8/0.2')).split?.parts).toEqual([0.8, 0, 0.2])
    expect(readSplit(partsOf('0/0/1')).wrong?.key).toBe('split.nothing')
    expect(readSplit(partsOf('0.7/0.7/0.7')).wrong?.key).toBe('split.sum')
    for (const bad of ['', '1', 'a/b/c', '-1/1/1', 'NaN/0/0']) expect(readSplit(partsOf(bad)).wrong?.key).toBe('split.number')
  })

  it('leaves no row out where fractions add up to one', () => {
    expect(stretches({ unit: 'fractions', parts: [0.7, 0.2, 0.1] }, 7)[2].end).toBe(7)
    expect(stretches({ unit: 'rows', parts: [5, 5, 5] }, 7)).toEqual([{ start: 0, end: 5 }, { start: 5, end: 7 }, { start: 7, end: 7 }])
  })

  it('has as many windows as a worker found', () => {
    expect(count({ unit: 'fractions', parts: [0.7, 0.1, 0.2] }, [1461], { lookback: 48, horizon: 12 })).toEqual({ rows: [1023, 146, 292], windows: [964, 135, 281] })
    expect(windowsIn({ start: 0, end: 8640 }, 336, 96, 0)).toBe(8209)
    expect(windowsIn({ start: 8640, end: 11520 }, 336, 96, 0)).toBe(2785)
    expect(windowsIn({ start: 10, end: 10 }, 3, 2, 0)).toBe(0)
    expect(count({ unit: 'rows', parts: [5, 0, 0] }, [4, 5], { lookback: 3, horizon: 2 }).windows).toEqual([1, 0, 0])
  })
})

describe('a data set', () => {
  it('has only what is not usual', () => {
    const form = { ...emptyForm(), datasetId: 'x', targets: ['y'], lookback: '48', horizon: '12' }
    expect(datasetOf(form, 'forecasting', ['forecasting'])).toEqual({ value: { source: 'upload', dataset_id: 'x', target: 'y', lookback: 48, horizon: 12 }, wrong: {} })
  })

  it('survives the way into a form and back', () => {
    const given = {
      source: 'tdengine' as const, database: 'plant', table: 'meters', device_id: ['pump-1', 7, '7', 'a, b'], tags: { site: 'berlin', line: [1, 2], on: true }, start_time: '-30d',
      time_zone: 'Europe/Berlin', interval: '10m', aggregate: { current: 'avg' as const, voltage: 'max' as const }, fill: { value: 0 }, limit: 100, refresh: true, task: 'forecasting' as const,
      columns: ['current', 'voltage'], target: ['current', 'voltage'], lookback: 144, horizon: 36, split: '0.8/0.1/0.1', preprocess: { missing: 'linear', sort: true },
    }
    const form = emptyForm()
    takeDataset(form, given)
    expect(datasetOf(form, 'forecasting', ['regression', 'forecasting'])).toEqual({ value: given, wrong: {} })
  })

  it('is refused field by field', () => {
    const form = { ...emptyForm(), source: 'tdengine' as const, targets: ['a', 'b'], features: ['a'], split: ['1', 'x', ''] as [string, string, string] }
    form.query = { ...form.query, table: 'a b', tags: 'nothing', interval: '10 minutes', aggregate: 'each', aggregates: 'x = median', fill: 'value', fillValue: '', limit: '0' }
    expect(Object.keys(datasetOf(form, 'classification', ['classification']).wrong).sort()).toEqual(['aggregates', 'features', 'fillValue', 'interval', 'limit', 'split', 'table', 'tags', 'targets'])
    expect(Object.keys(datasetOf({ ...emptyForm(), lookback: '0', horizon: '' }, 'forecasting', ['forecasting']).wrong)).toEqual(['dataset', 'lookback', 'horizon'])
    expect(sourceOf({ ...emptyForm(), source: 'file', path: ' ' }).wrong.path?.key).toBe('path')
    expect(Object.keys(optionsOf({ ...emptyForm(), seed: '-1', timeLimit: '0', memoryLimit: '32', labels: 'GPU' }).wrong)).toEqual(['seed', 'time_limit', 'memory_limit_mb', 'labels'])
  })
})

describe('where a run is computed', () => {
  const run = (device: string, labels: string[]) => ({ seed: 7, limits: { time_seconds: 60, memory_mb: 512, device, tf32: true }, labels })

  it('is always said, as the model may say something else', () => {
    expect(optionsOf(emptyForm()).value).toEqual({ device: 'auto', tf32: false })
    expect(optionsOf({ ...emptyForm(), computeOn: 'cuda:1', tf32: true }).value).toEqual({ device: 'cuda:1', tf32: true })
    expect(optionsOf({ ...emptyForm(), computeOn: 'cpu', tf32: true }).value).toEqual({ device: 'cpu', tf32: false })
    expect(optionsOf({ ...emptyForm(), seed: '4294967295', labels: ' gpu, big ' }).value).toEqual({ seed: 4294967295, labels: ['gpu', 'big'], device: 'auto', tf32: false })
  })

  it('comes from a run, without the label that the service gave it for its card', () => {
    const form = { ...emptyForm(), labels: 'big' }
    for (const device of ['cuda', 'cuda:1']) {
      takeOptions(form, run(device, ['gpu']))
      expect(optionsOf(form).value).toEqual({ seed: 7, time_limit: 60, memory_limit_mb: 512, device, tf32: true })
    }
    for (const [device, labels] of [['cuda', ['big', 'gpu']], ['auto', ['gpu']], ['cpu', ['gpu']]] as const) {
      takeOptions(form, run(device, [...labels]))
      expect(optionsOf(form).value.labels, device).toEqual(labels)
    }
  })

  it('comes from parameters of a model that are not its plugin\'s own', () => {
    const said = { device: 'cuda:1', tf32: true, epochs: 3 }
    expect(placeOf(said, [{ name: 'epochs' }])).toEqual({ computeOn: 'cuda:1', tf32: true })
    expect(placeOf(said, [{ name: 'device' }])).toEqual({ computeOn: 'auto', tf32: true })
    expect(placeOf(said, [{ name: 'device' }, { name: 'tf32' }])).toEqual({ computeOn: 'auto', tf32: false })
    for (const device of [undefined, null, 3, 'gpu', 'cuda:', 'CPU']) expect(placeOf({ device, tf32: 'yes' }, [])).toEqual({ computeOn: 'auto', tf32: false })
  })

  it('may be a single card, whatever else is picked', () => {
    expect(cardsAmong(['cpu', 'cuda:1', undefined, 'cuda', 'auto', 'cuda:0', 'cuda:1'])).toEqual(['cuda:1', 'cuda:0'])
  })
})
