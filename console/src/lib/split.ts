/** How rows are cut into training, validation and test, and how many windows each has: the arithmetic of the service's own. */

import type { Wrong } from './schema-form'

export type Three<T> = [T, T, T]
export interface Split {
  /** Shares of the rows, or numbers of them. */
  unit: 'fractions' | 'rows'
  parts: Three<number>
}
interface Stretch {
  start: number
  end: number
}

const TOLERANCE = 1e-9
export const USUAL_SPLIT: Three<string> = ['0.7', '0.1', '0.2']

/** Reads `0.7/0.1/0.2`, `8640/2880/2880`, or two parts without validation. */
export function partsOf(text: string): Three<string> {
  const parts = text.split('/').map((part) => part.trim())
  return parts.length === 2 ? [parts[0] ?? '', '0', parts[1] ?? ''] : [parts[0] ?? '', parts[1] ?? '', parts[2] ?? '']
}

export function readSplit(typed: Three<string>): { split: Split; wrong?: undefined } | { split?: undefined; wrong: Wrong } {
  const texts = typed.map((part) => part.trim()) as Three<string>
  if (texts.some((part) => !/^(\d+\.?\d*|\.\d+)$/.test(part))) return { wrong: { key: 'split.number' } }
  const parts = texts.map(Number) as Three<number>
  if (parts[0] === 0) return { wrong: { key: 'split.nothing' } }
  if (parts[0] + parts[1] + parts[2] <= 1 + TOLERANCE) return { split: { unit: 'fractions', parts } }
  if (texts.some((part) => !/^\d+$/.test(part))) return { wrong: { key: 'split.sum' } }
  return { split: { unit: 'rows', parts } }
}

/** Training, validation and test among so many rows; parts that the rows do not reach are cut short. */
export function stretches(split: Split, rows: number): Three<Stretch> {
  let sum = 0
  let start = 0
  return split.parts.map((part) => {
    sum += part
    const whole = split.unit === 'rows' ? sum : sum >= 1 - TOLERANCE ? rows : Math.round(sum * rows)
    const end = Math.min(rows, whole)
    const stretch = { start, end }
    start = end
    return stretch
  }) as Three<Stretch>
}

/** Rows that a split asks for. */
export function asked(split: Split, rows: number): number {
  return split.unit === 'rows' ? split.parts[0] + split.parts[1] + split.parts[2] : (stretches(split, rows)[2].end)
}

/** Windows whose rows ahead lie in a part. They look back no further than `earliest`. */
export function windowsIn(part: Stretch, lookback: number, horizon: number, earliest: number): number {
  if (part.end <= part.start) return 0
  const first = Math.max(earliest, Math.max(0, part.start - lookback))
  return Math.max(0, part.end + 1 - (first + lookback + horizon))
}

interface Counted {
  rows: Three<number>
  /** Windows of each part; absent without a window. */
  windows?: Three<number>
}

/** What a split makes of devices with so many rows each. */
export function count(split: Split, devices: number[], window?: { lookback: number; horizon: number }): Counted {
  const rows: Three<number> = [0, 0, 0]
  const windows: Three<number> = [0, 0, 0]
  for (const device of devices) {
    stretches(split, device).forEach((part, at) => {
      rows[at as 0 | 1 | 2] += part.end - part.start
      // Training looks back on nothing before its own rows; validation and test may look back on rows before theirs.
      if (window) windows[at as 0 | 1 | 2] += windowsIn(part, window.lookback, window.horizon, 0)
    })
  }
  return window ? { rows, windows } : { rows }
}
