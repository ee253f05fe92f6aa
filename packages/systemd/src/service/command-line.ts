import type { Specifiers } from './specifiers.ts'
import { expandSpecifiers } from './specifiers.ts'
import { fromBytes, settingWord, toBytes } from './words.ts'

/** One command of an Exec*= line, specifiers resolved, variables not. */
export interface Command {
  /** An absolute path, or a bare name to look up in PATH. */
  readonly path: string
  /** All arguments; the first is what the program is told as its name. */
  readonly argv: readonly string[]
  /** `-`: its failure counts as success. */
  readonly ignoresFailure: boolean
  /** False with `:`. */
  readonly expandsVariables: boolean
  /** True with `+`, `!` or `!!`: User= and Group= do not apply. */
  readonly isPrivileged: boolean
}

/** The commands of a line; `isFatal` means that the unit must not be started. */
export interface CommandLine {
  readonly commands: readonly Command[]
  readonly remarks: readonly string[]
  readonly isFatal: boolean
}

interface Prefixes {
  readonly rest: string
  readonly ignoresFailure: boolean
  readonly hasOwnName: boolean
  readonly expandsVariables: boolean
  readonly isPrivileged: boolean
}

function readPrefixes(word: string): Prefixes {
  let ignoresFailure = false
  let hasOwnName = false
  let expandsVariables = true
  let privilege = ''
  let at = 0
  for (; at < word.length; at += 1) {
    const char = word.charAt(at)
    if (char === '-' && !ignoresFailure) ignoresFailure = true
    else if (char === '@' && !hasOwnName) hasOwnName = true
    else if (char === ':' && expandsVariables) expandsVariables = false
    else if (char === '+' && privilege === '') privilege = '+'
    else if (char === '!' && (privilege === '' || privilege === '!')) privilege += '!'
    else break
  }
  return {
    rest: word.slice(at),
    ignoresFailure,
    hasOwnName,
    expandsVariables,
    isPrivileged: privilege !== '',
  }
}

function pathProblem(path: string): string | undefined {
  if (path === '') return 'Empty path in command line'
  if (path.endsWith('/')) return `Command path ends with a slash: ${path}`
  const isName = !path.includes('/') && path !== '.' && path !== '..'
  if (path.startsWith('/') || isName) return undefined
  return `Neither a valid executable name nor an absolute path: ${path}`
}

/**
 * Splits the value of an Exec*= setting into its commands (` ; ` separates them), with systemd's quoting, escapes and
 * prefixes. systemd 252 `config_parse_exec`, systemd.service(5) COMMAND LINES.
 */
export function parseCommandLine(value: string, specifiers: Specifiers): CommandLine {
  const source = toBytes(value)
  const commands: Command[] = []
  const remarks: string[] = []
  const stop = (isFatal: boolean): CommandLine => ({ commands, remarks, isFatal })
  const unbalanced = `Unbalanced quoting, ignoring: "${value}"`
  const unknown = `Ignoring unknown escape sequences: "${value}"`
  for (let at = 0; ;) {
    const first = settingWord(source, at)
    if (first === undefined) return stop(false)
    if (first === 'invalid') {
      remarks.push(unbalanced)
      return stop(false)
    }
    if (first.hasUnknownEscape) remarks.push(unknown)
    const prefixes = readPrefixes(fromBytes(first.word))
    const path = expandSpecifiers(prefixes.rest, specifiers)
    const problem = pathProblem(path)
    if (problem !== undefined) {
      remarks.push(prefixes.ignoresFailure ? `${problem}, ignoring.` : problem)
      return stop(!prefixes.ignoresFailure)
    }
    const tail = readArguments(source, first.next, specifiers)
    if (tail.hasUnknownEscape) remarks.push(unknown)
    if (tail.next === undefined) {
      remarks.push(unbalanced)
      return stop(!prefixes.ignoresFailure)
    }
    if (prefixes.hasOwnName && tail.words.length === 0) {
      remarks.push(`Empty command line, ignoring: "${value}"`)
      return stop(!prefixes.ignoresFailure)
    }
    const { ignoresFailure, expandsVariables, isPrivileged } = prefixes
    const argv = prefixes.hasOwnName ? tail.words : [path, ...tail.words]
    commands.push({ path, argv, ignoresFailure, expandsVariables, isPrivileged })
    at = tail.next
  }
}

/** Arguments up to the end or a lone `;`; `next` is undefined when a quote is left open. */
function readArguments(
  source: string,
  start: number,
  specifiers: Specifiers,
): {
  readonly words: string[]
  readonly next: number | undefined
  readonly hasUnknownEscape: boolean
} {
  const words: string[] = []
  let hasUnknownEscape = false
  let at = start
  for (;;) {
    const rest = source.slice(at)
    if (/^;([ \t\n\r]|$)/.test(rest)) return { words, next: at + 1, hasUnknownEscape }
    if (/^\\;([ \t\n\r]|$)/.test(rest)) {
      words.push(';')
      at += 2 + (/^[ \t\n\r]*/.exec(rest.slice(2))?.[0].length ?? 0)
      continue
    }
    const found = settingWord(source, at)
    if (found === undefined) return { words, next: source.length, hasUnknownEscape }
    if (found === 'invalid') return { words, next: undefined, hasUnknownEscape }
    hasUnknownEscape ||= found.hasUnknownEscape
    words.push(expandSpecifiers(fromBytes(found.word), specifiers))
    at = found.next
  }
}
