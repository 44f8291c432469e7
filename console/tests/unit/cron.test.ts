import { describe, expect, it } from 'vitest'
import { i18n } from '@/i18n'
import en from '@/i18n/en'
import zh from '@/i18n/zh'
import { expressionOf, inWords, nextTimes, parse, presetOf } from '@/lib/cron'

i18n.global.setLocaleMessage('en', en)
i18n.global.setLocaleMessage('zh', zh)
const words = (expression: string, locale: 'en' | 'zh') =>
  inWords(expression, (key, values) => i18n.global.t(key, values, { locale }), locale)

function next(expression: string, zone: string, after: string, count = 1): string[] {
  const cron = parse(expression)
  if (!cron) throw new Error(`${expression} is not understood`)
  return (nextTimes(cron, zone, new Date(after), count) ?? []).map((at) => at.toISOString().slice(0, 16))
}

describe('words', () => {
  it.each([
    ['* * * * *', 'every minute', '每分钟'],
    ['*/15 * * * *', 'every 15 minutes', '每 15 分钟'],
    ['5 * * * *', 'every hour at minute 05', '每小时的第 05 分'],
    ['@hourly', 'every hour at minute 00', '每小时的第 00 分'],
    ['0 */6 * * *', 'every 6 hours at minute 00', '每 6 小时的第 00 分'],
    ['0 2 * * *', 'every day at 02:00', '每天 02:00'],
    ['0 2,14 * * *', 'every day at 02:00 and 14:00', '每天 02:00和14:00'],
    ['30 2 * * 1-5', 'Monday to Friday at 02:30', '每周一至周五 02:30'],
    ['30 2 * * MON,THU', 'every Monday and Thursday at 02:30', '每周一和周四 02:30'],
    ['0 0 * * 7', 'every Sunday at 00:00', '每周日 00:00'],
    ['0 0 * * sat-sun', 'every Saturday and Sunday at 00:00', '每周六和周日 00:00'],
    ['0 9 1,15 * *', 'on day 1 and 15 of the month at 09:00', '每月1和15日 09:00'],
    ['0 9 L * ?', 'on the last day of the month at 09:00', '每月最后一天 09:00'],
    ['0 9 * * 2#1', 'on the first Tuesday of the month at 09:00', '每月第一个周二 09:00'],
    ['0 9 * * FRI#L', 'on the last Friday of the month at 09:00', '每月最后一个周五 09:00'],
    ['0 9 * 1,7 *', 'every day at 09:00, in January and July', '一月和七月：每天 09:00'],
    ['0 * * * 1-5', 'every hour at minute 00, Monday to Friday', '每周一至周五，每小时的第 00 分'],
  ])('%s', (expression, en, zh) => {
    expect(words(expression, 'en')).toBe(en)
    expect(words(expression, 'zh')).toBe(zh)
  })

  it.each(['0 9 1 * 1', '*/7 3 * * *', '0 9 15W * *', '0 9 1 * +1', 'every night', '', '<b>'])('%s speaks for itself', (expression) => {
    expect(words(expression, 'en')).toBe(expression)
    expect(words(expression, 'zh')).toBe(expression)
  })
})

describe('what is no expression', () => {
  it.each(['', '* * * *', '* * * * * *', '60 * * * *', '* 24 * * *', '* * 0 * *', '* * * 13 *', '* * * * 8', '5/10 * * * *', '/10 * * * *', '*/0 * * * *', '9-3 * * * *', '1-2-3 * * * *', 'a * * * *', '0 0 * * L', '0 0 * * 1#6'])(
    '%s',
    (expression) => expect(parse(expression)).toBeUndefined(),
  )
})

