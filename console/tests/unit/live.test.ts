import { expect, test } from 'vitest'
import { grouped } from '@/lib/charts'
import { Pace } from '@/lib/pace'
import { aligned, last } from '@/lib/series'
import { preferred } from '@/i18n'
import en from '@/i18n/en'
import zh from '@/i18n/zh'

test('one asks every 2 s, every 5 s when nothing moves for a minute, and never again at the end', () => {
  const pace = new Pace()
  expect(pace.next(10, false, 0)).toBe(2000)
  expect(pace.next(10.5, false, 59_000)).toBe(2000)
  expect(pace.next(10.9, false, 60_000)).toBe(5000)
  // It moves again.
  expect(pace.next(11, false, 65_000)).toBe(2000)
  expect(pace.next(11, false, 124_000)).toBe(2000)
  expect(pace.next(11.2, false, 125_000)).toBe(5000)
  expect(pace.next(100, true, 126_000)).toBeNull()
})

test('series share their steps, with gaps where there is no number', () => {
  const series = [
    { name: 'a', points: [[1, 5], [3, NaN], [2, 6]] as const },
    { name: 'b', points: [[2, null], [4, 7], [Infinity, 1]] as const },
  ]
  expect(aligned(series)).toEqual([[1, 2, 3, 4], [5, 6, null, null], [null, null, null, 7]])
  expect(aligned([])).toEqual([[]])
  expect(series.map(last)).toEqual([6, 1])
})

test('a figure and the same on other rows share a chart', () => {
  const names = ['loss', 'lr', 'validation_loss', 'val/accuracy', 'accuracy', 'test mae']
  const groups = grouped(names.map((name) => ({ name, points: [] })))
  expect(groups.map((group) => group.map(({ name }) => name))).toEqual([['loss', 'validation_loss'], ['lr'], ['val/accuracy', 'accuracy'], ['test mae']])
})

test('the language is the chosen one, else Chinese where the browser prefers it', () => {
  expect(preferred(null, ['zh-CN', 'en'])).toBe('zh')
  expect(preferred(null, ['en-US', 'zh'])).toBe('en')
  expect(preferred(null, [])).toBe('en')
  expect(preferred('en', ['zh'])).toBe('en')
  expect(preferred('nonsense', ['zh-TW'])).toBe('zh')
})

/** Every text with the path to it. */
function texts(words: object, path = ''): [string, string][] {
  return Object.entries(words).flatMap(([key, value]) =>
    typeof value === 'string' ? [[`${path}${key}`, value] as [string, string]] : texts(value as object, `${path}${key}.`),
  )
}

test('both languages say the same things, about the same values', () => {
  const values = (text: string) => [...new Set(text.match(/\{\w+\}/g) ?? [])].sort()
  const chinese = new Map(texts(zh))
  for (const [path, text] of texts(en)) {
    expect(chinese.get(path), path).toBeTruthy()
    expect(values(chinese.get(path) ?? ''), path).toEqual(values(text))
  }
  expect(chinese.size).toBe(texts(en).length)
})
