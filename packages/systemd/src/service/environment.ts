import type { Specifiers } from './specifiers.ts'
import { expandSpecifiers } from './specifiers.ts'
import { fromBytes, settingWord, splitWords, toBytes } from './words.ts'

export type Environment = ReadonlyMap<string, string>

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

/** True for `NAME=value` that may stand in an environment block. */
function isAssignment(text: string): boolean {
  const equals = text.indexOf('=')
  // oxlint-disable-next-line no-control-regex -- control characters are what systemd refuses
  return equals > 0 && NAME.test(text.slice(0, equals)) && !/[\0-\x08\x0b-\x1f\x7f]/.test(text)
}

/** The assignments of an Environment= line and what systemd says of the others. systemd 252 `config_parse_environ`. */
export function parseEnvironment(
  value: string,
  specifiers: Specifiers,
): {
  readonly entries: readonly (readonly [string, string])[]
  readonly remarks: readonly string[]
} {
  const source = toBytes(value)
  const entries: (readonly [string, string])[] = []
  const remarks: string[] = []
  for (let at = 0; ;) {
    const found = settingWord(source, at)
    if (found === undefined) return { entries, remarks }
    if (found === 'invalid') {
      remarks.push(`Invalid syntax, ignoring: ${value}`)
      return { entries, remarks }
    }
    at = found.next
    const text = expandSpecifiers(fromBytes(found.word), specifiers)
    if (isAssignment(text)) entries.push(splitAssignment(text))
    else remarks.push(`Invalid environment assignment, ignoring: ${text}`)
  }
}

function splitAssignment(text: string): readonly [string, string] {
  const equals = text.indexOf('=')
  return [text.slice(0, equals), text.slice(equals + 1)]
}

/**
 * Reads the text of an EnvironmentFile=: comments, quotes, backslash escapes and continued lines; lines that assign
 * nothing valid are skipped. systemd 252 `parse_env_file_internal`.
 */
export function parseEnvironmentFile(text: string): (readonly [string, string])[] {
  const entries: (readonly [string, string])[] = []
  let at = 0
  while (at < text.length) {
    const char = text.charAt(at)
    if (/[\s]/.test(char)) at += 1
    else if (char === '#' || char === ';') at = afterComment(text, at)
    else {
      const equals = text.indexOf('=', at)
      const newline = text.slice(at).search(/[\n\r]/)
      const end = newline === -1 ? text.length : at + newline
      if (equals === -1 || equals > end) {
        at = end + 1
        continue
      }
      const name = text.slice(at, equals).trim()
      const value = readValue(text, equals + 1)
      if (NAME.test(name)) entries.push([name, value.value])
      at = value.next
    }
  }
  return entries
}

function afterComment(text: string, start: number): number {
  let at = start
  while (at < text.length && !/[\n\r]/.test(text.charAt(at))) at += text.charAt(at) === '\\' ? 2 : 1
  return at + 1
}

/** What a backslash inside double quotes may protect. */
const SHELL_ESCAPABLE = '"\\`$'

interface ValueReader {
  value: string
  next: number
}

/** Reads a value up to the end of its line. Quotes count at its beginning only, or right after another quote. */
function readValue(text: string, start: number): ValueReader {
  let value = ''
  let trailing = ''
  let mayQuote = true
  let at = start
  for (;;) {
    const char = text.charAt(at)
    if (char === '' || char === '\n' || char === '\r') return { value, next: at + 1 }
    if (mayQuote && (char === "'" || char === '"')) {
      const quoted = readQuoted(text, at + 1, char)
      value += quoted.value
      at = quoted.next
      continue
    }
    if (/\s/.test(char)) {
      // White space at either end of the value is dropped.
      if (!mayQuote) trailing += char
      at += 1
      continue
    }
    const isEscape = char === '\\'
    const taken = isEscape ? text.charAt(at + 1) : char
    mayQuote = false
    if (!isEscape || !/[\n\r]/.test(taken)) {
      value += trailing + taken
      trailing = ''
    }
    at += isEscape ? 2 : 1
  }
}

function readQuoted(text: string, start: number, quote: string): ValueReader {
  let value = ''
  let at = start
  for (;;) {
    const char = text.charAt(at)
    if (char === '') return { value, next: at }
    at += 1
    if (char === quote) return { value, next: at }
    if (quote === '"' && char === '\\') {
      const next = text.charAt(at)
      if (SHELL_ESCAPABLE.includes(next)) value += next
      else if (next !== '\n') value += `\\${next}`
      at += 1
    } else value += char
  }
}

/**
 * Resolves variables in arguments: `$NAME` as a word of its own becomes none, one or more words, `${NAME}` anywhere in
 * a word becomes its value as it is, `$$` a dollar sign. systemd 252 `replace_env_argv`.
 */
export function expandVariables(argv: readonly string[], environment: Environment): string[] {
  return argv.flatMap((word) => {
    if (/^\$(?![{$])/.test(word)) return splitWords(environment.get(word.slice(1)) ?? '')
    return [
      word.replace(/\$(?:\$|\{([^}:]*)\})/g, (_, name: string | undefined) =>
        name === undefined ? '$' : (environment.get(name) ?? ''),
      ),
    ]
  })
}
