import { quoteJson } from '../store/text.ts'

/** A list that was never given is `null` on the wire, unlike an empty one, as in Go. */
export type Names = readonly string[] | null

/** JSON as Go writes it. */
export function namesJson(names: Names): string {
  return names === null ? 'null' : `[${names.map(quoteJson).join(',')}]`
}

/** Text that is no JSON, or JSON of another shape than asked for. */
export class ShapeError extends Error {
  override readonly name = 'ShapeError'
  readonly code = 'SHAPE'
}

/** Members of an object by lower-case name: Go matches names in any case. */
export type Members = ReadonlyMap<string, unknown>

/** @throws ShapeError */
export function parseMembers(json: string): Members {
  try {
    return readMembers(JSON.parse(json))
  } catch (error) {
    if (error instanceof SyntaxError) throw new ShapeError('no JSON', { cause: error })
    throw error
  }
}

/** Absent and null mean an empty object. @throws ShapeError */
export function readMembers(value: unknown): Members {
  if (value === undefined || value === null) return new Map()
  if (typeof value !== 'object' || Array.isArray(value)) throw new ShapeError('no object')
  return new Map(Object.entries(value).map(([name, member]) => [name.toLowerCase(), member]))
}

/** Absent and null mean an empty text. @throws ShapeError */
export function readText(value: unknown): string {
  if (value === undefined || value === null) return ''
  if (typeof value !== 'string') throw new ShapeError('no text')
  return value.toWellFormed()
}

/** Absent and null mean that no list was given. @throws ShapeError */
export function readNames(value: unknown): Names {
  if (value === undefined || value === null) return null
  if (!Array.isArray(value)) throw new ShapeError('no list')
  return value.map(readText)
}
