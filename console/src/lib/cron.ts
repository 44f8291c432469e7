/**
 * Cron expressions as the service reads them: minute, hour, day of the month, month and day of the week, in a time zone.
 *
 * The service has the last word. What this file does not understand (`W`, `+`) gives `undefined`, and the page then shows the
 * expression itself and leaves the next time to the service.
 */

export interface Cron {
  minutes: number[]
  hours: number[]
  days: number[]
  lastDay: boolean
  months: number[]
  /** 0 is Sunday. */
  weekdays: number[]
  /** The so-manieth of its kind in the month; 0 is the last one. */
  nth: { weekday: number; nth: number }[]
  anyDay: boolean
  anyWeekday: boolean
  /** One time a day: the service then makes up for a time that the clock leaps over, and takes one that comes twice once. */
  fixed: boolean
}

type Words = (key: string, values: Record<string, unknown>) => string

const ALIASES: Record<string, string> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@hourly': '0 * * * *',
}
const MONTHS = ['', 'JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC']
const WEEKDAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT']

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE

/** One of a field's parts with commas between: a number, a range, or steps through one; undefined where it is none. */
function part(written: string, least: number, most: number, names: readonly string[]): number[] | undefined {
  const number = (text: string) => {
    const named = names.indexOf(text)
    if (text && named >= 0) return named
    const value = /^\d+$/.test(text) ? Number(text) : NaN
    return value >= least && value <= most ? value : undefined
  }
  const [range = '', step, ...more] = written.split('/')
  if (more.length || (step !== undefined && !(Number(step) > 0 && /^\d+$/.test(step)))) return undefined
  let from = least
  let to = most
  if (range !== '*') {
    const [first = '', second, ...others] = range.split('-')
    const start = number(first)
    // Weeks may end with Sunday: MON-SUN.
    const end = second === undefined ? start : second === 'SUN' ? 7 : number(second)
    if (others.length || start === undefined || end === undefined || end < start) return undefined
    if (step !== undefined && second === undefined) return undefined
    from = start
    to = end
  }
  const values: number[] = []
  for (let value = from; value <= to; value += Number(step ?? 1)) values.push(value)
  return values
}

function parts(written: string, least: number, most: number, names: readonly string[] = []): number[] | undefined {
  const all = new Set<number>()
  for (const one of written.split(',')) {
    const values = part(one, least, most, names)
    if (!values) return undefined
    for (const value of values) all.add(value)
  }
  return [...all].sort((a, b) => a - b)
}

/** What an expression means; undefined where it means nothing, or nothing that is understood here. */
export function parse(expression: string): Cron | undefined {
  const plain = expression.trim().toUpperCase()
  const fields = (ALIASES[plain.toLowerCase()] ?? plain).split(/\s+/)
  const [minute, hour, day, month, weekday] = fields
  if (fields.length !== 5 || !minute || !hour || !day || !month || !weekday) return undefined

  const minutes = parts(minute, 0, 59)
  const hours = parts(hour, 0, 23)
  const months = parts(month, 1, 12, MONTHS)
  const dayParts = day.replaceAll('?', '*').split(',')
  const plainDays = dayParts.filter((one) => one !== 'L')
  const days = plainDays.length ? parts(plainDays.join(), 1, 31) : []
  const nth: Cron['nth'] = []
  const plainWeekdays: string[] = []
  for (const one of weekday.replaceAll('?', '*').split(',')) {
    const special = /^([0-7]|[A-Z]{3})(?:#([1-5])|#?L)$/.exec(one)
    if (!special) {
      plainWeekdays.push(one)
      continue
    }
    const [value] = part(special[1] ?? '', 0, 7, WEEKDAYS) ?? []
    if (value === undefined) return undefined
    nth.push({ weekday: value % 7, nth: Number(special[2] ?? 0) })
  }
  const weekdays = plainWeekdays.length ? parts(plainWeekdays.join(), 0, 7, WEEKDAYS) : []
  if (!minutes || !hours || !months || !days || !weekdays) return undefined
  return {
    minutes,
    hours,
    days,
    lastDay: plainDays.length < dayParts.length,
    months,
    weekdays: [...new Set(weekdays.map((value) => value % 7))].sort((a, b) => a - b),
    nth,
    anyDay: dayParts.join() === '*',
    anyWeekday: weekday === '*' || weekday === '?',
    fixed: /^\d+$/.test(minute) && /^\d+$/.test(hour),
  }
}

/** Whether a day, given as midnight in UTC, is one of an expression's days. */
function isOn(cron: Cron, day: Date): boolean {
  if (!cron.months.includes(day.getUTCMonth() + 1)) return false
  const date = day.getUTCDate()
  const length = new Date(Date.UTC(day.getUTCFullYear(), day.getUTCMonth() + 1, 0)).getUTCDate()
  const byDate = cron.days.includes(date) || (cron.lastDay && date === length)
  const byWeekday =
    cron.weekdays.includes(day.getUTCDay()) ||
    cron.nth.some(({ weekday, nth }) => weekday === day.getUTCDay() && (nth === 0 ? date + 7 > length : Math.ceil(date / 7) === nth))
  if (cron.anyDay || cron.anyWeekday) return (cron.anyDay || byDate) && (cron.anyWeekday || byWeekday)
  return byDate || byWeekday
}

/** How far a zone's clock is ahead of UTC at a moment, in milliseconds. */
function clockOf(zone: string): (at: number) => number {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  })
  return (at) => {
    const shown: Record<string, number> = {}
    for (const { type, value } of format.formatToParts(at)) shown[type] = Number(value)
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = shown
    return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(at / 1000) * 1000
  }
}

