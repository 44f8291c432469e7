/**
 * What happens to a model, as it happens: server-sent events, read with `fetch` so that the token goes in a header. A connection that is
 * lost is made again from the last event on (`Last-Event-ID`). Where streams do not get through at all, the caller is told to ask
 * instead (`onMode('polling')`), while streams go on being tried.
 */

import { createParser } from 'eventsource-parser'
import { session } from './session'

export type Mode = 'connecting' | 'live' | 'polling' | 'over'

export interface Watcher {
  onEvent(name: string, data: Record<string, unknown>): void
  onMode(mode: Mode): void
}

/** The first wait before another try, and the longest. */
const FIRST_WAIT = 1_000
const LONGEST_WAIT = 10_000
/** The server says at least that it is alive in this time. */
const SILENCE = 45_000
/** How long a first byte may take; a proxy may keep them all back. */
const FIRST_BYTE = 8_000
/** Failures in a row after which one polls. */
const MOST_FAILURES = 2

/** Follows the current or last run of a model until its end. Gives what ends that. */
export function follow(model: number, watcher: Watcher): () => void {
  const ending = new AbortController()
  void run(model, watcher, ending.signal)
  return () => ending.abort()
}

async function run(model: number, watcher: Watcher, signal: AbortSignal): Promise<void> {
  let last: string | undefined
  let failures = 0
  let wait = FIRST_WAIT
  watcher.onMode('connecting')
  while (!signal.aborted) {
    let heard = false
    let over = false
    const outcome = await connect(
      model,
      last,
      (id, name, data) => {
        if (id) last = id
        if (!heard) watcher.onMode('live')
        heard = true
        if (name === 'end') over = true
        watcher.onEvent(name, data)
      },
      () => {
        // Open, though nothing may have happened yet.
        if (!heard) watcher.onMode('live')
      },
      signal,
    )
    if (signal.aborted) return
    if (over) {
      watcher.onMode('over')
      return
    }
    // 4xx: it is gone, or nobody is signed in; whoever asks for the model hears of it.
    if (outcome === 'refused') {
      watcher.onMode('polling')
      return
    }
    failures = heard || outcome === 'ended' ? 0 : failures + 1
    wait = heard ? FIRST_WAIT : Math.min(wait * 2, LONGEST_WAIT)
    watcher.onMode(failures >= MOST_FAILURES ? 'polling' : 'connecting')
    await sleep(wait, signal)
  }
}

type Outcome = 'ended' | 'failed' | 'refused'

async function connect(
  model: number,
  last: string | undefined,
  take: (id: string | undefined, name: string, data: Record<string, unknown>) => void,
  opened: () => void,
  signal: AbortSignal,
): Promise<Outcome> {
  const own = new AbortController()
  const stop = () => own.abort()
  signal.addEventListener('abort', stop)
  let watchdog = setTimeout(stop, FIRST_BYTE)
  try {
    const headers: Record<string, string> = { accept: 'text/event-stream' }
    if (session.token.value) headers.authorization = `Bearer ${session.token.value}`
    if (last) headers['last-event-id'] = last
    const answer = await fetch(`/api/v2/ai/models/${model}/logs/stream`, { headers, signal: own.signal, cache: 'no-store' })
    if (answer.status >= 400 && answer.status < 500 && answer.status !== 429) return 'refused'
    if (!answer.ok || !answer.body || !answer.headers.get('content-type')?.startsWith('text/event-stream')) return 'failed'
    const parser = createParser({
      onEvent(event) {
        let data: unknown
        try {
          data = JSON.parse(event.data)
        } catch {
          return
        }
        if (typeof data === 'object' && data !== null) take(event.id, event.event ?? 'log', data as Record<string, unknown>)
      },
    })
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
    let first = true
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return 'ended'
      clearTimeout(watchdog)
      watchdog = setTimeout(stop, SILENCE)
      if (first) opened()
      first = false
      parser.feed(value)
    }
  } catch {
    return 'failed'
  } finally {
    clearTimeout(watchdog)
    signal.removeEventListener('abort', stop)
    own.abort()
  }
}

function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds)
    function done() {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    signal.addEventListener('abort', done)
  })
}
