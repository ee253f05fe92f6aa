import { Buffer } from 'node:buffer'

/** How a word is cut out of a line. */
export interface WordRules {
  /** `c`: C escapes are resolved. `plain`: a backslash only protects the next character. */
  readonly escapes: 'c' | 'plain'
  /** A quote left open ends with the line instead of making it invalid. */
  readonly isRelaxed?: boolean
  /** An escape that does not exist stays in the word as it is. */
  readonly keepsUnknown?: boolean
}

/** A word and where to look for the next one; both in bytes. */
export interface Word {
  readonly word: string
  readonly next: number
}

const SEPARATORS = ' \t\n\r'
const SIMPLE_ESCAPES: Readonly<Record<string, string>> = {
  a: '\u0007',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  s: ' ',
  '\\': '\\',
  '"': '"',
  "'": "'",
}

/** Text as one character per byte, because escapes such as `\xc3` stand for bytes. */
export function toBytes(text: string): string {
  return Buffer.from(text).toString('latin1')
}

/** The inverse of toBytes. */
export function fromBytes(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString('utf8')
}

/** One C escape after the backslash (systemd `cunescape_one`); undefined when there is none. */
function unescapeOne(
  source: string,
): { readonly bytes: string; readonly length: number } | undefined {
  const simple = SIMPLE_ESCAPES[source.charAt(0)]
  if (simple !== undefined) return { bytes: simple, length: 1 }
  const numeric = /^(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3}))/.exec(
    source,
  )
  if (numeric === null) return undefined
  const [all, byte, short, long, octal] = numeric
  const value = octal === undefined ? parseInt(byte ?? short ?? long ?? '', 16) : parseInt(octal, 8)
  const isByte = byte !== undefined || octal !== undefined
  if (value === 0 || value > (isByte ? 0xff : 0x10ffff)) return undefined
  return {
    bytes: isByte ? String.fromCharCode(value) : toBytes(String.fromCodePoint(value)),
    length: all.length,
  }
}

/**
 * Cuts the next word out of `source` (bytes, see toBytes) from `start`; quotes may begin anywhere in a word. Undefined
 * at the end of the line, `invalid` for a quote left open or, with C escapes, an escape that does not exist.
 * systemd 252 `extract_first_word`.
 */
function extractWord(
  source: string,
  start: number,
  rules: WordRules,
): Word | undefined | 'invalid' {
  let at = start
  while (at < source.length && SEPARATORS.includes(source.charAt(at))) at += 1
  if (at >= source.length) return undefined
  let word = ''
  let quote = ''
  for (;;) {
    const char = source.charAt(at)
    if (char === '')
      return quote === '' || rules.isRelaxed === true ? { word, next: at } : 'invalid'
    at += 1
    if (char === quote) quote = ''
    else if (char === '\\') {
      const escape = escaped(source.slice(at, at + 9), quote !== '', rules)
      if (escape === undefined) return 'invalid'
      word += escape.bytes
      at += escape.length
    } else if (quote === '' && (char === '"' || char === "'")) quote = char
    else if (quote === '' && SEPARATORS.includes(char)) {
      while (SEPARATORS.includes(source.charAt(at)) && at < source.length) at += 1
      return { word, next: at }
    } else word += char
  }
}

function escaped(
  rest: string,
  isQuoted: boolean,
  rules: WordRules,
): { readonly bytes: string; readonly length: number } | undefined {
  if (rest === '') {
    if (rules.keepsUnknown === true && !isQuoted) return { bytes: '\\', length: 0 }
    return rules.isRelaxed === true ? { bytes: '', length: 0 } : undefined
  }
  if (rules.escapes === 'plain') return { bytes: rest.charAt(0), length: 1 }
  const escape = unescapeOne(rest)
  if (escape !== undefined || rules.keepsUnknown !== true) return escape
  return { bytes: `\\${rest.charAt(0)}`, length: 1 }
}

/**
 * The next word of a setting, with C escapes; an escape that does not exist stays as it is and is told by
 * `hasUnknownEscape`. systemd 252 `extract_first_word_and_warn`.
 */
export function settingWord(
  source: string,
  start: number,
): (Word & { readonly hasUnknownEscape: boolean }) | undefined | 'invalid' {
  const strict = extractWord(source, start, { escapes: 'c' })
  if (strict === undefined) return undefined
  if (strict !== 'invalid') return { ...strict, hasUnknownEscape: false }
  const lenient = extractWord(source, start, { escapes: 'c', keepsUnknown: true })
  if (lenient === undefined || lenient === 'invalid') return lenient
  return { ...lenient, hasUnknownEscape: true }
}

/** All words of a text, e.g. of a variable that is a word of its own in a command line. */
export function splitWords(text: string): string[] {
  const source = toBytes(text)
  const words: string[] = []
  let at = 0
  for (;;) {
    const found = extractWord(source, at, { escapes: 'plain', isRelaxed: true })
    if (found === undefined || found === 'invalid') return words
    words.push(fromBytes(found.word))
    at = found.next
  }
}
