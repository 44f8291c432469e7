/**
 * Where the runs are shown that workers tell of. They name runs alone, so that the models that are being trained, and the
 * trials of the sweeps that go on, have to be looked through.
 */

import { shallowReactive } from 'vue'
import type { RouteLocationRaw } from 'vue-router'
import { api, ask } from '@/api/client'

export type Place = { to: RouteLocationRaw } & ({ model: string } | { sweep: number })

/** How long nobody asks again for what was not found. */
const PAUSE = 10_000
const MOST_PAGES = 5

export function useRunning() {
  const places = shallowReactive(new Map<string, Place>())
  const sought = new Map<string, number>()

  async function find(runs: readonly string[], signal: AbortSignal): Promise<void> {
    const now = Date.now()
    const missing = new Set(runs.filter((run) => !places.has(run) && now - (sought.get(run) ?? 0) > PAUSE))
    if (!missing.size) return
    for (const run of missing) sought.set(run, now)
    let cursor: string | undefined
    for (let page = 0; page < MOST_PAGES && missing.size; page += 1) {
      const models = await ask(
        api.GET('/api/v2/ai/models', { params: { query: { status: 'PENDING,PREPARING,TRAINING', limit: 200, cursor } }, signal }),
      )
      for (const { id, name, task_id } of models.items) {
        if (task_id && missing.delete(task_id)) places.set(task_id, { to: { name: 'model', params: { id } }, model: name })
      }
      if (!models.next) break
      cursor = models.next
    }
    if (!missing.size) return
    const { items } = await ask(api.GET('/api/v2/ai/sweeps', { signal }))
    for (const { id, state } of items) {
      if (state !== 'RUNNING' && state !== 'STOPPING') continue
      const trials = await ask(api.GET('/api/v2/ai/sweeps/{id}/trials', { params: { path: { id } }, signal }))
      for (const { run_id } of trials.items) {
        if (missing.delete(run_id)) places.set(run_id, { to: { name: 'sweep', params: { id } }, sweep: id })
      }
      if (!missing.size) return
    }
  }

  return { places, find }
}
