/** The runs that are compared, as the service has them; again and again while one of them goes on. */

import { computed, shallowReactive, watch, type ComputedRef, type Ref } from 'vue'
import { api, ask, Problem, type Report } from '@/api/client'
import { keyOf, type RunName, type Told } from '@/lib/compare'
import { useAsked } from '@/lib/poll'

export interface Loaded {
  report?: Report
  series: readonly Told[]
  problem?: Problem
}

export interface Compared extends Loaded {
  name: RunName
  key: string
  /** Its letter: names are too long for a chart. */
  letter: string
}

const over = (loaded: Loaded | undefined): boolean => {
  if (loaded?.problem) return loaded.problem.status !== 0
  return loaded?.report !== undefined && ['TRAINED', 'ERROR', 'CANCELLED'].includes(loaded.report.run.state)
}

async function load({ model: id, run }: RunName, before: Loaded | undefined, signal: AbortSignal): Promise<Loaded> {
  const params = { path: { id }, query: { run } }
  try {
    const [report, { items }] = await Promise.all([
      ask(api.GET('/api/v2/ai/models/{id}/report', { params, signal })),
      ask(api.GET('/api/v2/ai/models/{id}/metrics', { params, signal })),
    ])
    return { report, series: items }
  } catch (error) {
    if (signal.aborted) throw error
    // What was seen stays, except of a run that has been deleted.
    const problem = Problem.from(error)
    return problem.status === 404 ? { series: [], problem } : { series: [], ...before, problem }
  }
}

export function useRuns(names: Ref<readonly RunName[]>): { runs: ComputedRef<Compared[]>; retry: (key: string) => void } {
  const known = shallowReactive(new Map<string, Loaded>())
  const asked = useAsked(
    async (signal) => {
      const missing = names.value.filter((name) => !over(known.get(keyOf(name))))
      await Promise.all(missing.map(async (name) => known.set(keyOf(name), await load(name, known.get(keyOf(name)), signal))))
    },
    () => (names.value.every((name) => over(known.get(keyOf(name)))) ? null : 2000),
  )
  watch(names, () => void asked.refresh())
  const runs = computed(() =>
    names.value.map((name, at): Compared => {
      const key = keyOf(name)
      return { series: [], ...known.get(key), name, key, letter: String.fromCharCode(65 + at) }
    }),
  )
  const retry = (key: string) => {
    known.delete(key)
    void asked.refresh()
  }
  return { runs, retry }
}
