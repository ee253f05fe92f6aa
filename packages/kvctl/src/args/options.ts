import { parseBool, parseDuration, parseInteger } from './number.ts'

/** `list` may be given several times. */
export type OptionKind = 'bool' | 'text' | 'int' | 'duration' | 'list'

export interface OptionSpec {
  /** The first name is the one the code uses. */
  readonly names: readonly [string, ...string[]]
  readonly kind: OptionKind
  /** As it would be typed; '' is not shown in the help. */
  readonly fallback?: string
  readonly help: string
}

/** The options of one command line, converted on demand; texts were checked when they were parsed. */
export class Options {
  readonly #given: ReadonlyMap<string, readonly string[]>
  readonly #specs: readonly OptionSpec[]

  constructor(specs: readonly OptionSpec[], given: ReadonlyMap<string, readonly string[]>) {
    this.#specs = specs
    this.#given = given
  }

  bool(name: string): boolean {
    return parseBool(this.text(name)) ?? false
  }

  /** The last one given, else the default, else ''. */
  text(name: string): string {
    const spec = this.#specs.find(({ names }) => names[0] === name)
    return this.#given.get(name)?.at(-1) ?? spec?.fallback ?? ''
  }

  int(name: string): bigint {
    return parseInteger(this.text(name)) ?? 0n
  }

  /** A duration in milliseconds. */
  ms(name: string): number {
    return parseDuration(this.text(name)) ?? 0
  }

  list(name: string): readonly string[] {
    return this.#given.get(name) ?? []
  }
}

/** What `parseOptions` found: the options, and the arguments after them; or why it is wrong usage. */
export type Parsed =
  | { readonly type: 'parsed'; readonly options: Options; readonly rest: readonly string[] }
  | { readonly type: 'wrong' }
  | { readonly type: 'twice'; readonly message: string }

/**
 * The rules of Go's `flag` package: one dash or two, `-x=v` or `-x v`, a bool takes a value only
 * after `=`; the first argument without a dash ends the options, so does `--`, which is dropped.
 */
export function parseOptions(specs: readonly OptionSpec[], args: readonly string[]): Parsed {
  const given = new Map<string, string[]>()
  const used = new Map<string, string>()
  let at = 0
  for (; at < args.length; at++) {
    const arg = args[at] ?? ''
    if (!arg.startsWith('-') || arg === '-') break
    if (arg === '--') {
      at += 1
      break
    }
    const [, name = '', inline] = /^--?([^-=][^=]*)(?:=(.*))?$/s.exec(arg) ?? []
    const spec = specs.find(({ names }) => names.includes(name))
    if (spec === undefined) return { type: 'wrong' }
    const value = inline ?? (spec.kind === 'bool' ? 'true' : args[++at])
    if (value === undefined || !isValid(spec.kind, value)) return { type: 'wrong' }
    const [first] = spec.names
    const other = used.get(first)
    if (other !== undefined && other !== name) return twice(spec, [other, name])
    used.set(first, name)
    given.set(first, [...(given.get(first) ?? []), value])
  }
  return { type: 'parsed', options: new Options(specs, given), rest: args.slice(at) }
}

// codegangsta/cli flag.go: the names are named in the order of the table.
function twice(spec: OptionSpec, used: readonly string[]): Parsed {
  const [first, second] = spec.names.filter((name) => used.includes(name))
  const message = `Cannot use two forms of the same flag: ${second} ${first}`
  return { type: 'twice', message }
}

function isValid(kind: OptionKind, value: string): boolean {
  switch (kind) {
    case 'bool':
      return parseBool(value) !== undefined
    case 'int':
      return parseInteger(value) !== undefined
    case 'duration':
      return parseDuration(value) !== undefined
    case 'text':
    case 'list':
      return true
  }
}

/**
 * A command's arguments by the rules of codegangsta/cli: options may stand before or after the
 * arguments. The first word with a dash begins the options; what follows them joins the arguments in
 * front of them, in the order written. `--` makes arguments of all that follows.
 */
export function parseCommand(specs: readonly OptionSpec[], args: readonly string[]): Parsed {
  const end = args.indexOf('--')
  const head = end === -1 ? args : args.slice(0, end)
  const tail = end === -1 ? [] : args.slice(end + 1)
  const start = head.findIndex((arg) => arg.startsWith('-'))
  if (start === -1) {
    return { type: 'parsed', options: new Options(specs, new Map()), rest: [...head, ...tail] }
  }
  const parsed = parseOptions(specs, head.slice(start))
  if (parsed.type !== 'parsed') return parsed
  return { ...parsed, rest: [...head.slice(0, start), ...parsed.rest, ...tail] }
}

/** exec-watch: without `--` the options end at the key, since the command has dashes of its own. */
export function parseExecWatch(specs: readonly OptionSpec[], args: readonly string[]): Parsed {
  return args.includes('--') ? parseCommand(specs, args) : parseOptions(specs, args)
}
