/** Values as JSON has them: what they are, and whether two are the same. */

export type Json = Record<string, unknown>

export const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Whether it is a number that can be drawn and compared. */
export const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value)

/** A value written so that equal ones are written alike, whatever the order of their fields. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (isObject(value)) {
    const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${canonical(field)}`).join(',')}}`
  }
  return JSON.stringify(value) ?? 'undefined'
}

/** Whether two values are the same as JSON; the order of an object's fields does not count. */
export const same = (one: unknown, other: unknown): boolean => canonical(one) === canonical(other)

/** The same with a field set, or without it. */
export function withField<T>(record: Readonly<Record<string, T>>, name: string, value: NoInfer<T> | undefined): Record<string, T> {
  const { [name]: _before, ...others } = record
  return value === undefined ? others : { ...others, [name]: value }
}
