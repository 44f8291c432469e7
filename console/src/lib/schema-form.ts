/**
 * A plugin's parameters as a form: its JSON Schema read as fields, what was typed read as values, and what is wrong with it.
 *
 * The service checks everything again. What is checked here is what can be said at once, beside the field.
 */

import { isNumber, isObject, same, type Json } from './json'

/** What is wrong with something typed: a word of `fields.wrong`, and what stands in it. */
export interface Wrong {
  key: string
  values?: Record<string, string | number>
}

type FieldKind = 'integer' | 'number' | 'boolean' | 'text' | 'choice' | 'list' | 'json'

export interface Field {
  name: string
  kind: FieldKind
  /** As the schema says it; a choice has one, too. */
  type?: string
  help: string
  required: boolean
  /** Whether null is a value too. */
  nullable: boolean
  /** What it is when nothing is given; undefined where there is no default. */
  fallback: unknown
  choices: unknown[]
  minimum?: number
  exclusiveMinimum?: number
  maximum?: number
  exclusiveMaximum?: number
  multipleOf?: number
  minLength?: number
  maxLength?: number
  /** Of an array: what is in it, and how much of it. */
  item?: Field
  minItems?: number
  maxItems?: number
}

/** What a text means: a value (undefined: nothing is given), or why it means nothing. */
type Reading = { value: unknown; wrong?: undefined } | { value?: undefined; wrong: Wrong }

const asNumber = (value: unknown) => (isNumber(value) ? value : undefined)

/** The parameters of a schema, in its order. What it says in ways not known here becomes a field for JSON. */
export function fieldsOf(schema: unknown): Field[] {
  if (!isObject(schema) || !isObject(schema.properties)) return []
  const required = Array.isArray(schema.required) ? schema.required : []
  const definitions = isObject(schema.$defs) ? schema.$defs : {}
  return Object.entries(schema.properties).map(([name, property]) => fieldOf(name, property, required.includes(name), definitions))
}

function fieldOf(name: string, given: unknown, required: boolean, definitions: Json): Field {
  const { schema, nullable } = resolved(isObject(given) ? given : {}, definitions)
  const field: Field = {
    name,
    kind: 'json',
    type: typeof schema.type === 'string' ? schema.type : undefined,
    help: typeof schema.description === 'string' ? schema.description : '',
    required,
    nullable,
    fallback: schema.default,
    choices: [],
    minimum: asNumber(schema.minimum),
    exclusiveMinimum: asNumber(schema.exclusiveMinimum),
    maximum: asNumber(schema.maximum),
    exclusiveMaximum: asNumber(schema.exclusiveMaximum),
    multipleOf: asNumber(schema.multipleOf),
    minLength: asNumber(schema.minLength),
    maxLength: asNumber(schema.maxLength),
    minItems: asNumber(schema.minItems),
    maxItems: asNumber(schema.maxItems),
  }
  if (Array.isArray(schema.enum)) {
    field.kind = 'choice'
    field.choices = schema.enum
  } else if (schema.type === 'boolean' && nullable) {
    field.kind = 'choice'
    field.choices = [true, false]
  } else if (schema.type === 'integer' || schema.type === 'number' || schema.type === 'boolean') field.kind = schema.type
  else if (schema.type === 'string') field.kind = 'text'
  else if (schema.type === 'array' && isObject(schema.items)) {
    field.item = fieldOf(name, schema.items, true, definitions)
    if (['integer', 'number', 'text'].includes(field.item.kind) && !field.item.nullable) field.kind = 'list'
  }
  return field
}

