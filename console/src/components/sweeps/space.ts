/** The space of a new sweep: from a plugin's schema to a form, and from the form to what the service takes. */

import { canonical, isNumber } from '@/lib/json'
import { fieldsOf, type Field } from '@/lib/schema-form'

export const MOST_TRIALS = 1000

export type Method = 'grid' | 'random' | 'asha'
export const METHODS: readonly Method[] = ['grid', 'random', 'asha']

/** What a form holds of one parameter. Numbers are as they were typed, so that nothing typed is lost. */
export interface Draft {
  readonly name: string
  readonly about: string
  readonly kind: 'integer' | 'number' | 'choice' | 'text' | 'json'
  /** What there is to choose, written as JSON. */
  readonly choices: readonly string[]
  vary: boolean
  form: 'range' | 'list'
  min: string
  max: string
  log: boolean
  points: string
  values: string
  chosen: string[]
}

export interface Wrong {
  /** The end of the key of the words. */
  key: 'number' | 'order' | 'log' | 'points' | 'values' | 'json' | 'numbers'
  named?: Record<string, string | number>
}

interface Range {
  min: number
  max: number
  log?: boolean
  points?: number
}
type Space = Record<string, unknown[] | Range>

function kindOf(field: Field): Draft['kind'] {
  // Nothing is a value, too, and only JSON has a word for it.
  if (field.nullable && !field.choices.includes(null)) return 'json'
  if (field.kind === 'boolean') return 'choice'
  return field.kind === 'list' ? 'json' : field.kind
}

/** A range around the default, within what the schema allows: a tenth of it to ten times, where it is a factor that matters. */
function rangeOf({ kind, fallback: usual, minimum, exclusiveMinimum, maximum, exclusiveMaximum: excluded }: Field): Pick<Draft, 'min' | 'max' | 'log'> {
  const least = minimum ?? exclusiveMinimum
  const most = maximum ?? excluded
  const write = (value: number) => String(Number((kind === 'integer' ? Math.round(value) : value).toPrecision(6)))
  if (isNumber(usual) && usual > 0 && least !== undefined && least >= 0) {
    const from = Math.max(usual / 10, kind === 'integer' ? Math.max(1, least) : least)
    return { min: write(from), max: write(Math.min(usual * 10, most ?? Infinity)), log: true }
  }
  const from = least ?? 0
  return { min: write(from), max: write(excluded !== undefined ? from + (excluded - from) / 2 : (most ?? from + 1)), log: false }
}

/** One draft for each parameter of a plugin's schema, in its order. */
export function draftsOf(schema: unknown): Draft[] {
  return fieldsOf(schema).map((field) => {
    const kind = kindOf(field)
    const choices = kind === 'choice' ? (field.kind === 'boolean' ? [false, true] : field.choices).map(canonical) : []
    const usual = field.fallback
    return {
      name: field.name,
      about: field.help,
      kind,
      choices,
      vary: false,
      form: kind === 'integer' || kind === 'number' ? 'range' : 'list',
      ...rangeOf(field),
      points: '3',
      values: usual === undefined ? '' : kind === 'json' ? JSON.stringify(usual) : String(usual),
      chosen: [...choices],
    }
  })
}

function listOf(draft: Draft): unknown[] | Wrong {
  if (draft.kind === 'choice') {
    const list = draft.choices.filter((choice) => draft.chosen.includes(choice)).map((choice) => JSON.parse(choice) as unknown)
    return list.length ? list : { key: 'values' }
  }
  const parts = draft.values
    .split(draft.kind === 'json' ? '\n' : /[,，\n]/)
    .map((part) => part.trim())
    .filter(Boolean)
  if (!parts.length) return { key: 'values' }
  if (draft.kind === 'text') return parts
  if (draft.kind === 'json') {
    const list: unknown[] = []
    for (const [at, part] of parts.entries()) {
      try {
        list.push(JSON.parse(part))
      } catch {
        return { key: 'json', named: { line: at + 1 } }
      }
    }
    return list
  }
  const no = parts.find((part) => !Number.isFinite(Number(part)))
  return no === undefined ? parts.map(Number) : { key: 'numbers', named: { value: no } }
}

/** A whole or any number, or `NaN` for what is none. `Number('')` would be 0. */
export const typedNumber = (typed: string): number => (typed.trim() ? Number(typed) : NaN)

function rangeGiven(draft: Draft, method: Method): Range | Wrong {
  const [min, max] = [typedNumber(draft.min), typedNumber(draft.max)]
  if (!Number.isFinite(min) || !Number.isFinite(max)) return { key: 'number' }
  if (min >= max) return { key: 'order' }
  if (draft.log && min <= 0) return { key: 'log' }
  const range: Range = { min, max, ...(draft.log && { log: true }) }
  if (method !== 'grid') return range
  const points = typedNumber(draft.points)
  if (!Number.isInteger(points) || points < 2 || points > MOST_TRIALS) return { key: 'points', named: { most: MOST_TRIALS } }
  return { ...range, points }
}

const isWrong = (value: unknown[] | Range | Wrong): value is Wrong => !Array.isArray(value) && 'key' in value

/** How many values of a range a grid has: whole numbers of a narrow range come twice, and are one. */
function pointsOf({ min, max, log, points = 0 }: Range, whole: boolean): number {
  if (!whole) return points
  let count = 0
  let before: number | undefined
  for (let point = 0; point < points; point += 1) {
    const place = point / (points - 1)
    const value = log ? Math.exp(Math.log(min) + place * (Math.log(max) - Math.log(min))) : min + place * (max - min)
    const rounded = Math.sign(value) * Math.round(Math.abs(value))
    if (rounded !== before) count += 1
    before = rounded
  }
  return count
}

export interface Asked {
  space: Space
  /** What is wrong, by parameter. */
  wrong: Record<string, Wrong>
  /** How many trials a grid of it has. */
  combinations: number
}

export function spaceOf(drafts: readonly Draft[], method: Method): Asked {
  const asked: Asked = { space: {}, wrong: {}, combinations: 1 }
  for (const draft of drafts.filter(({ vary }) => vary)) {
    const given = draft.form === 'range' ? rangeGiven(draft, method) : listOf(draft)
    if (isWrong(given)) {
      asked.wrong[draft.name] = given
      continue
    }
    asked.space[draft.name] = given
    asked.combinations *= Array.isArray(given) ? given.length : pointsOf(given, draft.kind === 'integer')
  }
  return asked
}
