/** What a schedule asks of each training: JSON in a text, and the fields of it that have inputs of their own. */

import { api, ask, type Model } from '@/api/client'
import { isObject, same, type Json } from '@/lib/json'

const FIELDS = ['training_dataset', 'training_parameters', 'seed', 'time_limit', 'memory_limit_mb', 'labels', 'device', 'tf32']

type Read = { asked: Json; wrong?: undefined } | { asked?: undefined; wrong: 'syntax' | 'shape' | 'field'; what?: string }

/** The object in a text; an empty text asks for nothing. */
export function read(text: string): Read {
  let value: unknown
  try {
    value = text.trim() ? JSON.parse(text) : {}
  } catch (error) {
    return { wrong: 'syntax', what: error instanceof Error ? error.message : undefined }
  }
  if (!isObject(value)) return { wrong: 'shape' }
  const unknown = Object.keys(value).find((key) => !FIELDS.includes(key))
  return unknown === undefined ? { asked: value } : { wrong: 'field', what: unknown }
}

export function write(asked: Json): string {
  return Object.keys(asked).length ? JSON.stringify(asked, null, 2) : ''
}

/** What a training of the model learns from when nobody says: its own data set, or that of its last run. */
export async function usualDataset(model: Model, signal?: AbortSignal): Promise<Json | undefined> {
  if (isObject(model.training_dataset)) return bare(model.training_dataset)
  if (!model.task_id) return undefined
  const path = { id: model.id, run: model.task_id }
  const run = await ask(api.GET('/api/v2/ai/models/{id}/runs/{run}', { params: { path }, signal }))
  return isObject(run.training_dataset) ? bare(run.training_dataset) : undefined
}

const bare = (dataset: object) => Object.fromEntries(Object.entries(dataset).filter(([, value]) => value !== null && value !== undefined))

export const isTdengine = (dataset: Json) => dataset.source === 'tdengine' || (dataset.source === undefined && dataset.device_id !== undefined)

const SECONDS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 }

/** How many days a data set looks back: 30 for `-30d`; undefined where that is not said in whole days. */
export function lastDays(dataset: unknown): number | undefined {
  const [, count, unit = ''] = (isObject(dataset) && typeof dataset.start_time === 'string' && /^-(\d+)([smhdw])$/.exec(dataset.start_time)) || []
  const days = (Number(count) * (SECONDS[unit] ?? NaN)) / 86_400
  return Number.isInteger(days) && days > 0 ? days : undefined
}

/** The data set that reads the last days of `usual`; undefined without days where nothing else of it was changed. */
export function withLastDays(asked: unknown, usual: Json, days: number | undefined): Json | undefined {
  const dataset = isObject(asked) ? asked : usual
  if (days !== undefined) return { ...dataset, start_time: `-${days}d`, end_time: 'now' }
  const times = (of: Json) => ({ ...of, start_time: usual.start_time, end_time: usual.end_time })
  const restored = bare(times(dataset))
  return same(restored, bare(usual)) ? undefined : restored
}
