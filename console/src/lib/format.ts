/** How figures, times and sizes are written, in the language of the page. */

/** A figure with at most so many digits that count; NaN and infinity by their names. */
export function figure(value: unknown, digits = 4): string {
  if (value === null || value === undefined) return '–'
  if (typeof value !== 'number') return text(value)
  if (!Number.isFinite(value)) return String(value)
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return String(value)
  const size = Math.abs(value)
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(Math.max(0, digits - 2))
  return String(Number(value.toPrecision(digits)))
}

/** Any value in one line, without what could turn or hide the text around it. */
export function text(value: unknown): string {
  const written = typeof value === 'string' ? value : (JSON.stringify(value) ?? '–')
  return harmless(written)
}

/** Shows control characters, and those that change the direction of writing, instead of obeying them. */
export function harmless(written: string): string {
  return written.replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** A text without the sequences by which programs colour a terminal. The service writes U+FFFD for their first character. */
export function withoutAnsi(written: string): string {
  return written.replace(/\ufffd\[[0-?]*[ -/]*[@-~]|\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\^_])/g, '')
}

/** The first figure of a result: its name and value. */
export function firstFigure(metrics: object): [name: string, value: string] | undefined {
  const first = Object.entries(metrics)[0]
  return first && [harmless(first[0]), figure(first[1])]
}

/** As much of a run's id as tells it from others. */
export const shortRun = (id: string): string => harmless(id.slice(0, 8))

/** Bytes in powers of 1024. */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let at = 0
  let value = count
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024
    at += 1
  }
  return `${at === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[at]}`
}

/** Seconds as `1 h 03 min`, `2 min 05 s`, `4.2 s` or `120 ms`. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return '–'
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`
  const whole = Math.round(seconds)
  const two = (value: number) => String(value).padStart(2, '0')
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`
}

/** A moment as the page's language writes it, in the viewer's own time zone. */
export function moment(value: string | null | undefined, locale: string): string {
  if (!value) return '–'
  const at = new Date(value)
  if (Number.isNaN(at.getTime())) return value
  return new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'medium' }).format(at)
}

/** How long ago, or how soon: `5 minutes ago`. */
export function ago(value: string | null | undefined, locale: string, now = Date.now()): string {
  if (!value) return '–'
  const seconds = (new Date(value).getTime() - now) / 1000
  if (Number.isNaN(seconds)) return value
  const relative = new Intl.RelativeTimeFormat(locale, { numeric: 'auto', style: 'short' })
  const steps: [number, Intl.RelativeTimeFormatUnit][] = [
    [60, 'second'],
    [60, 'minute'],
    [24, 'hour'],
    [30, 'day'],
    [12, 'month'],
    [Infinity, 'year'],
  ]
  let left = seconds
  for (const [size, unit] of steps) {
    if (Math.abs(left) < size) return relative.format(Math.round(left), unit)
    left /= size
  }
  return value
}

/** The time zone of this browser. */
export const ownZone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone ?? 'UTC'
