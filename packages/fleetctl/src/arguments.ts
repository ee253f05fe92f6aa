import { COMMANDS, GLOBAL_FLAGS, type CommandSpec, type FlagSpec } from './options.ts'

/** A command line that cannot be understood; the message is that of the original's flag library. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** A command with flags and arguments apart; `command` is empty without one. */
interface Invocation {
  readonly command: string
  readonly flags: ReadonlyMap<string, GivenFlag>
  readonly args: readonly string[]
}

/** What a flag was given; that of a switch is `true` or `false`. */
interface GivenFlag {
  readonly value: string
  readonly isSwitch: boolean
}

const HELP: FlagSpec = { name: 'help', short: 'h', usage: 'Print usage information' }
const VERSION: FlagSpec = { name: 'version', short: 'v', usage: 'Print the version and exit' }

/**
 * Rewrites a command line into the form that commander takes: full names of commands and flags, `--flag=value`, flags
 * before arguments. Flags may stand anywhere, commands may be shortened, `--` ends the flags. Throws UsageError.
 */
export function normalize(argv: readonly string[]): string[] {
  const { command, flags, args } = parse(argv)
  const given = [...flags].flatMap(([name, { value, isSwitch }]) => {
    if (!isSwitch) return [`--${name}=${value}`]
    return value === 'true' ? [`--${name}`] : []
  })
  return [...(command === '' ? [] : [command]), ...given, '--', ...args]
}

function parse(argv: readonly string[]): Invocation {
  const words = [...argv]
  const flags = new Map<string, GivenFlag>()
  const args: string[] = []
  let command: CommandSpec | undefined
  while (words.length > 0) {
    const word = words.shift() ?? ''
    if (word === '--') {
      args.push(...words.splice(0))
    } else if (word.length > 1 && word.startsWith('-')) {
      takeFlag(word, words, { flags, command })
    } else if (command === undefined && word !== 'help') {
      command = findCommand(word)
    } else if (command === undefined) {
      flags.set('help', { value: 'true', isSwitch: true })
    } else {
      args.push(word)
      // The remote command of `ssh` is not ours to read.
      if (command.name === 'ssh' && endsFlags(flags, args)) args.push(...words.splice(0))
    }
  }
  return { command: command?.name ?? '', flags, args }
}

function endsFlags(flags: ReadonlyMap<string, GivenFlag>, args: readonly string[]): boolean {
  const isNamed = flags.has('machine') || flags.has('unit')
  return args.length > (isNamed ? 0 : 1)
}

function findCommand(word: string): CommandSpec {
  const exact = COMMANDS.find((it) => it.name === word)
  const matches = COMMANDS.filter((it) => it.name.startsWith(word))
  const found = exact ?? (matches.length === 1 ? matches[0] : undefined)
  if (found === undefined)
    throw new UsageError(`unknown command ${JSON.stringify(word)} for "fleetctl"`)
  return found
}

interface Parsed {
  readonly flags: Map<string, GivenFlag>
  readonly command: CommandSpec | undefined
}

function takeFlag(word: string, words: string[], { flags, command }: Parsed): void {
  const isLong = word.startsWith('--')
  const body = word.slice(isLong ? 2 : 1)
  const equals = body.indexOf('=')
  const name = equals < 0 ? body : body.slice(0, equals)
  const spec = findFlag(name, command, words)
  if (spec === undefined) {
    if (isLong) throw new UsageError(`unknown flag: --${name}`)
    throw new UsageError(`unknown shorthand flag: '${name[0] ?? ''}' in ${word}`)
  }
  let value = equals < 0 ? undefined : body.slice(equals + 1)
  if (value === undefined && spec.value === undefined) value = 'true'
  // A flag with a boolean value may stand alone as well.
  if (value === undefined && spec.value === 'bool') value = 'true'
  value ??= words.shift()
  if (value === undefined) throw new UsageError(`flag needs an argument: --${spec.name}`)
  if (spec.value === undefined || spec.value === 'bool') value = String(toBool(value, spec.name))
  if (spec.value === 'count' || spec.value === 'port') checkInteger(value, spec.name)
  flags.set(spec.name, { value, isSwitch: spec.value === undefined })
}

/** Flags of a command may stand before it, so all commands that can still follow are looked at. */
function findFlag(
  name: string,
  command: CommandSpec | undefined,
  rest: readonly string[],
): FlagSpec | undefined {
  const following = rest.flatMap((word) => COMMANDS.find((it) => it.name.startsWith(word)) ?? [])
  const own = (command === undefined ? following : [command]).flatMap((it) => it.flags)
  const known = [HELP, VERSION, ...GLOBAL_FLAGS, ...own]
  return known.find((spec) => spec.name === name || spec.short === name)
}

/** A number that was mistyped must not be taken for none: without `--block-attempts` a command waits for ever. */
function checkInteger(text: string, flag: string): void {
  if (!/^[+-]?\d+$/.test(text)) throw invalid(text, flag, 'ParseInt')
}

const TRUE = new Set(['1', 't', 'T', 'TRUE', 'true', 'True'])
const FALSE = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False'])

function toBool(text: string, flag: string): boolean {
  if (TRUE.has(text)) return true
  if (FALSE.has(text)) return false
  throw invalid(text, flag, 'ParseBool')
}

function invalid(text: string, flag: string, parser: string): UsageError {
  const quoted = JSON.stringify(text)
  const why = `strconv.${parser}: parsing ${quoted}: invalid syntax`
  return new UsageError(`invalid argument ${quoted} for "--${flag}" flag: ${why}`)
}
