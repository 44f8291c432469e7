import { describe, expect, it } from 'vitest'
import { bestOf, curvesOf, figuresOf, MOST_RUNS, readRuns, rowsOf, seriesNames, writeRuns } from '@/lib/compare'

describe('the address', () => {
  it('names runs, each once', () => {
    const runs = readRuns('1:abc-1, 2:def,1:abc-1')
    expect(runs).toEqual([
      { model: 1, run: 'abc-1' },
      { model: 2, run: 'def' },
    ])
    expect(readRuns(writeRuns(runs))).toEqual(runs)
  })

  it('may hold anything', () => {
    for (const nonsense of [undefined, null, ['1:a'], '', ',', 'x:y', '1:', ':a', '1:a/b', '1:<b>']) expect(readRuns(nonsense)).toEqual([])
    expect(readRuns('bad,3:good')).toEqual([{ model: 3, run: 'good' }])
    const many = Array.from({ length: 20 }, (_, at) => `1:r${at}`).join(',')
    expect(readRuns(many)).toHaveLength(MOST_RUNS)
  })
})

describe('what differs', () => {
  it('comes first, in its own order', () => {
    const rows = rowsOf([
      { epochs: 5, rate: 0.1, hidden: [8, 8] },
      { epochs: 5, rate: 0.2, hidden: [8, 8], extra: null },
    ])
    expect(rows.map(({ name, differs }) => [name, differs])).toEqual([
      ['rate', true],
      ['extra', true],
      ['epochs', false],
      ['hidden', false],
    ])
    expect(rows[1]?.values).toEqual([undefined, null])
  })

  it('is no order of fields, and no name that every object has', () => {
    expect(rowsOf([{ a: { b: 1, c: [{ d: 1, e: 2 }] } }, { a: { c: [{ e: 2, d: 1 }], b: 1 } }])[0]?.differs).toBe(false)
    expect(rowsOf([{ constructor: 1 }, {}])[0]).toEqual({ name: 'constructor', values: [1, undefined], differs: true })
  })

  it('is nothing with one run, or none', () => {
    expect(rowsOf([{ a: 1 }]).every((row) => !row.differs)).toBe(true)
    expect(rowsOf([])).toEqual([])
  })
})

describe('the best', () => {
  it('is the smallest or the largest finite number', () => {
    expect(bestOf([0.3, 0.1, 0.2], false)).toEqual([1])
    expect(bestOf([0.3, 0.1, 0.2], true)).toEqual([0])
    expect(bestOf([NaN, 0.5, -Infinity, undefined, null, 'x', 0.4], false)).toEqual([6])
    expect(bestOf([Infinity, 0.5, NaN, 0.4], true)).toEqual([1])
    expect(bestOf([0.1, 0.1, 0.2], false)).toEqual([0, 1])
  })

  it('is nobody where there is nothing to compare', () => {
    expect(bestOf([1, NaN, undefined], false)).toEqual([])
    expect(bestOf([1, 1], true)).toEqual([])
    expect(bestOf([1, 2], null)).toEqual([])
    expect(bestOf([], false)).toEqual([])
  })

  it('follows what the plugins say', () => {
    const mse = (value: unknown, maximize: unknown = false) => ({ name: 'mse', value, maximize, summary: 'mean squared error' })
    const rows = figuresOf([[mse(0.3), { name: 'r2', value: 0.5, maximize: true }], [mse(0.2)], [mse(null)]])
    expect(rows).toEqual([
      { name: 'mse', values: [0.3, 0.2, null], summary: 'mean squared error', maximize: false, best: [1] },
      { name: 'r2', values: [0.5, undefined, undefined], summary: '', maximize: true, best: [] },
    ])
    expect(figuresOf([[mse(1)], [mse(2, true)]])[0]).toMatchObject({ maximize: null, best: [] })
    expect(figuresOf([[mse(1, null)], [mse(2, false)]])[0]).toMatchObject({ maximize: false, best: [0] })
  })
})

describe('curves', () => {
  const first = { label: 'A', series: [{ name: 'loss', points: [[1, 0.5, 3], [2, 1, null]] }] }
  const second = { label: 'B', series: [{ name: 'loss', points: [[1, 0.2, 4]] }, { name: 'other', points: [] }] }

  it('keep their places, over steps and over seconds', () => {
    expect(curvesOf('loss', [first, second], 'steps')).toEqual([
      { name: 'A', points: [[1, 3], [2, null]] },
      { name: 'B', points: [[1, 4]] },
    ])
    expect(curvesOf('loss', [first, second], 'seconds')[1]?.points).toEqual([[0.2, 4]])
    expect(curvesOf('other', [first, second], 'steps').map(({ points }) => points)).toEqual([[], []])
  })

  it('that most runs have come first', () => {
    expect(seriesNames([[{ name: 'other', points: [] }], ...[first, second].map(({ series }) => series)])).toEqual(['other', 'loss'])
    expect(seriesNames([second.series, first.series, first.series])).toEqual(['loss', 'other'])
  })
})
