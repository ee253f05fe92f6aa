import { Buffer } from 'node:buffer'
import { decodeText, encodeText } from '../store/text.ts'

const HEX_PAIR = /^[0-9a-fA-F]{2}$/
const ASCII = /^[\0-\x7f]*$/

/** A percent escape that is none. `message` is Go's text (net/url EscapeError). */
export class EscapeError extends Error {
  override readonly name = 'EscapeError'
  readonly code = 'ESCAPE'

  constructor(found: string) {
    super(`invalid URL escape ${JSON.stringify(found)}`)
  }
}

/**
 * Undoes percent escapes of latin1 text and reads the bytes as a key or value.
 * @param isForm a plus sign means a blank, as in queries and forms
 * @throws EscapeError
 */
export function unescape(text: string, isForm: boolean): string {
  if (!text.includes('%')) {
    const plain = isForm && text.includes('+') ? text.replaceAll('+', ' ') : text
    return ASCII.test(plain) ? plain : decodeText(Buffer.from(plain, 'latin1'))
  }
  const bytes = Buffer.allocUnsafe(text.length)
  let size = 0
  for (let at = 0; at < text.length; at += 1) {
    let byte = text.charCodeAt(at)
    if (byte === 0x25) {
      const pair = text.slice(at + 1, at + 3)
      if (!HEX_PAIR.test(pair)) throw new EscapeError(text.slice(at, at + 3))
      byte = Number.parseInt(pair, 16)
      at += 2
    } else if (isForm && byte === 0x2b) byte = 0x20
    bytes[size] = byte
    size += 1
  }
  return decodeText(bytes.subarray(0, size))
}

/** Query or form parameters by name, in order of appearance. */
export type Parameters = ReadonlyMap<string, readonly string[]>

export interface ParsedParameters {
  readonly values: Parameters
  /** The first malformed escape; the other parameters are there all the same (net/url ParseQuery). */
  readonly problem: EscapeError | undefined
}

export function parseParameters(text: string): ParsedParameters {
  const values = new Map<string, string[]>()
  let problem: EscapeError | undefined
  for (const pair of text.split(/[&;]/)) {
    if (pair === '') continue
    const equals = pair.indexOf('=')
    try {
      const name = unescape(equals === -1 ? pair : pair.slice(0, equals), true)
      const value = equals === -1 ? '' : unescape(pair.slice(equals + 1), true)
      const list = values.get(name)
      if (list === undefined) values.set(name, [value])
      else list.push(value)
    } catch (error) {
      if (!(error instanceof EscapeError)) throw error
      problem ??= error
    }
  }
  return { values, problem }
}

/** Go's path.Clean of a rooted path: no empty, `.` or `..` component, no final slash. */
export function cleanKey(path: string): string {
  if (isClean(path)) return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path
  const kept: string[] = []
  for (const part of path.split('/')) {
    if (part === '..') kept.pop()
    else if (part !== '' && part !== '.') kept.push(part)
  }
  return `/${kept.join('/')}`
}

/** True for a rooted path that Go's mux does not redirect: a final slash may stand. */
export function isClean(path: string): boolean {
  if (!path.startsWith('/') || path.includes('//')) return false
  return !path.includes('/.') || !/\/\.\.?(\/|$)/.test(path)
}

// What Go leaves as it is in a path (net/url shouldEscape, encodePath).
const PATH_PLAIN = /^[A-Za-z0-9\-_.~$&+,/:;=@]$/

/** Percent-escapes a path as Go's URL.String does. */
export function escapePath(path: string): string {
  return [...encodeText(path)]
    .map((byte) => {
      const sign = String.fromCharCode(byte)
      return PATH_PLAIN.test(sign) ? sign : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
    })
    .join('')
}
