/** Parallel coordinates: one upright axis for each parameter and one for the value, and a line through them for each trial. */

import { figure, text } from './format'
import { canonical, isNumber } from './json'

type AxisKind = 'linear' | 'log' | 'category'

export interface Axis {
  /** Unlike the name it is no other axis's: a parameter may be called as the value is. */
  key: string
  name: string
  kind: AxisKind
  /** The ends of a scale of numbers. */
  min: number
  max: number
  /** The points of a scale of categories, from below. */
  categories: string[]
}

/** What an axis lets through: a part of a scale of numbers, or some categories. */
export type Filter = { min?: number; max?: number } | { only: string[] }
export type Filters = Readonly<Record<string, Filter>>

/** Lists of numbers up to this length are points; each gets its own place, however close they lie. */
const MOST_POINTS = 12
/** A scale of values that spans this factor is read more easily by decades. */
const WIDE = 100

function scale(key: string, name: string, numbers: readonly number[], logarithmic: boolean): Axis {
  let min = Infinity
  let max = -Infinity
  for (const number of numbers) {
    if (number < min) min = number
    if (number > max) max = number
  }
  if (min > max) [min, max] = [0, 1]
  return { key, name, kind: logarithmic && min > 0 ? 'log' : 'linear', min, max, categories: [] }
}

/** The axis of a parameter: by what the sweep's space says of it, and by the values that trials really have. */
export function parameterAxis(name: string, given: unknown, values: readonly unknown[]): Axis {
  const key = `parameter:${name}`
  if (!Array.isArray(given) && typeof given === 'object' && given !== null) {
    const { min, max, log } = given as Record<string, unknown>
    return scale(key, name, [...values, min, max].filter(isNumber), log === true)
  }
  const all = [...(Array.isArray(given) ? (given as unknown[]) : []), ...values].filter((value) => value !== undefined)
  const distinct = new Map(all.map((value) => [canonical(value), value]))
  const numbers = [...distinct.values()].filter(isNumber)
  if (numbers.length === distinct.size) {
    if (numbers.length > MOST_POINTS) return scale(key, name, numbers, false)
    const categories = numbers.sort((a, b) => a - b).map(canonical)
    return { key, name, kind: 'category', min: 0, max: 1, categories }
  }
  return { key, name, kind: 'category', min: 0, max: 1, categories: [...distinct.keys()] }
}

/** The axis of what trials are judged by. */
export function valueAxis(name: string, values: readonly unknown[]): Axis {
  const axis = scale('value', name, values.filter(isNumber), false)
  return axis.min > 0 && axis.max / axis.min >= WIDE ? { ...axis, kind: 'log' } : axis
}

const transformed = (axis: Axis, value: number) => (axis.kind === 'log' ? Math.log(value) : value)

/** Where a value lies, from 0 below to 1 above; nowhere, if it is none that the axis has. */
export function placeOf(axis: Axis, value: unknown): number | undefined {
  if (axis.kind === 'category') {
    if (value === undefined) return undefined
    const at = axis.categories.indexOf(canonical(value))
    return at < 0 ? undefined : (at + 0.5) / axis.categories.length
  }
  if (!isNumber(value) || (axis.kind === 'log' && value <= 0)) return undefined
  const [from, to] = [transformed(axis, axis.min), transformed(axis, axis.max)]
  if (to === from) return 0.5
  // In halves: the whole span of two numbers may be none.
  return Math.max(0, Math.min(1, (transformed(axis, value) / 2 - from / 2) / (to / 2 - from / 2)))
}

/** The number at a place of a scale of numbers. */
export function numberAt(axis: Axis, place: number): number {
  if (place <= 0) return axis.min
  if (place >= 1) return axis.max
  const [from, to] = [transformed(axis, axis.min), transformed(axis, axis.max)]
  const number = from * (1 - place) + to * place
  return axis.kind === 'log' ? Math.exp(number) : number
}

interface Tick {
  place: number
  label: string
}

/** A category as people write it: texts without their quotes. */
export function categoryText(category: string): string {
  const value: unknown = JSON.parse(category)
  return typeof value === 'number' ? figure(value) : text(value)
}

