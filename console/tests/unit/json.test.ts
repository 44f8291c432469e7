import { describe, expect, it } from 'vitest'
import { canonical, isNumber, same, withField } from '@/lib/json'

describe('values', () => {
  it('are written alike where they are equal', () => {
    expect(canonical({ a: 1, b: [{ d: 1, c: 2 }] })).toBe(canonical({ b: [{ c: 2, d: 1 }], a: 1 }))
    expect(canonical(undefined)).not.toBe(canonical('undefined'))
  })

  it('are compared as JSON', () => {
    expect(same({ a: [1, { b: null }], c: 2 }, { c: 2, a: [1, { b: null }] })).toBe(true)
    expect(same([1], [1, 2])).toBe(false)
    expect(same([], {})).toBe(false)
    expect(same({ a: undefined }, { b: undefined })).toBe(false)
    expect(same(0, -0)).toBe(true)
  })

  it('are numbers where they can be drawn', () => {
    expect([0, 1.5, NaN, Infinity, '1', null].map(isNumber)).toEqual([true, true, false, false, false, false])
  })

  it('have fields that are set and taken away', () => {
    expect(withField({ a: 1, b: 2 }, 'a', 3)).toEqual({ a: 3, b: 2 })
    expect(withField({ a: 1, b: 2 }, 'a', undefined)).toEqual({ b: 2 })
  })
})
