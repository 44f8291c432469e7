/** What the page of a new training holds, and how it becomes the body of a request and back. */

import type { Run, Schema, TrainingDataset } from '@/api/client'
import { same, type Json } from './json'
import type { Wrong } from './schema-form'
import { partsOf, readSplit, USUAL_SPLIT, type Three } from './split'

export type Task = Schema<'Task'>
export type Source = Schema<'SourceKind'>

/** Everything as it was typed. */
export interface TrainForm {
  name: string
  plugin: string
  /** Empty: the newest. */
  version: string
  /** The parameters that were touched, of each plugin that was chosen meanwhile. */
  typed: Record<string, Record<string, string>>
  source: Source
  datasetId: string
  path: string
  query: DeviceQuery
  task: Task | ''
  targets: string[]
  /** Null: all columns of numbers. */
  features: string[] | null
  time: string
  device: string
  lookback: string
  horizon: string
  split: Three<string>
  missing: string
  scaling: string
  scaleTarget: boolean
  sort: boolean
  duplicates: string
  seed: string
  timeLimit: string
  memoryLimit: string
  labels: string
  /** Where the tensors are to be. */
  computeOn: string
  tf32: boolean
}

/** Which rows of TDengine. */
interface DeviceQuery {
  database: string
  table: string
  devices: string
  tags: string
  start: string
  end: string
  timeZone: string
  interval: string
  /** A function for all columns, or `each`. */
  aggregate: string
  aggregates: string
  fill: string
  fillValue: string
  limit: string
  refresh: boolean
}

export const MISSING = ['auto', 'error', 'drop', 'forward', 'linear', 'mean'] as const
export const SCALING = ['standard', 'min_max', 'robust', 'none'] as const
export const DUPLICATES = ['error', 'first', 'last', 'mean'] as const
export const AGGREGATES = ['avg', 'min', 'max', 'sum', 'count', 'first', 'last', 'spread', 'stddev'] as const
export const COMPUTE_ON = ['auto', 'cpu', 'cuda'] as const
/** What workers with a card have, and the service asks for in the name of a run on one that has no labels. */
const CARD_LABEL = 'gpu'
export const FILLS = ['none', 'null', 'previous', 'linear', 'value'] as const

export function emptyForm(): TrainForm {
  return {
    name: '',
    plugin: '',
    version: '',
    typed: {},
    source: 'upload',
    datasetId: '',
    path: '',
    query: {
      database: '',
      table: '',
      devices: '',
      tags: '',
      start: '',
      end: '',
      timeZone: '',
      interval: '',
      aggregate: '',
      aggregates: '',
      fill: 'none',
      fillValue: '0',
      limit: '',
      refresh: false,
    },
    task: '',
    targets: [],
    features: null,
    time: '',
    device: '',
    lookback: '96',
    horizon: '24',
    split: [...USUAL_SPLIT],
    missing: 'auto',
    scaling: 'standard',
    scaleTarget: true,
    sort: false,
    duplicates: 'error',
    seed: '',
    timeLimit: '',
    memoryLimit: '',
    labels: '',
    computeOn: 'auto',
    tf32: false,
  }
}

/** What a form says, and what is wrong with it by the name of the field. */
interface Said {
  value: Json
  wrong: Record<string, Wrong>
}

/** `one, two` as a list. */
export const namesIn = (text: string): string[] =>
  text
    .split(',')
    .map((name) => name.trim())
    .filter(Boolean)

/** A value of a tag: true, false, a number, a text; in double quotes it is always a text. */
function scalar(text: string): string | number | boolean {
  if (text === 'true' || text === 'false') return text === 'true'
  // What JavaScript's numbers cannot hold exactly stays a text; the database compares it all the same.
  if (/^-?(0|[1-9]\d*)(\.\d+)?$/.test(text) && String(Number(text)) === text) return Number(text)
  return /^".*"$/.test(text) ? text.slice(1, -1) : text
}

const written = (value: unknown): string => {
  if (typeof value !== 'string') return String(value)
  return scalar(value) === value && !/,|^\s|\s$/.test(value) ? value : `"${value}"`
}

/** `one, two`: a value, or a list. Commas in double quotes do not part. */
function values(text: string): unknown {
  const parts = text.match(/\s*"[^"]*"\s*|[^,]+/g) ?? []
  const all = parts.map((part) => part.trim()).filter(Boolean).map(scalar)
  return all.length === 1 ? all[0] : all
}

/** Lines of `name = value`. Undefined where one is none. */
function pairs(text: string): [string, string][] | undefined {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean)
  const found = lines.map((line) => /^([A-Za-z_]\w*)\s*[=:]\s*(.+)$/.exec(line))
  return found.every(Boolean) ? found.map((match) => [match?.[1] ?? '', match?.[2] ?? '']) : undefined
}

function whole(text: string, least: number, most = Number.MAX_SAFE_INTEGER): number | undefined {
  const value = Number(text.trim())
  return /^\d+$/.test(text.trim()) && value >= least && value <= most ? value : undefined
}

