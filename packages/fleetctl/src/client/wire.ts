/** Members of a JSON object that somebody else wrote. */
export type Fields = Readonly<Record<string, unknown>>

/** A JSON value as an object; anything else counts as one without members. */
export function objectOf(value: unknown): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return {}
  return Object.fromEntries(Object.entries(value))
}

/** A member as text, empty when it is missing or something else. */
export function textField(fields: Fields, name: string): string {
  const value = fields[name]
  return typeof value === 'string' ? value : ''
}

/** A member as a list, empty when it is missing or something else. */
export function listField(fields: Fields, name: string): readonly unknown[] {
  const value = fields[name]
  return Array.isArray(value) ? value : []
}

/** A member as a map of texts. */
export function mapField(fields: Fields, name: string): Map<string, string> {
  return new Map(Object.entries(objectOf(fields[name])).map(([key, value]) => [key, String(value)]))
}
