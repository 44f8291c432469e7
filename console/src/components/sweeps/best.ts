/** The best value of a sweep that is over, from the report of its best run: reading all trials of every sweep would take long. */

import type { Report } from '@/api/client'
import { isNumber } from '@/lib/json'
import type { Sweep } from './trials'

/** As the service judges: the best that was told while it trained, else the figure of the result, else the sweep's other figure. */
export function bestValue(sweep: Sweep, report: Report): { metric: string; value: number } | undefined {
  for (const told of report.series as Record<string, unknown>[]) {
    const value = told.name === sweep.metric ? told[sweep.goal === 'maximize' ? 'max' : 'min'] : undefined
    if (isNumber(value)) return { metric: sweep.metric, value }
  }
  for (const metric of [sweep.metric, sweep.otherwise?.metric]) {
    const value = metric === undefined ? undefined : report.run.metrics[metric]
    if (metric !== undefined && isNumber(value)) return { metric, value }
  }
  return undefined
}