/** Marks of an axis with their words: every category, decades, or round steps. The ends are always there. */
export function ticksOf(axis: Axis, most = 6): Tick[] {
  if (axis.kind === 'category') {
    const every = Math.ceil(axis.categories.length / (most * 3))
    return axis.categories
      .map((category, at) => ({ place: (at + 0.5) / axis.categories.length, label: categoryText(category) }))
      .filter((_tick, at) => at % every === 0)
  }
  if (axis.min === axis.max) return [{ place: 0.5, label: figure(axis.min, 3) }]
  const between = axis.kind === 'log' ? decades(axis, most) : roundSteps(axis, most)
  const room = 0.6 / most
  const inner = between.map((number) => ({ place: placeOf(axis, number) ?? 0, label: figure(number, 3) }))
  return [
    { place: 0, label: figure(axis.min, 3) },
    ...inner.filter(({ place }) => place > room && place < 1 - room),
    { place: 1, label: figure(axis.max, 3) },
  ]
}

function decades({ min, max }: Axis, most: number): number[] {
  const [from, to] = [Math.ceil(Math.log10(min)), Math.floor(Math.log10(max))]
  const every = Math.max(1, Math.ceil((to - from + 1) / most))
  const found: number[] = []
  for (let power = from; power <= to; power += every) found.push(Number(`1e${power}`))
  return found
}

function roundSteps({ min, max }: Axis, most: number): number[] {
  const rough = (max - min) / most
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10)
  if (!(step > 0) || !Number.isFinite(step)) return []
  const found: number[] = []
  for (let at = Math.ceil(min / step); at * step <= max && found.length <= 2 * most; at += 1) found.push(at * step)
  return found
}

/** Whether a filter lets a value through. What is missing does not pass. */
export function passes(filter: Filter | undefined, value: unknown): boolean {
  if (!filter) return true
  if ('only' in filter) return value !== undefined && filter.only.includes(canonical(value))
  if (filter.min === undefined && filter.max === undefined) return true
  return isNumber(value) && value >= (filter.min ?? -Infinity) && value <= (filter.max ?? Infinity)
}

/** What a stretch of an axis, drawn over it, lets through. */
export function stretch(axis: Axis, one: number, other: number): Filter {
  const [low, high] = one < other ? [one, other] : [other, one]
  if (axis.kind === 'category') {
    const only = axis.categories.filter((_category, at) => {
      const place = (at + 0.5) / axis.categories.length
      return place >= low && place <= high
    })
    return { only }
  }
  return {
    ...(low > 0 && { min: rounded(numberAt(axis, low)) }),
    ...(high < 1 && { max: rounded(numberAt(axis, high)) }),
  }
}

/** A pointer is not more exact than this, and people read it. */
const rounded = (value: number) => Number(value.toPrecision(4))

/** Points of "Cividis" (Nuñez, Anderton, Renslow 2018): its lightness grows evenly, also for colour-blind people. */
const CIVIDIS = ['#00224e', '#123570', '#3b496c', '#575d6d', '#707173', '#8a8678', '#a59c74', '#c3b369', '#fee838'] as const

/**
 * The colour of a place between the worst, 0, and the best, 1. The best stands out most: it is the darkest on a light page and
 * the lightest on a dark one; the end that the page would swallow is left out.
 */
export function colourOf(place: number, dark: boolean): string {
  const along = Math.max(0, Math.min(1, place))
  const at = (dark ? 0.46 + 0.54 * along : 0.68 * (1 - along)) * (CIVIDIS.length - 1)
  const below = Math.min(CIVIDIS.length - 2, Math.floor(at))
  const share = at - below
  const channel = (offset: number) => {
    const [from, to] = [CIVIDIS[below], CIVIDIS[below + 1]].map((hex) => Number.parseInt((hex ?? '#000000').slice(offset, offset + 2), 16))
    return Math.round((from ?? 0) + share * ((to ?? 0) - (from ?? 0)))
  }
  return `rgb(${channel(1)}, ${channel(3)}, ${channel(5)})`
}

/** The line nearest to a point between two axes: its number, if it is nearer than `within`. Places are 0 to 1. */
export function nearest(
  lines: readonly (readonly (number | undefined)[])[],
  left: number,
  share: number,
  place: number,
  within: number,
): number | undefined {
  let found: number | undefined
  let least = within
  lines.forEach((line, number) => {
    const [from, to] = [line[left], line[left + 1]]
    if (from === undefined || to === undefined) return
    const distance = Math.abs(from + share * (to - from) - place)
    if (distance < least) [least, found] = [distance, number]
  })
  return found
}
