import { describe, expect, it } from 'vitest'
import { categoryText, colourOf, nearest, numberAt, parameterAxis, passes, placeOf, stretch, ticksOf, valueAxis } from '@/lib/parallel'

describe('scales', () => {
  it('are logarithmic where the space says so', () => {
    const axis = parameterAxis('rate', { min: 0.001, max: 0.1, log: true }, [0.01])
    expect(axis.kind).toBe('log')
    expect(placeOf(axis, 0.01)).toBeCloseTo(0.5)
    expect(placeOf(axis, 0.001)).toBe(0)
    expect(placeOf(axis, 0.1)).toBe(1)
    expect(numberAt(axis, 0.5)).toBeCloseTo(0.01)
    expect(numberAt(axis, 0)).toBe(0.001)
    expect(numberAt(axis, 1)).toBe(0.1)
    expect(placeOf(axis, -1)).toBeUndefined()
  })

  it('are linear otherwise', () => {
    const axis = parameterAxis('dropout', { min: 0, max: 0.4 }, [])
    expect(axis.kind).toBe('linear')
    expect(placeOf(axis, 0.1)).toBeCloseTo(0.25)
    expect(placeOf(axis, 9)).toBe(1)
    expect(numberAt(axis, 0.25)).toBeCloseTo(0.1)
  })

  it('have no place for what is no number', () => {
    const axis = parameterAxis('dropout', { min: 0, max: 1 }, [NaN, null, 'x'])
    expect([axis.min, axis.max]).toEqual([0, 1])
    for (const value of [NaN, Infinity, null, undefined, 'x', {}]) expect(placeOf(axis, value)).toBeUndefined()
  })

  it('put categories at points of their own', () => {
    const axis = parameterAxis('hidden', [[8], [16, 8]], [[8], [4]])
    expect(axis.categories).toEqual(['[8]', '[16,8]', '[4]'])
    expect(placeOf(axis, [16, 8])).toBeCloseTo(0.5)
    expect(placeOf(axis, [5])).toBeUndefined()
    expect(placeOf(parameterAxis('on', [true, false], []), true)).toBeCloseTo(0.25)
  })

  it('put short lists of numbers in order, and long ones to scale', () => {
    expect(parameterAxis('epochs', [40, 10, 20], [10]).categories).toEqual(['10', '20', '40'])
    const many = parameterAxis('epochs', Array.from({ length: 50 }, (_, at) => at), [])
    expect([many.kind, many.min, many.max]).toEqual(['linear', 0, 49])
  })

  it('of values bear nonsense, a single value and none', () => {
    expect(valueAxis('mse', [NaN, null, Infinity])).toMatchObject({ kind: 'linear', min: 0, max: 1 })
    const single = valueAxis('mse', [0.5, 0.5])
    expect(placeOf(single, 0.5)).toBe(0.5)
    expect(ticksOf(single)).toEqual([{ place: 0.5, label: '0.5' }])
    expect(valueAxis('mse', [0.1, 1e6]).kind).toBe('log')
    expect(valueAxis('r2', [-5, 1e6]).kind).toBe('linear')
  })

  it('of a thousand values are no problem', () => {
    expect(valueAxis('mse', Array.from({ length: 200_000 }, (_, at) => at))).toMatchObject({ min: 0, max: 199_999 })
  })
})

describe('ticks', () => {
  it('are decades on a logarithmic scale', () => {
    expect(ticksOf(parameterAxis('rate', { min: 0.0001, max: 0.1, log: true }, [])).map(({ label }) => label)).toEqual(['0.0001', '0.001', '0.01', '0.1'])
  })

  it('are round on a linear one, with its ends', () => {
    expect(ticksOf(valueAxis('mse', [0.13, 1.07])).map(({ label }) => label)).toEqual(['0.13', '0.4', '0.6', '0.8', '1.07'])
    const widest = valueAxis('mse', [-Number.MAX_VALUE, Number.MAX_VALUE])
    expect(ticksOf(widest)).toHaveLength(2)
    expect([placeOf(widest, -Number.MAX_VALUE), placeOf(widest, 0), placeOf(widest, Number.MAX_VALUE)]).toEqual([0, 0.5, 1])
    expect(numberAt(widest, 0.5)).toBe(0)
    expect(ticksOf(valueAxis('mse', [1, 1 + Number.EPSILON])).length).toBeLessThan(12)
  })

  it('are few, however many categories there are', () => {
    const axis = parameterAxis('name', Array.from({ length: 900 }, (_, at) => `c${at}`), [])
    expect(ticksOf(axis).length).toBeLessThan(20)
  })

  it('show texts without quotes, and nothing that hides', () => {
    expect(categoryText('"relu"')).toBe('relu')
    expect(categoryText('[8,16]')).toBe('[8,16]')
    expect(categoryText(JSON.stringify('a\u202eb'))).toBe('a\\u202eb')
  })
})

describe('filters', () => {
  it('let through a part, and nothing that is missing', () => {
    expect([0.1, 0.5, 0.9].map((value) => passes({ min: 0.2, max: 0.5 }, value))).toEqual([false, true, false])
    for (const value of [undefined, null, NaN]) expect(passes({ min: 0 }, value)).toBe(false)
    expect(passes(undefined, undefined)).toBe(true)
    expect(passes({}, null)).toBe(true)
    expect(passes({ only: ['"relu"'] }, 'relu')).toBe(true)
    expect(passes({ only: [] }, 'relu')).toBe(false)
  })

  it('come from a stretch of an axis, whichever way it is drawn', () => {
    const axis = parameterAxis('dropout', { min: 0, max: 2 }, [])
    expect(stretch(axis, 0.75, 0.25)).toEqual({ min: 0.5, max: 1.5 })
    expect(stretch(axis, 0, 0.5)).toEqual({ max: 1 })
    expect(stretch(axis, 0.5, 1)).toEqual({ min: 1 })
    const kinds = parameterAxis('kind', ['a', 'b', 'c', 'd'], [])
    expect(stretch(kinds, 0, 0.5)).toEqual({ only: ['"a"', '"b"'] })
  })
})

describe('colours', () => {
  const light = (colour: string) => [...colour.matchAll(/\d+/g)].reduce((sum, [number]) => sum + Number(number), 0)

  it('make the best darkest on light and lightest on dark', () => {
    for (let tenth = 0; tenth < 10; tenth += 1) {
      const [worse, better] = [tenth / 10, (tenth + 1) / 10]
      expect(light(colourOf(better, false))).toBeLessThan(light(colourOf(worse, false)))
      expect(light(colourOf(better, true))).toBeGreaterThanOrEqual(light(colourOf(worse, true)))
    }
    expect(colourOf(1, false)).toBe('rgb(0, 34, 78)')
    expect(colourOf(1, true)).toBe('rgb(254, 232, 56)')
    expect(colourOf(7, true)).toBe(colourOf(1, true))
  })
})

describe('the nearest line', () => {
  const lines = [
    [0, 1, 0],
    [1, 0, undefined],
    [0.5, 0.5, 1],
  ]
  it('is found between two axes', () => {
    expect(nearest(lines, 0, 0.9, 0.88, 0.1)).toBe(0)
    expect(nearest(lines, 0, 0.1, 0.88, 0.1)).toBe(1)
    expect(nearest(lines, 0, 0.1, 0.52, 0.1)).toBe(2)
    expect(nearest(lines, 1, 0.9, 0.5, 0.01)).toBeUndefined()
  })
})