/** Where the rows are: what a preview needs. */
export function sourceOf(form: TrainForm): Said {
  const wrong: Record<string, Wrong> = {}
  if (form.source === 'upload') {
    if (!form.datasetId) wrong.dataset = { key: 'dataset' }
    return { value: { source: 'upload', dataset_id: form.datasetId }, wrong }
  }
  if (form.source === 'file') {
    if (!form.path.trim()) wrong.path = { key: 'path' }
    return { value: { source: 'file', path: form.path.trim() }, wrong }
  }
  const { query } = form
  const value: Json = { source: 'tdengine' }
  for (const [field, typed] of [
    ['database', query.database],
    ['table', query.table],
  ] as const) {
    const text = typed.trim()
    if (!text) continue
    if (!/^[A-Za-z_]\w*$/.test(text)) wrong[field] = { key: 'name' }
    value[field] = text
  }
  if (query.devices.trim()) value.device_id = values(query.devices)
  if (query.tags.trim()) {
    const tags = pairs(query.tags)
    if (tags) value.tags = Object.fromEntries(tags.map(([name, text]) => [name, values(text)]))
    else wrong.tags = { key: 'pairs' }
  }
  if (query.start.trim()) value.start_time = query.start.trim()
  if (query.end.trim()) value.end_time = query.end.trim()
  if (query.timeZone.trim()) value.time_zone = query.timeZone.trim()
  Object.assign(value, thinned(query, wrong))
  if (query.limit.trim()) {
    value.limit = whole(query.limit, 1)
    if (value.limit === undefined) wrong.limit = { key: 'positive' }
  }
  if (query.refresh) value.refresh = true
  return { value, wrong }
}

/** One row of many: windows of time, and what becomes of the values in them. */
function thinned(query: DeviceQuery, wrong: Record<string, Wrong>): Json {
  const interval = query.interval.trim()
  if (!interval) return {}
  const value: Json = { interval }
  if (!/^[0-9]+(ns|b|us|u|ms|a|s|m|min|h|d|w|M|n|month|y)$/.test(interval)) wrong.interval = { key: 'interval' }
  if (query.aggregate === 'each') {
    const each = pairs(query.aggregates)
    if (each?.length && each.every(([, name]) => (AGGREGATES as readonly string[]).includes(name))) value.aggregate = Object.fromEntries(each)
    else wrong.aggregates = { key: 'aggregates', values: { known: AGGREGATES.join(', ') } }
  } else if (query.aggregate) value.aggregate = query.aggregate
  if (query.fill === 'value') {
    const number = Number(query.fillValue)
    if (!query.fillValue.trim() || !Number.isFinite(number)) wrong.fillValue = { key: 'number' }
    value.fill = { value: number }
  } else if (query.fill !== 'none') value.fill = query.fill
  return value
}

/** The `training_dataset` of a form. Only what is not usual is in it. `tasks` are those of the plugin. */
export function datasetOf(form: TrainForm, task: Task | undefined, tasks: readonly string[]): Said {
  const { value, wrong } = sourceOf(form)
  if (task && tasks.length > 1) value.task = task
  if (form.time) value.time = form.time
  if (form.device) value.device_column = form.device
  if (form.features) value.columns = form.features
  if (form.features?.length === 0) wrong.features = { key: 'features' }
  if (form.targets.length) value.target = form.targets.length === 1 ? form.targets[0] : form.targets
  else if (task && task !== 'forecasting') wrong.targets = { key: 'targets' }
  if (task === 'classification' && form.targets.length > 1) wrong.targets = { key: 'oneTarget' }
  if (task && task !== 'forecasting' && form.targets.some((name) => form.features?.includes(name))) wrong.features = { key: 'both' }
  if (task === 'forecasting') {
    for (const field of ['lookback', 'horizon'] as const) {
      value[field] = whole(form[field], 1, 2 ** 32 - 1)
      if (value[field] === undefined) wrong[field] = { key: 'positive' }
    }
  }
  const split = readSplit(form.split)
  if (split.wrong) wrong.split = split.wrong
  const text = form.split.map((part) => part.trim()).join('/')
  if (text !== USUAL_SPLIT.join('/')) value.split = text
  const preprocess: Json = {}
  if (form.missing !== 'auto') preprocess.missing = form.missing
  if (form.scaling !== 'standard') preprocess.scaling = form.scaling
  if (!form.scaleTarget) preprocess.scale_target = false
  if (form.sort) preprocess.sort = true
  if (form.duplicates !== 'error') preprocess.duplicates = form.duplicates
  if (Object.keys(preprocess).length) value.preprocess = preprocess
  return { value, wrong }
}

/**
 * Seed, limits, labels, and where the tensors are to be. That is always said, as a model's own parameters may say something else, which counts
 * where nothing is said.
 */
