/** A plugin's parameters, as its JSON Schema describes them: to be shown, and to be filled in for a try. */

export interface Parameter {
  name: string
  type: 'integer' | 'number' | 'boolean' | 'string' | 'array' | 'other'
  /** What a list has in it. */
  itemType?: string
  nullable: boolean
  choices?: unknown[]
  /** The bounds of the number, or of each number of a list. */
  bounds: string
  /** The bounds of a list's length. */
  lengths: string
  hasDefault: boolean
  default: unknown
  description: string
  schema: Record<string, unknown>
}

const TYPES = ['integer', 'number', 'boolean', 'string', 'array'] as const

function object(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}

/** The parameters in the order in which the author wrote them. */
export function parametersOf(schema: unknown): Parameter[] {
  return Object.entries(object(object(schema).properties)).map(([name, raw]) => {
    const property = object(raw)
    const types = [property.type].flat()
    const items = object(property.items)
    return {
      name,
      type: TYPES.find((type) => types.includes(type)) ?? 'other',
      itemType: typeof items.type === 'string' ? items.type : undefined,
      nullable: types.includes('null'),
      choices: Array.isArray(property.enum) ? property.enum : Array.isArray(items.enum) ? items.enum : undefined,
      bounds: bounds(types.includes('array') ? items : property),
      lengths: lengths(property),
      hasDefault: 'default' in property,
      default: property.default,
      description: typeof property.description === 'string' ? property.description : '',
      schema: property,
    }
  })
}

function bounds(schema: Record<string, unknown>): string {
  const signs: [string, string][] = [
    ['minimum', '≥'],
    ['exclusiveMinimum', '>'],
    ['maximum', '≤'],
    ['exclusiveMaximum', '<'],
  ]
  return signs.filter(([key]) => typeof schema[key] === 'number').map(([key, sign]) => `${sign} ${String(schema[key])}`).join(', ')
}

function lengths(schema: Record<string, unknown>): string {
  const { minItems: least, maxItems: most } = schema
  if (typeof least !== 'number' && typeof most !== 'number') return ''
  return `${typeof least === 'number' ? least : 0} – ${typeof most === 'number' ? most : '∞'}`
}

/** A value as it stands in a field. */
export function written(value: unknown): string {
  if (value === undefined || value === null) return ''
  return typeof value === 'string' ? value : JSON.stringify(value)
}

export type Wrong = 'number' | 'integer' | 'range' | 'list' | 'missing'

/** What a field says: a value, none (the default holds), or what is wrong with it. */
export function read(parameter: Parameter, field: string): { value?: unknown; wrong?: Wrong } {
  const said = field.trim()
  const { type, schema } = parameter
  if (said === '' && type !== 'string') {
    if (parameter.nullable && parameter.hasDefault && parameter.default !== null) return { value: null }
    return parameter.hasDefault ? {} : { wrong: 'missing' }
  }
  if (type === 'number' || type === 'integer') {
    const value = Number(said)
    if (!Number.isFinite(value)) return { wrong: 'number' }
    if (type === 'integer' && !Number.isInteger(value)) return { wrong: 'integer' }
    return within(value, schema) ? { value } : { wrong: 'range' }
  }
  if (type === 'boolean') return { value: said === 'true' }
  if (type === 'string') return { value: field }
  try {
    // Also as people write lists: without the brackets.
    const value: unknown = JSON.parse(type === 'array' && !said.startsWith('[') ? `[${said}]` : said)
    return type === 'array' && !Array.isArray(value) ? { wrong: 'list' } : { value }
  } catch {
    return { wrong: 'list' }
  }
}

function within(value: number, schema: Record<string, unknown>): boolean {
  const limit = (key: string) => (typeof schema[key] === 'number' ? schema[key] : undefined)
  const [least, above, most, below] = ['minimum', 'exclusiveMinimum', 'maximum', 'exclusiveMaximum'].map(limit)
  return !(value < (least ?? -Infinity) || value <= (above ?? -Infinity) || value > (most ?? Infinity) || value >= (below ?? Infinity))
}

/** All fields together: the values that are not the default, and what is wrong by name. */
export function readAll(parameters: readonly Parameter[], fields: Record<string, string>) {
  const values: Record<string, unknown> = {}
  const wrong: Record<string, Wrong> = {}
  for (const parameter of parameters) {
    const field = fields[parameter.name] ?? written(parameter.default)
    if (parameter.hasDefault && field === written(parameter.default)) continue
    const said = read(parameter, field)
    if (said.wrong) wrong[parameter.name] = said.wrong
    else if ('value' in said) values[parameter.name] = said.value
  }
  return { values, wrong }
}
