/**
 * The service's REST interface, typed by its own description (`schema.d.ts`, made by `cargo xtask client`).
 *
 * `ask` unwraps the envelope: it gives the `data` of a good answer and throws a `Problem` for every other, whatever was in
 * between, so that pages have one kind of error to show.
 */

import createClient, { type Middleware } from 'openapi-fetch'
import { session } from './session'
import type { components, paths } from './schema'

/** A type of the service's description. */
export type Schema<Name extends keyof components['schemas']> = components['schemas'][Name]

export type Model = Schema<'Model'>
export type ModelStatus = Schema<'ModelStatus'>
export type Run = Schema<'Run'>
export type RunState = Schema<'RunState'>
export type PluginVersion = Schema<'PluginVersion'>
export type StoredDataset = Schema<'StoredDataset'>
export type DataReport = Schema<'DataReport'>
export type Report = Schema<'Report'>
export type TrainingDataset = Schema<'TrainingDataset'>

/** Whether a run in this state goes on. */
export const goesOn = (state: string): boolean => ['PENDING', 'PREPARING', 'TRAINING'].includes(state)

/** What was wrong, in the service's own words. `status` is 0 where no answer came. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    /** The stable name, such as `already-training`. */
    readonly code: string,
    message: string,
    /** What to do about it. */
    readonly remedy?: string,
    /** More of it, for programs. */
    readonly details?: unknown,
  ) {
    super(message)
    this.name = 'Problem'
  }

  /** What the body of an answer says is wrong. */
  static of(status: number, body: unknown): Problem {
    const said = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>
    const text = (value: unknown) => (typeof value === 'string' ? value : undefined)
    return new Problem(
      status,
      text(said.error) ?? `http-${status}`,
      text(said.message) ?? `HTTP ${status}`,
      text(said.remedy),
      said.details,
    )
  }

  /** Any error as a problem. */
  static from(error: unknown): Problem {
    if (error instanceof Problem) return error
    if (error instanceof TypeError) return new Problem(0, 'unreachable', 'unreachable')
    return new Problem(0, 'page', error instanceof Error ? error.message : String(error))
  }
}

const authorize: Middleware = {
  onRequest({ request }) {
    const token = session.token.value
    if (token) request.headers.set('authorization', `Bearer ${token}`)
    return request
  },
  onResponse({ response }) {
    if (response.status === 401) session.refused()
    else session.admitted()
    return undefined
  },
}

export const api = createClient<paths>()
api.use(authorize)

/** The `data` of an answer: `await ask(api.GET('/api/v2/ai/models'))`. */
export async function ask<Data>(answer: Promise<{ data?: { data: Data }; error?: unknown; response: Response }>): Promise<Data> {
  let answered: Awaited<typeof answer>
  try {
    answered = await answer
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error
    throw Problem.from(error)
  }
  if (!answered.response.ok) throw Problem.of(answered.response.status, answered.error)
  return (answered.data as { data: Data }).data
}

/** Sends a file as it is: for uploads, whose progress is to be seen. */
export function upload<T>(
  path: string,
  file: Blob,
  type: string,
  options: { onProgress?: (share: number) => void; signal?: AbortSignal } = {},
): Promise<T> {
  // `fetch` cannot tell how much of a body has been sent.
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    request.open('POST', path)
    request.setRequestHeader('content-type', type)
    const token = session.token.value
    if (token) request.setRequestHeader('authorization', `Bearer ${token}`)
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) options.onProgress?.(event.loaded / event.total)
    }
    request.onload = () => {
      let body: unknown
      try {
        body = JSON.parse(request.responseText)
      } catch {
        body = undefined
      }
      if (request.status === 401) session.refused()
      if (request.status >= 200 && request.status < 300) resolve((body as { data: T }).data)
      else reject(Problem.of(request.status, body))
    }
    request.onerror = () => reject(new Problem(0, 'unreachable', 'unreachable'))
    request.onabort = () => reject(new DOMException('aborted', 'AbortError'))
    options.signal?.addEventListener('abort', () => request.abort())
    request.send(file)
  })
}

/** The address of a download: links cannot send a header, so a ticket that is good once goes with it. */
export async function download(path: string): Promise<void> {
  const link = document.createElement('a')
  let address = path
  if (session.token.value) {
    const { ticket } = await ask(api.POST('/api/v2/ai/tickets'))
    address += `${path.includes('?') ? '&' : '?'}ticket=${encodeURIComponent(ticket)}`
  }
  link.href = address
  link.download = ''
  link.click()
}
