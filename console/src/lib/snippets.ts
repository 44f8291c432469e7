/** A training as other people's tools would ask for it: curl, and the client of Python. No secret is ever in them. */

import type { Json } from './json'

export interface Training {
  /** The service's address. */
  address: string
  /** The model that is trained, or what a new one is to be. */
  model: number | { name: string; plugin: string; plugin_version?: string }
  /** The body of `POST /models/{id}/train`. */
  body: Json
  /** Whether the service wants a token. */
  signedIn: boolean
}

// The same as `harmless` guards against: they would turn or hide the text around them. JSON and Python read `\uXXXX` alike.
const HIDDEN = /[\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g
const shownPlainly = (json: string) => json.replace(HIDDEN, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** A text that a POSIX shell takes as it is. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

export function curl({ address, model, body, signedIn }: Training): string {
  const headers = [...(signedIn ? ['-H "Authorization: Bearer $TRAINYARD_TOKEN"'] : []), "-H 'Content-Type: application/json'"]
  const request = (path: string, content: Json, compact: boolean) =>
    [
      `curl -sS -X POST ${path}`,
      ...headers,
      `-d ${quoted(shownPlainly(compact ? JSON.stringify(content) : inLines(content, inlineJson, '', '  ')))}`,
    ].join(' \\\n  ')
  const root = `${address}/api/v2/ai/models`
  if (typeof model === 'number') return request(quoted(`${root}/${model}/train`), body, false)
  return `MODEL=$(${request(quoted(root), { ...model }, true)} | jq .data.id)\n\n${request(`"${root}/$MODEL/train"`, body, false)}`
}

type Inline = (value: unknown) => string

/** JSON in one line, with a space after each comma. */
const inlineJson: Inline = (value) => {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  if (Array.isArray(value)) return `[${value.map(inlineJson).join(', ')}]`
  return `{${Object.entries(value)
    .filter(([, item]) => item !== undefined)
    .map(([key, item]) => `${JSON.stringify(key)}: ${inlineJson(item)}`)
    .join(', ')}}`
}

/** A value as Python writes it, in one line. */
const inline: Inline = (value) => {
  if (value === null || value === undefined) return 'None'
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (typeof value === 'number' && !Number.isFinite(value)) return `float("${Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf'}")`
  if (typeof value !== 'object') return shownPlainly(JSON.stringify(value))
  if (Array.isArray(value)) return `[${value.map(inline).join(', ')}]`
  return `{${Object.entries(value)
    .filter(([, item]) => item !== undefined)
    .map(([key, item]) => `${inline(key)}: ${inline(item)}`)
    .join(', ')}}`
}

/** A value in lines of their own where it is long. */
function inLines(value: unknown, inline: Inline, indent: string, step: string): string {
  const short = inline(value)
  if (short.length <= 72 || typeof value !== 'object' || value === null) return short
  const inner = indent + step
  const lines = Array.isArray(value)
    ? value.map((item) => inLines(item, inline, inner, step))
    : Object.entries(value)
        .filter(([, item]) => item !== undefined)
        .map(([key, item]) => `${inline(key)}: ${inLines(item, inline, inner, step)}`)
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{', '}']
  return `${open}\n${lines.map((line) => inner + line).join(',\n')}\n${indent}${close}`
}

/** A value as Python writes it. */
export function literal(value: unknown, indent = ''): string {
  return inLines(value, inline, indent, '    ')
}

/** The fields of a data set that say where its rows are; the client takes the others by their names. */
const WHERE = ['source', 'dataset_id', 'path', 'database', 'table', 'device_id', 'tags', 'start_time', 'end_time', 'interval', 'aggregate', 'fill', 'limit', 'time_zone']

export function python({ address, model, body, signedIn }: Training): string {
  const dataset = (body.training_dataset ?? {}) as Json
  const where = Object.fromEntries(Object.entries(dataset).filter(([name]) => WHERE.includes(name)))
  const how = Object.entries(dataset).filter(([name]) => !WHERE.includes(name))
  const { training_dataset: _dataset, training_parameters: parameters, ...rest } = body
  const named: [string, unknown][] = [...how, ...(parameters === undefined ? [] : [['parameters', parameters] as [string, unknown]]), ...Object.entries(rest)]
  const lines = ['from trainyard import Client', '', `client = Client(${literal(address)})${signedIn ? '  # its token: TRAINYARD_TOKEN' : ''}`]
  let trained = String(model)
  if (typeof model !== 'number') {
    const version = model.plugin_version === undefined ? '' : `, plugin_version=${literal(model.plugin_version)}`
    lines.push(`model = client.create_model(${literal(model.name)}, plugin=${literal(model.plugin)}${version})`)
    trained = 'model'
  }
  const options = [`    ${trained},`, `    ${literal(where, '    ')},`, ...named.map(([name, value]) => `    ${name}=${literal(value, '    ')},`)]
  lines.push('run = client.train(', ...options, ')', 'run.watch()')
  return `${lines.join('\n')}\n`
}