/** A schema without references and without "or null", as far as that can be told from it alone. */
function resolved(given: Json, definitions: Json): { schema: Json; nullable: boolean } {
  let schema = given
  let nullable = false
  // As deep as anybody writes; a reference to itself ends too.
  for (let depth = 0; depth < 8; depth += 1) {
    const reference = typeof schema.$ref === 'string' ? /^#\/\$defs\/(.+)$/.exec(schema.$ref)?.[1] : undefined
    const target = reference === undefined ? undefined : definitions[reference]
    const either = Array.isArray(schema.anyOf) ? schema.anyOf : Array.isArray(schema.oneOf) ? schema.oneOf : undefined
    const others = either?.filter((one) => !(isObject(one) && one.type === 'null'))
    if (isObject(target)) {
      const { $ref: _reference, ...own } = schema
      schema = { ...target, ...own }
    } else if (either && others?.length === 1 && either.length === 2 && isObject(others[0])) {
      nullable = true
      const { anyOf: _any, oneOf: _one, ...own } = schema
      schema = { ...others[0], ...own }
    } else if (Array.isArray(schema.type) && schema.type.length === 2 && schema.type.includes('null')) {
      nullable = true
      schema = { ...schema, type: schema.type.find((type) => type !== 'null') }
    } else break
  }
  return { schema, nullable }
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i

/** What was typed into a field means. */
export function read(field: Field, typed: string): Reading {
  const text = typed.trim()
  if (field.kind === 'choice') return readChoice(field, text)
  if (text === '' && field.kind !== 'text') {
    if (field.nullable) return { value: null }
    return field.required && field.fallback === undefined ? { wrong: { key: 'missing' } } : { value: undefined }
  }
  switch (field.kind) {
    case 'integer':
    case 'number':
      return readNumber(field, text)
    case 'boolean':
      return text === 'true' || text === 'false' ? { value: text === 'true' } : { wrong: { key: 'boolean' } }
    case 'text':
      return readText(field, typed)
    case 'list':
      return readList(field, text)
    case 'json':
      try {
        return { value: JSON.parse(text) as unknown }
      } catch {
        return { wrong: { key: 'json' } }
      }
  }
}

function readChoice(field: Field, text: string): Reading {
  const found = field.choices.find((choice) => JSON.stringify(choice) === text)
  if (found !== undefined) return { value: found }
  if (text !== '') return { wrong: { key: 'choice' } }
  if (field.nullable) return { value: null }
  return field.required && field.fallback === undefined ? { wrong: { key: 'missing' } } : { value: undefined }
}

function readNumber(field: Field, text: string): Reading {
  const value = Number(text)
  if (!NUMBER.test(text) || !Number.isFinite(value)) return { wrong: { key: field.kind === 'integer' ? 'integer' : 'number' } }
  // Beyond these, JavaScript's numbers have no ones, and another number than the one typed would be sent.
  if (field.kind === 'integer' && !Number.isSafeInteger(value)) return { wrong: { key: 'integer' } }
  const { minimum, exclusiveMinimum: above, maximum, exclusiveMaximum: below, multipleOf } = field
  const outside =
    (minimum !== undefined && value < minimum) ||
    (above !== undefined && value <= above) ||
    (maximum !== undefined && value > maximum) ||
    (below !== undefined && value >= below)
  if (outside) {
    const range = rangeOf(field)
    return { wrong: range ? { key: `range.${range.key}`, values: range.values } : { key: 'number' } }
  }
  if (field.kind === 'integer' && multipleOf && value % multipleOf !== 0) return { wrong: { key: 'multiple', values: { step: multipleOf } } }
  return { value }
}

// A schema's `pattern` is left to the service: its expressions end in linear time, those of a browser may not.
function readText(field: Field, text: string): Reading {
  if (text === '' && field.nullable) return { value: null }
  const length = [...text].length
  if (field.minLength !== undefined && length < field.minLength) {
    return { wrong: text === '' ? { key: 'missing' } : { key: 'short', values: { least: field.minLength } } }
  }
  if (field.maxLength !== undefined && length > field.maxLength) return { wrong: { key: 'long', values: { most: field.maxLength } } }
  return { value: text }
}

function readList(field: Field, text: string): Reading {
  let items: unknown[]
  if (text.startsWith('[')) {
    try {
      items = JSON.parse(text) as unknown[]
    } catch {
      return { wrong: { key: 'json' } }
    }
  } else items = text === '' ? [] : text.split(',').map((item) => item.trim())
  const values: unknown[] = []
  for (const [at, item] of items.entries()) {
    const one = read(field.item as Field, typeof item === 'string' ? item : JSON.stringify(item))
    if (one.wrong) return { wrong: { key: 'item', values: { place: at + 1, item: String(item) } } }
    values.push(one.value)
  }
  if (field.minItems !== undefined && values.length < field.minItems) return { wrong: { key: 'few', values: { least: field.minItems } } }
  if (field.maxItems !== undefined && values.length > field.maxItems) return { wrong: { key: 'many', values: { most: field.maxItems } } }
  return { value: values }
}

/** A value as it would be typed. */
export function write(field: Field, value: unknown): string {
  if (value === undefined || (value === null && field.kind !== 'choice' && field.kind !== 'json')) return ''
  if (field.kind === 'choice' || field.kind === 'json') return JSON.stringify(value)
  if (field.kind === 'list' && Array.isArray(value)) {
    // Nothing at all would mean the default.
    const plain = value.length > 0 && value.every((item) => typeof item === 'number' || (typeof item === 'string' && /^[^,[\]\s][^,]*$/.test(item) && item === item.trim()))
    return plain ? value.join(', ') : JSON.stringify(value)
  }
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** What a number may be: a word of `fields.range`, and the figures in it. */
export function rangeOf(field: Field): Wrong | undefined {
  const { minimum, exclusiveMinimum: above, maximum, exclusiveMaximum: below } = field
  const low = above !== undefined && (minimum === undefined || above >= minimum) ? 'above' : minimum !== undefined ? 'from' : ''
  const high = below !== undefined && (maximum === undefined || below <= maximum) ? 'below' : maximum !== undefined ? 'to' : ''
  if (!low && !high) return undefined
  const values: Record<string, number> = {}
  if (low) values.low = (low === 'above' ? above : minimum) as number
  if (high) values.high = (high === 'below' ? below : maximum) as number
  return { key: low && high ? `${low}${high[0]?.toUpperCase()}${high.slice(1)}` : low || high, values }
}

/** What a number may be, in signs: `≥ 1, < 8`. */
export function boundsOf({ minimum, exclusiveMinimum, maximum, exclusiveMaximum }: Field): string {
  const ends = [['≥', minimum], ['>', exclusiveMinimum], ['≤', maximum], ['<', exclusiveMaximum]] as const
  return ends.flatMap(([sign, end]) => (end === undefined ? [] : [`${sign} ${end}`])).join(', ')
}

/** How long a list may be: `0 – 4`; nothing where any length will do. */
export function lengthsOf({ minItems, maxItems }: Field): string {
  return minItems === undefined && maxItems === undefined ? '' : `${minItems ?? 0} – ${maxItems ?? '∞'}`
}

interface Filled {
  /** Those that differ from what they would be anyway. */
  changed: Record<string, unknown>
  /** All, with what they would be anyway. */
  all: Record<string, unknown>
  wrong: Record<string, Wrong>
}

/**
 * The parameters that a form gives. `typed` has the texts of fields that were touched; `base` has what the model itself
 * says, which goes over the defaults.
 */
export function fill(fields: Field[], typed: Record<string, string>, base: Record<string, unknown> = {}): Filled {
  const filled: Filled = { changed: {}, all: {}, wrong: {} }
  for (const field of fields) {
    const usual = Object.hasOwn(base, field.name) ? base[field.name] : field.fallback
    const text = Object.hasOwn(typed, field.name) ? typed[field.name] : undefined
    let value = usual
    if (text !== undefined) {
      const reading = read(field, text)
      if (reading.wrong) {
        filled.wrong[field.name] = reading.wrong
        continue
      }
      if (reading.value !== undefined && !same(reading.value, usual)) {
        value = reading.value
        filled.changed[field.name] = value
      }
    } else if (usual === undefined && field.required) filled.wrong[field.name] = { key: 'missing' }
    if (value !== undefined) filled.all[field.name] = value
  }
  return filled
}
