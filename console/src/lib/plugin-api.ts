/** What the service does with the files of plugins: checks, tries, stores and gives them. */

import { api, ask, Problem, upload, type PluginVersion, type Schema } from '@/api/client'
import { session } from '@/api/session'

const BASE = '/api/v2/ai/plugins'

/** An interface of the contract that a plugin imports or exports. */
interface Used {
  interface: string
  functions: string[]
  fits: boolean
}

/** What `trainyard plugin inspect --json` prints, too. */
export interface Inspection {
  kind: string
  digest: string
  size: number
  contract: string | null
  host_contract: string
  imports: Used[]
  wasi: string[]
  exports: Used[]
}

export interface Checked {
  plugin: PluginVersion
  inspection: Partial<Inspection>
  /** Whether this very plugin, or another one of this name and version, is stored already. */
  known: 'same' | 'other' | null
}

export interface TryBody {
  source: string
  /** CSV with a header; without it `training_dataset` says where rows come from. */
  rows?: string
  training_dataset: Partial<Schema<'TrainingDataset'>>
  training_parameters?: Record<string, unknown>
  seed?: number
}

export interface LogLine {
  timestamp?: string
  level?: string
  message: string
}

export interface Tried {
  metrics: Record<string, unknown>
  series: { name: string; points: [step: number, seconds: number, value: number | null][] }[]
  log: LogLine[]
  warnings: string[]
  seconds: number
}

export const PYTHON = 'text/x-python'

/** The content type of a plugin's file by its ending; undefined where it can be none. */
export function contentType(fileName: string): string | undefined {
  const ending = /\.([^.]+)$/.exec(fileName.toLowerCase())?.[1]
  return { wasm: 'application/wasm', py: PYTHON, zip: 'application/zip' }[ending ?? '']
}

export function fileAddress(name: string, version: string): string {
  return `${BASE}/${encodeURIComponent(name)}/versions/${encodeURIComponent(version)}/file`
}

type Sending = Parameters<typeof upload>[3]

export const check = (file: Blob, type: string, sending?: Sending) => upload<Checked>(`${BASE}/check`, file, type, sending)

export const store = (file: Blob, type: string, sending?: Sending) => upload<PluginVersion>(BASE, file, type, sending)

export const tryOut = (body: TryBody, sending?: Sending) =>
  upload<Tried>(`${BASE}/try`, new Blob([JSON.stringify(body)]), 'application/json', sending)

export async function versionsOf(name: string, signal?: AbortSignal): Promise<PluginVersion[]> {
  const params = { path: { name } }
  return (await ask(api.GET('/api/v2/ai/plugins/{name}/versions', { params, signal }))).items
}

async function file(method: string, name: string, version: string, signal?: AbortSignal): Promise<Response> {
  const token = session.token.value
  const headers: HeadersInit = token ? { authorization: `Bearer ${token}` } : {}
  const response = await fetch(fileAddress(name, version), { method, headers, signal })
  if (response.status === 401) session.refused()
  if (response.ok) return response
  throw Problem.of(response.status, await response.json().catch(() => undefined))
}

/** The source text of a stored Python plugin. */
export async function sourceOf(name: string, version: string, signal?: AbortSignal): Promise<string> {
  const response = await file('GET', name, version, signal)
  const kind = kindOfType(response.headers.get('content-type'))
  if (kind !== 'python') throw new Problem(0, 'not-python', kind)
  return response.text()
}

export type Kind = 'component' | 'python' | 'python-zip'

function kindOfType(type: string | null): Kind {
  if (type?.startsWith(PYTHON)) return 'python'
  return type?.startsWith('application/zip') ? 'python-zip' : 'component'
}

// A version never changes, and many pages ask.
const kinds = new Map<string, Kind>()

/** What a stored file is; undefined where the service does not say. */
export async function kindOf(plugin: PluginVersion): Promise<Kind | undefined> {
  const known = kinds.get(plugin.digest)
  if (known) return known
  try {
    const kind = kindOfType((await file('HEAD', plugin.name, plugin.version)).headers.get('content-type'))
    kinds.set(plugin.digest, kind)
    return kind
  } catch {
    return undefined
  }
}