// The same times as the service's own tests have, in host/jobs/src/schedule.rs.
describe('next times', () => {
  it("are of the zone's own clock", () => {
    expect(next('30 2 * * *', 'Asia/Shanghai', '2026-11-29T18:00:00Z')).toEqual(['2026-11-29T18:30'])
    expect(next('30 2 * * *', 'Asia/Shanghai', '2026-11-29T18:30:00Z')).toEqual(['2026-11-30T18:30'])
    expect(next('0 9 * * MON-FRI', 'Europe/Berlin', '2026-11-28T00:00:00Z')).toEqual(['2026-11-30T08:00'])
    expect(next('*/15 * * * *', 'UTC', '2026-12-31T23:50:00Z')).toEqual(['2027-01-01T00:00'])
    expect(next('0 0 L * *', 'UTC', '2028-02-01T00:00:00Z')).toEqual(['2028-02-29T00:00'])
    expect(next('0 0 * * *', 'Asia/Kathmandu', '2026-01-01T00:00:00Z')).toEqual(['2026-01-01T18:15'])
  })

  it('come once a night when clocks change', () => {
    expect(next('30 2 * * *', 'Europe/Berlin', '2026-03-27T12:00:00Z', 3)).toEqual(['2026-03-28T01:30', '2026-03-29T01:00', '2026-03-30T00:30'])
    expect(next('30 2 * * *', 'Europe/Berlin', '2026-10-24T12:00:00Z', 2)).toEqual(['2026-10-25T00:30', '2026-10-26T01:30'])
  })

  it('of every hour come for each hour that there is', () => {
    expect(next('30 * * * *', 'Europe/Berlin', '2026-03-29T00:00:00Z', 3)).toEqual(['2026-03-29T00:30', '2026-03-29T01:30', '2026-03-29T02:30'])
    expect(next('30 * * * *', 'Europe/Berlin', '2026-10-25T00:00:00Z', 3)).toEqual(['2026-10-25T00:30', '2026-10-25T01:30', '2026-10-25T02:30'])
  })

  it('take days of the month or of the week where both are said', () => {
    expect(next('0 0 13 * 5', 'UTC', '2026-11-10T00:00:00Z', 3)).toEqual(['2026-11-13T00:00', '2026-11-20T00:00', '2026-11-27T00:00'])
    expect(next('0 0 * * 2#2', 'UTC', '2026-11-01T00:00:00Z', 2)).toEqual(['2026-11-10T00:00', '2026-12-08T00:00'])
    expect(next('0 0 * * 5L', 'UTC', '2026-11-01T00:00:00Z')).toEqual(['2026-11-27T00:00'])
  })

  it('may be far off, or never', () => {
    expect(next('0 0 29 2 *', 'UTC', '2096-03-01T00:00:00Z')).toEqual(['2104-02-29T00:00'])
    expect(next('0 0 30 2 *', 'UTC', '2026-01-01T00:00:00Z')).toEqual([])
  })

  it('need a zone that there is', () => {
    const cron = parse('0 0 * * *')
    expect(cron && nextTimes(cron, 'Mars/Olympus', new Date(), 1)).toBeUndefined()
  })
})

describe('presets', () => {
  it.each(['5 * * * *', '0 2 * * *', '30 2 * * 1,4'])('%s comes back as it was', (expression) => {
    const preset = presetOf(expression)
    expect(preset.kind).not.toBe('own')
    expect(preset.kind !== 'own' && expressionOf(preset)).toBe(expression)
  })

  it.each(['*/15 * * * *', '0 2 1 * *', '0 2 * 1 *', '0 2,3 * * *', '0 2 * * 1#1', '0 9 15W * *', 'x'])('%s has no fields', (expression) => {
    expect(presetOf(expression)).toEqual({ kind: 'own' })
  })

  it('have no expression until they are filled in', () => {
    expect(expressionOf({ kind: 'hourly', minute: 60 })).toBeUndefined()
    expect(expressionOf({ kind: 'hourly', minute: NaN })).toBeUndefined()
    expect(expressionOf({ kind: 'daily', time: '' })).toBeUndefined()
    expect(expressionOf({ kind: 'weekly', time: '02:00', weekdays: [] })).toBeUndefined()
  })
})
