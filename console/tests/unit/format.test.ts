import { describe, expect, test } from 'vitest'
import { ago, bytes, duration, figure, harmless, moment, text, withoutAnsi } from '@/lib/format'

describe('figures', () => {
  test.each([
    [0, '0'],
    [1, '1'],
    [0.123456, '0.1235'],
    [-1234.5678, '-1235'],
    [1e-9, '1.00e-9'],
    [1.5e12, '1.50e+12'],
    [NaN, 'NaN'],
    [-Infinity, '-Infinity'],
    [null, '–'],
    [undefined, '–'],
    ['text', 'text'],
    [[1, 2], '[1,2]'],
    [true, 'true'],
  ])('%s is %s', (value, written) => expect(figure(value)).toBe(written))
})

test('what would hide or turn text is shown', () => {
  expect(harmless('a\u202Eb\u200Bc\u0007\nd\te')).toBe('a\\u202eb\\u200bc\\u0007\nd\te')
  expect(text({ a: '\u2066' })).toBe('{"a":"\\u2066"}')
  expect(text(undefined)).toBe('–')
  expect(withoutAnsi('\u001b[2K\u001b[38;5;1mx\u001b[m \ufffd[31my\ufffd[0m')).toBe('x y')
})

test('sizes and times', () => {
  expect([0, 1023, 1024, 1536, 5 * 2 ** 30].map(bytes)).toEqual(['0 B', '1023 B', '1.0 KiB', '1.5 KiB', '5.0 GiB'])
  expect([0.012, 4.25, 59.4, 125, 3780, null, NaN].map(duration)).toEqual(['12 ms', '4.3 s', '59 s', '2 min 05 s', '1 h 03 min', '–', '–'])
  expect(ago('2026-01-01T00:00:00Z', 'en', Date.parse('2026-01-01T00:05:00Z'))).toBe('5 min. ago')
  expect(ago('2026-01-03T00:00:00Z', 'zh', Date.parse('2026-01-01T00:00:00Z'))).toMatch(/后天|2天后/)
  expect(ago('nonsense', 'en')).toBe('nonsense')
  expect(moment('nonsense', 'en')).toBe('nonsense')
  expect(moment(null, 'en')).toBe('–')
})