export function optionsOf(form: TrainForm): Said {
  const value: Json = {}
  const wrong: Record<string, Wrong> = {}
  for (const [field, typed, least, most, key] of [
    ['seed', form.seed, 0, 2 ** 32 - 1, 'seed'],
    ['time_limit', form.timeLimit, 1, undefined, 'positive'],
    ['memory_limit_mb', form.memoryLimit, 64, undefined, 'memory'],
  ] as const) {
    if (!typed.trim()) continue
    value[field] = whole(typed, least, most)
    if (value[field] === undefined) wrong[field] = { key }
  }
  const labels = namesIn(form.labels)
  if (labels.length) value.labels = labels
  if (labels.length > 5 || labels.some((label) => !/^[a-z0-9_-]{1,32}$/.test(label))) wrong.labels = { key: 'labels' }
  value.device = form.computeOn
  value.tf32 = form.tf32 && form.computeOn !== 'cpu'
  return { value, wrong }
}

/** Fills a form with what a run had beside its data and its parameters. */
export function takeOptions(form: TrainForm, { seed, limits, labels }: Pick<Run, 'seed' | 'limits' | 'labels'>): void {
  form.seed = String(seed)
  form.timeLimit = String(limits.time_seconds)
  form.memoryLimit = String(limits.memory_mb)
  // Nobody has to have asked for it, and it would keep a run from workers without a card when another device is picked.
  form.labels = (limits.device.startsWith('cuda') && same(labels, [CARD_LABEL]) ? [] : labels).join(', ')
  form.computeOn = limits.device
  form.tf32 = limits.tf32
}

/** Where the tensors are to be as a model's parameters say it: in those that the plugin, whose parameters are `own`, does not have itself. */
export function placeOf(parameters: Readonly<Json>, own: readonly { name: string }[]): Pick<TrainForm, 'computeOn' | 'tf32'> {
  const said = (name: string) => (own.some((field) => field.name === name) ? undefined : parameters[name])
  const device = said('device')
  return { computeOn: typeof device === 'string' && /^(auto|cpu|cuda(:\d+)?)$/.test(device) ? device : 'auto', tf32: said('tf32') === true }
}

/** The single cards among devices, each once. */
export function cardsAmong(devices: readonly (string | undefined)[]): string[] {
  return [...new Set(devices)].filter((device) => device !== undefined && /^cuda:\d+$/.test(device)) as string[]
}

/** Fills a form with a data set that a model or a run has. */
export function takeDataset(form: TrainForm, given: Partial<TrainingDataset>): void {
  const text = (value: unknown) => (value === undefined || value === null ? '' : String(value))
  const list = (value: unknown) => (Array.isArray(value) ? value : value === undefined || value === null ? [] : [value])
  const usual = emptyForm()
  form.source = given.source ?? (given.device_id === undefined ? 'upload' : 'tdengine')
  form.datasetId = text(given.dataset_id)
  form.path = text(given.path)
  const { aggregate, fill } = given
  const filled = typeof fill === 'object' && fill !== null
  form.query = {
    database: text(given.database),
    table: text(given.table),
    devices: list(given.device_id).map(written).join(', '),
    tags: Object.entries(given.tags ?? {})
      .map(([name, value]) => `${name} = ${list(value).map(written).join(', ')}`)
      .join('\n'),
    start: text(given.start_time),
    end: text(given.end_time),
    timeZone: text(given.time_zone),
    interval: text(given.interval),
    aggregate: typeof aggregate === 'object' && aggregate !== null ? 'each' : text(aggregate),
    aggregates: typeof aggregate === 'object' && aggregate !== null ? Object.entries(aggregate).map(([name, value]) => `${name} = ${value}`).join('\n') : '',
    fill: filled ? 'value' : (fill ?? 'none'),
    fillValue: filled ? text(fill.value) : usual.query.fillValue,
    limit: text(given.limit),
    refresh: given.refresh ?? false,
  }
  // As the service takes it where nothing is said.
  form.task = given.task ?? (given.lookback ? 'forecasting' : '')
  form.targets = list(given.target).map(String)
  form.features = given.columns ?? null
  form.time = text(given.time)
  form.device = text(given.device_column)
  form.lookback = text(given.lookback) || usual.lookback
  form.horizon = text(given.horizon) || usual.horizon
  form.split = given.split ? partsOf(given.split) : usual.split
  form.missing = given.preprocess?.missing ?? usual.missing
  form.scaling = given.preprocess?.scaling ?? usual.scaling
  form.scaleTarget = given.preprocess?.scale_target ?? true
  form.sort = given.preprocess?.sort ?? false
  form.duplicates = given.preprocess?.duplicates ?? usual.duplicates
}

/** What a plugin is to learn here: as chosen, else what a data set without a word about it would be taken for. */
export function taskOf(form: TrainForm, tasks: readonly string[]): Task | undefined {
  if (form.task && tasks.includes(form.task)) return form.task
  return tasks[0] as Task | undefined
}
