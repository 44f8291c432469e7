/** The run that a model's page shows: its state, figures, use of the machine and log, live while it goes on, stored afterwards. */

import { onScopeDispose, ref, shallowRef, watch, type Ref, type ShallowRef } from 'vue'
import { api, ask, goesOn, Problem, type Run, type RunState } from '@/api/client'
import { follow, type Mode } from '@/api/live'
import { LogBuffer } from './log-buffer'
import { Pace } from './pace'
import type { Series } from './series'

/** Points of a live series; beyond them every second one goes. */
const MOST_POINTS = 3_000
/** Seconds of use that are shown. */
const USAGE_POINTS = 900

export interface Use {
  cpu: [number, number][]
  memory: [number, number][]
  gpu: [number, number][]
  /** MiB, degrees Celsius and watts of the card; empty where nobody tells. */
  gpuMemory: [number, number][]
  gpuTemperature: [number, number][]
  gpuPower: [number, number][]
}

const unused = (): Use => ({ cpu: [], memory: [], gpu: [], gpuMemory: [], gpuTemperature: [], gpuPower: [] })

export interface LiveRun {
  run: ShallowRef<Run | undefined>
  problem: ShallowRef<Problem | undefined>
  state: Ref<RunState | undefined>
  progress: Ref<number>
  /** Of the plugin's steps; and seconds that are left, if that is known. */
  step: Ref<{ current: number; total: number; secondsLeft: number | null } | undefined>
  series: ShallowRef<Series[]>
  use: ShallowRef<Use>
  log: LogBuffer
  mode: Ref<Mode>
  /** Asks for the run again. */
  refresh: () => Promise<void>
}

const number = (value: unknown): number | undefined => (typeof value === 'number' && Number.isFinite(value) ? value : undefined)

/**
 * `runId` is the run to show; while it is the model's own and goes on, it is followed live. `onChange` hears when its state changes.
 */
