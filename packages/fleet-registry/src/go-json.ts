const ESCAPES = /[<>&\u2028\u2029]/g

/**
 * JSON as Go's encoder writes it: compact, and `<`, `>`, `&`, U+2028 and U+2029 as `\uNNNN`. Members come in the
 * order of the object's keys, so callers build objects in the order of the original's structs.
 */
export function encodeGoJSON(value: unknown): string {
  return JSON.stringify(value).replace(
    ESCAPES,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** A JSON text as an object, or `undefined` for anything else. Go matches member names without regard to case. */
export function decodeObject(text: string): Fields | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  return fieldsOf(value)
}

/** Members of a JSON object by their lower-case names; `undefined` when the value is no object. */
export type Fields = ReadonlyMap<string, unknown>

/** Members of an already decoded JSON value. */
export function fieldsOf(value: unknown): Fields | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  return new Map(Object.entries(value).map(([name, member]) => [name.toLowerCase(), member]))
}

/** A member as text; anything that is no string counts as empty, as an absent member does in Go. */
export function stringField(fields: Fields | undefined, name: string): string {
  const value = fields?.get(name.toLowerCase())
  return typeof value === 'string' ? value : ''
}