/** The moments at which a zone's clock shows a time, and the end of the gap where it never does and the service makes up for it. */
function momentsOf(local: number, clock: (at: number) => number, fixed: boolean): number[] {
  const before = clock(local - DAY)
  const after = clock(local + DAY)
  const real = [...new Set([local - before, local - after])].filter((at) => at + clock(at) === local).sort((a, b) => a - b)
  if (real.length) return fixed ? real.slice(0, 1) : real
  if (!fixed) return []
  let early = local - DAY
  let late = local + DAY
  while (late - early > MINUTE) {
    const middle = Math.floor((early + late) / 2 / MINUTE) * MINUTE
    if (clock(middle) === before) early = middle
    else late = middle
  }
  return [late]
}

/** The next times after a moment; fewer than asked for where the following years have no more. Undefined for an unknown zone. */
export function nextTimes(cron: Cron, zone: string, after: Date, count: number): Date[] | undefined {
  let clock: (at: number) => number
  try {
    clock = clockOf(zone)
  } catch {
    return undefined
  }
  const from = after.getTime()
  const today = Math.floor((from + clock(from)) / DAY) * DAY
  const found: number[] = []
  // Eight years: so long may one wait for a 29th of February.
  for (let day = today; day <= today + 8 * 366 * DAY && found.length < count; day += DAY) {
    if (!isOn(cron, new Date(day))) continue
    const ofDay: number[] = []
    for (const hour of cron.hours) {
      for (const minute of cron.minutes) {
        const local = day + (hour * 60 + minute) * MINUTE
        // Nobody's clock is off by more than a day; the rest need not be worked out.
        if (local < from - DAY) continue
        ofDay.push(...momentsOf(local, clock, cron.fixed).filter((at) => at > from))
        if (ofDay.length > count + 120) break
      }
    }
    found.push(...ofDay.sort((a, b) => a - b))
  }
  return found.slice(0, count).map((at) => new Date(at))
}

const isAll = (values: number[], count: number) => values.length === count
const two = (value: number) => String(value).padStart(2, '0')

/** The step of `0, n, 2n …` up to a whole turn, such as 15 of 0, 15, 30, 45. */
function stepOf(values: number[], whole: number): number | undefined {
  const step = values[1]
  if (values[0] !== 0 || !step || whole % step !== 0 || values.length !== whole / step) return undefined
  return values.every((value, at) => value === at * step) ? step : undefined
}

/** Names of days, Monday first. */
export function weekdayName(weekday: number, locale: string): string {
  // The 2nd of January 2000 was a Sunday. Chinese says 周一 with "every", and 星期一 without.
  const style = locale.startsWith('zh') ? 'short' : 'long'
  return new Intl.DateTimeFormat(locale, { weekday: style, timeZone: 'UTC' }).format(Date.UTC(2000, 0, 2 + weekday))
}

