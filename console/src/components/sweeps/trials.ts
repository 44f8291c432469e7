/** The trials of a sweep as they are shown: numbered, judged and filtered. */

import type { Schema } from '@/api/client'
import { isNumber } from '@/lib/json'
import { parameterAxis, passes, valueAxis, type Axis, type Filters } from '@/lib/parallel'

export type Sweep = Schema<'Sweep'>
export type Trial = Schema<'Trial'>
export type Trials = Schema<'Trials'>

export interface Numbered extends Trial {
  /** Its place in the order in which trials were drawn, from 1. */
  number: number
}

export const isActive = (sweep: Sweep): boolean => sweep.state === 'RUNNING' || sweep.state === 'STOPPING'

/** How a sweep's bar is coloured: as that of a run. */
export const barOf = (sweep: Sweep): string => (sweep.state === 'FINISHED' || sweep.state === 'STOPPED' ? 'TRAINED' : 'TRAINING')

/** What trials are judged by. As long as none has a value, the service names the figure that it would fall back on. */
export function judgedBy(sweep: Sweep, trials: Trials | undefined): { metric: string; goal: string } {
  return !trials || (isActive(sweep) && !trials.items.some(({ value }) => isNumber(value))) ? sweep : trials
}

/** The axes of a sweep's plot: its parameters, then the value. */
export function axesOf(sweep: Sweep, trials: Trials): Axis[] {
  const parameters = Object.entries(sweep.space).map(([name, given]) =>
    parameterAxis(
      name,
      given,
      trials.items.map(({ parameters }) => parameters[name]),
    ),
  )
  return [...parameters, valueAxis(judgedBy(sweep, trials).metric, trials.items.map(({ value }) => value))]
}

/** What a trial has on an axis. */
export const onAxis = (axis: Axis, trial: Trial): unknown => (axis.key === 'value' ? (trial.value ?? undefined) : trial.parameters[axis.name])

export const filtered = (trials: readonly Numbered[], axes: readonly Axis[], filters: Filters): Numbered[] =>
  trials.filter((trial) => axes.every((axis) => passes(filters[axis.key], onAxis(axis, trial))))

/** Trials with a value, the best first. */
export function ranked<T extends Trial>(trials: readonly T[], goal: string): T[] {
  const sign = goal === 'maximize' ? -1 : 1
  return trials.filter(({ value }) => isNumber(value)).sort((a, b) => sign * ((a.value ?? 0) - (b.value ?? 0)))
}

/** The best of those that came to a result, as the service sees it. */
export const bestOf = (trials: readonly Numbered[], goal: string): Numbered | undefined =>
  ranked(
    trials.filter(({ state }) => state === 'TRAINED'),
    goal,
  )[0]
