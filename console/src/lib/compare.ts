/** Runs side by side: which ones the address names, what differs between them, and which is best. */

import { canonical, isNumber } from './json'
import type { Point, Series } from './series'

/** More would leave no room for any of them. */
export const MOST_RUNS = 8

export interface RunName {
  model: number
  run: string
}

export const keyOf = ({ model, run }: RunName): string => `${model}:${run}`

/** `MODEL:RUN,MODEL:RUN` as far as it makes sense; each run once. */
export function readRuns(written: unknown): RunName[] {
  const found = new Map<string, RunName>()
  for (const part of typeof written === 'string' ? written.split(',') : []) {
    const [, model, run] = /^\s*(\d{1,15}):([\w.-]{1,100})\s*$/.exec(part) ?? []
    if (model && run && found.size < MOST_RUNS) found.set(`${Number(model)}:${run}`, { model: Number(model), run })
  }
  return [...found.values()]
}

export const writeRuns = (runs: readonly RunName[]): string => runs.map(keyOf).join(',')

/** Whether not all are the same. One that is missing differs from every other. */
export const differ = (values: readonly unknown[]): boolean => new Set(values.map(canonical)).size > 1

interface ComparedRow {
  name: string
  /** One for each run, in their order; `undefined` where it has none. */
  values: unknown[]
  differs: boolean
}

/** Everything that any of them has, by name: first what differs, each part in the order in which names come up. */
export function rowsOf(records: readonly Readonly<Record<string, unknown>>[]): ComparedRow[] {
  const names = new Set(records.flatMap((record) => Object.keys(record)))
  const rows = [...names].map((name) => {
    const values = records.map((record) => (Object.hasOwn(record, name) ? record[name] : undefined))
    return { name, values, differs: differ(values) }
  })
  return [...rows.filter((row) => row.differs), ...rows.filter((row) => !row.differs)]
}

/** Where the best values are. Nowhere, if fewer than two can be compared, if all are equal, or if nobody says what is better. */
export function bestOf(values: readonly unknown[], maximize: boolean | null): number[] {
  const finite = values.filter(isNumber)
  if (maximize === null || finite.length < 2 || new Set(finite).size < 2) return []
  const best = finite.reduce((one, other) => (maximize ? one >= other : one <= other) ? one : other)
  return values.flatMap((value, at) => (value === best ? [at] : []))
}

interface FigureRow {
  name: string
  values: unknown[]
  summary: string
  /** Null where no plugin says it, or two plugins contradict each other. */
  maximize: boolean | null
  best: number[]
}

type Described = Readonly<Record<string, unknown>>

/** The figures of runs' results: one list of descriptions for each run, as a report has them. */
export function figuresOf(runs: readonly (readonly Described[])[]): FigureRow[] {
  const names = new Set(runs.flatMap((figures) => figures.map(({ name }) => String(name))))
  return [...names].map((name) => {
    const found = runs.map((figures) => figures.find((figure) => figure.name === name))
    const values = found.map((figure) => figure?.value)
    const said = new Set(found.map((figure) => figure?.maximize).filter((one): one is boolean => typeof one === 'boolean'))
    const maximize = said.size === 1 ? ([...said][0] ?? null) : null
    const summary = found.map((figure) => figure?.summary).find((one): one is string => typeof one === 'string') ?? ''
    return { name, values, summary, maximize, best: bestOf(values, maximize) }
  })
}

/** As the service gives it: step, seconds, value. */
export interface Told {
  name: string
  points: readonly (readonly (number | null)[])[]
}

export type Across = 'steps' | 'seconds'

/** The curve of one name of every run, in their order, so that each run has the same colour in every chart. */
export function curvesOf(name: string, runs: readonly { label: string; series: readonly Told[] }[], across: Across): Series[] {
  const at = across === 'steps' ? 0 : 1
  return runs.map(({ label, series }) => {
    const told = series.find((one) => one.name === name)
    const points = (told?.points ?? []).map((point): Point => [point[at] ?? NaN, point[2] ?? null])
    return { name: label, points }
  })
}

/** The names of all series, those that most runs have first. */
export function seriesNames(runs: readonly (readonly Told[])[]): string[] {
  const counts = new Map<string, number>()
  for (const series of runs) for (const { name } of series) counts.set(name, (counts.get(name) ?? 0) + 1)
  return [...counts].sort(([, a], [, b]) => b - a).map(([name]) => name)
}
