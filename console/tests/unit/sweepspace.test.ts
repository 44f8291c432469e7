import { describe, expect, it } from 'vitest'
import { draftsOf, spaceOf, type Draft } from '@/components/sweeps/space'

const schema = {
  properties: {
    rate: { type: 'number', exclusiveMinimum: 0, maximum: 0.05, default: 0.01, description: 'How far.' },
    epochs: { type: 'integer', minimum: 1, maximum: 1000, default: 10 },
    dropout: { type: 'number', minimum: 0, exclusiveMaximum: 1, default: 0 },
    loss: { type: 'string', enum: ['a', 'b'] },
    bias: { type: 'boolean', default: true },
    hidden: { type: 'array', default: [64, 64] },
    label: { type: 'string' },
  },
}
const varied = (name: string, change: Partial<Draft> = {}): Draft[] =>
  draftsOf(schema).map((draft) => (draft.name === name ? { ...draft, vary: true, ...change } : draft))

describe('a form', () => {
  it('begins around the defaults, within the schema', () => {
    const [rate, epochs, dropout, loss, bias, hidden] = draftsOf(schema)
    expect(rate).toMatchObject({ kind: 'number', form: 'range', min: '0.001', max: '0.05', log: true, about: 'How far.' })
    expect(epochs).toMatchObject({ kind: 'integer', min: '1', max: '100', log: true })
    expect(dropout).toMatchObject({ min: '0', max: '0.5', log: false })
    expect(loss).toMatchObject({ kind: 'choice', choices: ['"a"', '"b"'] })
    expect(bias).toMatchObject({ kind: 'choice', choices: ['false', 'true'] })
    expect(hidden).toMatchObject({ kind: 'json', form: 'list', values: '[64,64]' })
  })

  it('is empty without a schema', () => {
    for (const nothing of [undefined, null, {}, { properties: null }, 'x']) expect(draftsOf(nothing)).toEqual([])
  })
})

describe('a space', () => {
  it('has ranges, with points in a grid alone', () => {
    expect(spaceOf(varied('rate'), 'random').space).toEqual({ rate: { min: 0.001, max: 0.05, log: true } })
    expect(spaceOf(varied('rate', { points: '5', log: false }), 'grid')).toMatchObject({ space: { rate: { min: 0.001, max: 0.05, points: 5 } }, combinations: 5 })
  })

  it('has lists of what was typed or chosen', () => {
    expect(spaceOf(varied('epochs', { form: 'list', values: '5, 10，20' }), 'grid')).toMatchObject({ space: { epochs: [5, 10, 20] }, combinations: 3 })
    expect(spaceOf(varied('loss', { chosen: ['"b"'] }), 'random').space).toEqual({ loss: ['b'] })
    expect(spaceOf(varied('bias'), 'random').space).toEqual({ bias: [false, true] })
    expect(spaceOf(varied('hidden', { values: '[8]\n\n[16, 8]' }), 'random').space).toEqual({ hidden: [[8], [16, 8]] })
  })

  it('counts combinations as the service does', () => {
    const both = draftsOf(schema).map((draft) => ({ ...draft, vary: ['epochs', 'bias'].includes(draft.name), min: '1', max: '3', log: false, points: '10' }))
    expect(spaceOf(both, 'grid').combinations).toBe(6)
  })

  it('says what is wrong with each', () => {
    const wrong = (name: string, change: Partial<Draft>, method: 'grid' | 'random' = 'random') => spaceOf(varied(name, change), method).wrong[name]
    expect(wrong('rate', { min: '' })).toEqual({ key: 'number' })
    expect(wrong('rate', { min: '2', max: '1' })).toEqual({ key: 'order' })
    expect(wrong('rate', { min: '0' })).toEqual({ key: 'log' })
    expect(wrong('rate', { points: '1' }, 'grid')).toMatchObject({ key: 'points' })
    expect(wrong('loss', { chosen: [] })).toEqual({ key: 'values' })
    expect(wrong('label', { values: ' , ' })).toEqual({ key: 'values' })
    expect(wrong('epochs', { form: 'list', values: '1, x' })).toEqual({ key: 'numbers', named: { value: 'x' } })
    expect(wrong('hidden', { values: '[8]\n[8' })).toEqual({ key: 'json', named: { line: 2 } })
  })
})