export function useLiveRun(model: number, runId: Ref<string | undefined>, onChange: () => void): LiveRun {
  const run = shallowRef<Run>()
  const problem = shallowRef<Problem>()
  const state = ref<RunState>()
  const progress = ref(0)
  const step = ref<LiveRun['step']['value']>()
  const series = shallowRef<Series[]>([])
  const use = shallowRef<Use>(unused())
  const log = new LogBuffer()
  const mode = ref<Mode>('over')

  let stop: (() => void) | undefined
  let polling: ReturnType<typeof setTimeout> | undefined
  let generation = 0

  function reset(): void {
    stop?.()
    stop = undefined
    clearTimeout(polling)
    run.value = undefined
    problem.value = undefined
    state.value = undefined
    progress.value = 0
    step.value = undefined
    series.value = []
    use.value = unused()
    log.clear()
    mode.value = 'over'
  }

  async function refresh(): Promise<void> {
    const id = runId.value
    if (!id) return
    const own = generation
    try {
      const read = await ask(api.GET('/api/v2/ai/models/{id}/runs/{run}', { params: { path: { id: model, run: id } } }))
      if (own !== generation) return
      problem.value = undefined
      take(read)
    } catch (error) {
      if (own === generation) problem.value = Problem.from(error)
    }
  }

  function take(read: Run): void {
    const before = state.value
    run.value = read
    state.value = read.state
    progress.value = Math.max(progress.value, read.progress)
    if (before !== undefined && before !== read.state) onChange()
  }

  async function storedSeries(id: string, own: number): Promise<void> {
    const answer = await ask(api.GET('/api/v2/ai/models/{id}/metrics', { params: { path: { id: model }, query: { run: id, points: 1000 } } }))
    if (own !== generation) return
    const live = new Map(series.value.map((one) => [one.name, one.points]))
    series.value = answer.items.map(({ name, points }) => {
      const stored = (points as number[][]).map((point) => [point[0] ?? 0, point[2] ?? null] as const)
      const until = stored.at(-1)?.[0] ?? -1
      const later = (live.get(name) ?? []).filter(([x]) => x > until)
      live.delete(name)
      return { name, points: [...stored, ...later] }
    })
    // Some may have begun since they were asked for.
    for (const [name, points] of live) series.value = [...series.value, { name, points }]
  }

  async function storedLog(id: string, own: number): Promise<void> {
    const answer = await ask(api.GET('/api/v2/ai/models/{id}/logs', { params: { path: { id: model }, query: { run: id, limit: 10_000 } } }))
    if (own !== generation) return
    log.clear()
    for (const { timestamp, level, message } of answer.items) log.push(timestamp, level, message)
  }

  function onEvent(name: string, data: Record<string, unknown>): void {
    if (name === 'log') {
      log.push(String(data.timestamp ?? ''), String(data.level ?? ''), String(data.message ?? ''))
      return
    }
    if (typeof data.run_id === 'string' && data.run_id !== runId.value) return
    if (name === 'status' || name === 'end') {
      const next = data.status as RunState | null
      if (next && next !== state.value) {
        state.value = next
        if (!goesOn(next)) progress.value = next === 'TRAINED' ? 100 : progress.value
        void refresh()
        onChange()
      }
      progress.value = Math.max(progress.value, number(data.progress) ?? 0)
    } else if (name === 'progress') {
      progress.value = Math.max(progress.value, number(data.progress) ?? 0)
      const current = number(data.current) ?? 0
      step.value = { current, total: number(data.total) ?? 0, secondsLeft: number(data.seconds_left) ?? null }
      add(current, (data.metrics ?? {}) as Record<string, unknown>)
    } else if (name === 'usage') {
      const at = number(data.duration_seconds) ?? 0
      const point = (points: [number, number][], value: unknown) => [...points.slice(-USAGE_POINTS), [at, number(value) ?? 0] as [number, number]]
      const told = (points: [number, number][], value: unknown) => (number(value) === undefined ? points : point(points, value))
      use.value = {
        cpu: point(use.value.cpu, data.cpu_percent),
        memory: point(use.value.memory, data.memory_mb),
        gpu: point(use.value.gpu, data.gpu_util),
        gpuMemory: told(use.value.gpuMemory, data.gpu_memory_mb),
        gpuTemperature: told(use.value.gpuTemperature, data.gpu_temperature_c),
        gpuPower: told(use.value.gpuPower, data.gpu_power_w),
      }
    } else if (name === 'gap') {
      // Some events are lost; what they said is stored, or will be.
      void refresh()
      if (runId.value) void storedSeries(runId.value, generation).catch(() => undefined)
    }
  }

  function add(current: number, metrics: Record<string, unknown>): void {
    const names = Object.keys(metrics)
    if (!names.length) return
    const next = [...series.value]
    for (const name of names) {
      const value = number(metrics[name]) ?? null
      const at = next.findIndex((one) => one.name === name)
      const before = next[at]
      if (!before) {
        next.push({ name, points: [[current, value]] })
        continue
      }
      const last = before.points.at(-1)?.[0] ?? -1
      if (current <= last) continue
      const kept = before.points.length >= MOST_POINTS ? before.points.filter((_, index) => index % 2 === 0) : before.points
      next[at] = { name, points: [...kept, [current, value]] }
    }
    series.value = next
  }

  /** While no stream gets through. */
  function poll(own: number): void {
    const pace = new Pace()
    const again = async () => {
      const id = runId.value
      if (own !== generation || mode.value !== 'polling' || !id) return
      await refresh()
      await storedSeries(id, own).catch(() => undefined)
      await storedLog(id, own).catch(() => undefined)
      const wait = pace.next(progress.value, state.value !== undefined && !goesOn(state.value), Date.now())
      if (wait !== null && own === generation) polling = setTimeout(() => void again(), wait)
      else if (own === generation) {
        mode.value = 'over'
        // No stream has anything more to say.
        stop?.()
      }
    }
    void again()
  }

  watch(
    runId,
    async (id) => {
      generation += 1
      const own = generation
      reset()
      if (!id) return
      await refresh()
      if (own !== generation) return
      const isLive = state.value !== undefined && goesOn(state.value)
      void storedSeries(id, own).catch(() => undefined)
      if (!isLive) {
        void storedLog(id, own).catch(() => undefined)
        return
      }
      stop = follow(model, {
        onEvent: (name, data) => own === generation && onEvent(name, data),
        onMode(next) {
          if (own !== generation) return
          const before = mode.value
          mode.value = next
          if (next === 'polling' && before !== 'polling') poll(own)
          // Whatever was told while the stream was away is known again.
          if (next === 'live' && before === 'polling') clearTimeout(polling)
          if (next === 'over') void refresh()
        },
      })
    },
    { immediate: true },
  )
  onScopeDispose(() => {
    generation += 1
    reset()
  })
  return { run, problem, state, progress, step, series, use, log, mode, refresh }
}