/** An expression as a person would say it, with words from `operation.cron`; the expression itself where that is hard to say. */
export function inWords(expression: string, t: Words, locale: string): string {
  const cron = parse(expression)
  const say = (key: string, values: Record<string, unknown> = {}) => t(`operation.cron.${key}`, values)
  const list = (items: string[]) => new Intl.ListFormat(locale, { type: 'conjunction' }).format(items)
  const phrase = cron && repeats(cron)
  const time = cron && (phrase ?? clockTimes(cron))
  const when = cron && days(cron)
  if (!cron || when === undefined || time === undefined) return expression
  const everyDay = cron.anyDay && cron.anyWeekday
  const said = phrase === undefined ? say('at', { days: when, times: time }) : everyDay ? phrase : say('during', { days: when, times: phrase })
  if (isAll(cron.months, 12)) return said
  const names = cron.months.map((month) => new Intl.DateTimeFormat(locale, { month: 'long', timeZone: 'UTC' }).format(Date.UTC(2000, month - 1, 1)))
  return say('inMonths', { months: list(names), said })

  /** Times that come again and again in a day. */
  function repeats({ minutes, hours }: Cron): string | undefined {
    const step = stepOf(hours, 24)
    const minute = two(minutes[0] ?? 0)
    if (!isAll(hours, 24)) return minutes.length === 1 && step && step < 12 ? say('everyHours', { count: step, minute }) : undefined
    if (isAll(minutes, 60)) return say('everyMinute')
    if (minutes.length === 1) return say('everyHour', { minute })
    const every = stepOf(minutes, 60)
    return every === undefined ? undefined : say('everyMinutes', { count: every })
  }

  function clockTimes({ minutes, hours }: Cron): string | undefined {
    if (minutes.length * hours.length > 6) return undefined
    return list(hours.flatMap((hour) => minutes.map((minute) => `${two(hour)}:${two(minute)}`)))
  }

  function days(one: Cron): string | undefined {
    if (one.anyDay && one.anyWeekday) return say('everyDay')
    if (!one.anyDay && !one.anyWeekday) return undefined
    if (one.anyWeekday) {
      if (one.lastDay) return one.days.length ? undefined : say('lastDay')
      return one.days.length > 6 ? undefined : say('daysOfMonth', { days: list(one.days.map(String)) })
    }
    if (one.nth.length) {
      const [only] = one.nth
      if (!only || one.nth.length > 1 || one.weekdays.length) return undefined
      return say(only.nth === 0 ? 'lastWeekday' : 'nthWeekday', { nth: say(`nth.${only.nth}`), weekday: weekdayName(only.weekday, locale) })
    }
    if (one.weekdays.join() === '1,2,3,4,5') return say('workdays')
    if (one.weekdays.join() === '0,6') return say('weekends')
    if (isAll(one.weekdays, 7)) return say('everyDay')
    const names = [...one.weekdays].sort((a, b) => ((a + 6) % 7) - ((b + 6) % 7)).map((weekday) => weekdayName(weekday, locale))
    return say('weekdays', { days: list(names) })
  }
}

/** What the form has fields for. */
export type Preset =
  | { kind: 'hourly'; minute: number }
  | { kind: 'daily'; time: string }
  | { kind: 'weekly'; time: string; weekdays: number[] }
  | { kind: 'own' }

/** The fields in which an expression can be edited. */
export function presetOf(expression: string): Preset {
  const cron = parse(expression)
  const minute = cron?.minutes[0] ?? 0
  if (!cron || !cron.anyDay || !isAll(cron.months, 12) || cron.minutes.length !== 1 || cron.nth.length) return { kind: 'own' }
  if (isAll(cron.hours, 24) && cron.anyWeekday) return { kind: 'hourly', minute }
  if (cron.hours.length !== 1) return { kind: 'own' }
  const time = `${two(cron.hours[0] ?? 0)}:${two(minute)}`
  return cron.anyWeekday ? { kind: 'daily', time } : { kind: 'weekly', time, weekdays: cron.weekdays }
}

/** The expression of such fields; undefined while they are not filled in. */
export function expressionOf(preset: Exclude<Preset, { kind: 'own' }>): string | undefined {
  if (preset.kind === 'hourly') {
    return Number.isInteger(preset.minute) && preset.minute >= 0 && preset.minute < 60 ? `${preset.minute} * * * *` : undefined
  }
  const clock = /^(\d\d):(\d\d)$/.exec(preset.time)
  if (!clock) return undefined
  const at = `${Number(clock[2])} ${Number(clock[1])}`
  if (preset.kind === 'daily') return `${at} * * *`
  return preset.weekdays.length ? `${at} * * ${[...preset.weekdays].sort((a, b) => a - b).join()}` : undefined
}
