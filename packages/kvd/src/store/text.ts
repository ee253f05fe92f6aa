import { Buffer, isUtf8 } from 'node:buffer'

/**
 * Keys and values are byte strings on the wire. Inside they are JavaScript strings in which a byte
 * that is no part of valid UTF-8 stands as the lone surrogate U+DC00 + byte, so nothing is lost.
 */
const ESCAPE_BASE = 0xdc00

/** Of a text in an answer: with all that stands around it there it must still be a string, which V8 ends near 2^29. */
export const TEXT_LENGTH_MAX = 2 ** 29 - 2 ** 20

/** Text of `bytes`, reversible by `encodeText`. */
export function decodeText(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8')
  const units = Buffer.allocUnsafe(2 * bytes.length)
  let end = 0
  for (let at = 0; at < bytes.length;) {
    const size = validSequence(bytes, at)
    if (size === 0) {
      end = units.writeUInt16LE(ESCAPE_BASE + (bytes[at] ?? 0), end)
      at += 1
    } else {
      end += units.write(bytes.toString('utf8', at, at + size), end, 'utf16le')
      at += size
    }
  }
  return units.toString('utf16le', 0, end)
}

/** Length of the run of valid UTF-8 that starts at `at`; 0 when the first byte is none. */
function validSequence(bytes: Buffer, at: number): number {
  let end = at
  while (end < bytes.length && (bytes[end] ?? 0) < 0x80) end += 1
  if (end > at) return end - at
  const first = bytes[at] ?? 0
  const size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0
  if (size === 0 || at + size > bytes.length) return 0
  return isUtf8(bytes.subarray(at, at + size)) ? size : 0
}

/** Bytes of a text made by `decodeText` or of any well-formed text. */
export function encodeText(text: string): Buffer {
  if (text.isWellFormed()) return Buffer.from(text, 'utf8')
  const bytes = Buffer.allocUnsafe(3 * text.length)
  let end = 0
  let from = 0
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at)
    if (unit >= 0xd800 && unit < 0xdc00) {
      at += 1 // a high surrogate is always followed by its low one here
      continue
    }
    if (unit < 0xdc80 || unit > 0xdcff) continue
    if (at > from) end += bytes.write(text.slice(from, at), end, 'utf8')
    end = bytes.writeUInt8(unit - ESCAPE_BASE, end)
    from = at + 1
  }
  end += bytes.write(text.slice(from), end, 'utf8')
  return bytes.subarray(0, end)
}

const PLAIN = /^[ !#-%'-;=?-[\]-~]*$/
/** What Go escapes and JavaScript leaves. */
const HTML_SIGNS = [
  ['<', '\\u003c'],
  ['>', '\\u003e'],
  ['&', '\\u0026'],
  ['\u2028', '\\u2028'],
  ['\u2029', '\\u2029'],
] as const
/** What Go escapes otherwise. */
const SHORT_ESCAPES = /[\b\f]/
/** In JSON of JavaScript, a run at a time: bad bytes, the two escapes that are others in Go, and all else that is escaped. */
const ESCAPED = /(?:\\ud[89a-f][0-9a-f]{2}){1,500}|\\[bf]|(?:\\[^bfu]|\\u0){1,500}/g

/** A JSON string as Go's encoder writes it (kvd.md 2.5): HTML signs escaped, bad bytes as U+FFFD. */
export function quoteJson(text: string): string {
  return `"${escapeJson(text)}"`
}

/** ASCII that stands in JSON as it is. */
export function isPlain(text: string): boolean {
  return PLAIN.test(text)
}

/** What stands between the quotes of `quoteJson`. */
export function escapeJson(text: string): string {
  if (isPlain(text)) return text
  let json = JSON.stringify(text).slice(1, -1)
  if (SHORT_ESCAPES.test(text) || !text.isWellFormed()) json = json.replace(ESCAPED, inGo)
  for (const [sign, escape] of HTML_SIGNS) json = json.replaceAll(sign, escape)
  return json
}

function inGo(found: string): string {
  if (found === '\\b') return '\\u0008'
  if (found === '\\f') return '\\u000c'
  return found.startsWith('\\ud') ? '\\ufffd'.repeat(found.length / 6) : found
}

/** Order of the bytes behind two texts, as Go sorts strings. */
export function compareText(left: string, right: string): number {
  if (PLAIN.test(left) && PLAIN.test(right)) return left < right ? -1 : left > right ? 1 : 0
  return Buffer.compare(encodeText(left), encodeText(right))
}
