/** What a flag of the originals holds. Durations stay text until their reader parses them. */
export type FlagType = 'string' | 'bool' | 'int' | 'uint'

/** One flag of a daemon, as the original spells it. */
export interface FlagSpec {
  readonly type: FlagType
  readonly default: string | boolean | number
  /** One line for `--help`. */
  readonly usage: string
  /** Why the flag is refused when it is given; absent for flags that work. */
  readonly unsupported?: string
  /** The flag is accepted and ignored with this warning, as the original does. */
  readonly deprecated?: string
  readonly hidden?: boolean
}

export type FlagTable = Readonly<Record<string, FlagSpec>>

/** Wrong usage. `message` is the text that Go's flag package prints. */
export class FlagError extends Error {
  override readonly name = 'FlagError'
  readonly code: 'FLAG_UNDEFINED' | 'FLAG_VALUE' | 'FLAG_SYNTAX' | 'FLAG_HELP'
  readonly flag: string

  constructor(code: FlagError['code'], flag: string, message: string) {
    super(message)
    this.code = code
    this.flag = flag
  }
}

export interface ParsedFlags {
  /** Raw text by flag name; the last one given wins. A bare bool flag is `true`. */
  readonly values: ReadonlyMap<string, string>
  /** Everything from the first argument that is no flag. */
  readonly rest: readonly string[]
}

/**
 * Parses argv by the rules of Go's flag package: one or two dashes, `-x=v` or `-x v`, bare bools,
 * `--` or the first non-flag ends the flags. Values are checked against their type.
 * @throws FlagError
 */
export function parseGoFlags(table: FlagTable, argv: readonly string[]): ParsedFlags {
  const values = new Map<string, string>()
  let at = 0
  let word = argv[at]
  while (word !== undefined && word.length >= 2 && word.startsWith('-')) {
    if (word === '--') return { values, rest: argv.slice(at + 1) }
    const { name, inline } = splitFlag(word)
    const spec = Object.hasOwn(table, name) ? table[name] : undefined
    if (spec === undefined) throw undefinedFlag(name)
    let text = inline
    if (text === undefined && spec.type === 'bool') text = 'true'
    if (text === undefined) {
      at += 1
      text = argv[at]
      if (text === undefined)
        throw new FlagError('FLAG_SYNTAX', name, `flag needs an argument: -${name}`)
    }
    checkFlag(name, spec, text)
    values.set(name, text)
    at += 1
    word = argv[at]
  }
  return { values, rest: argv.slice(at) }
}

function splitFlag(word: string): { name: string; inline: string | undefined } {
  const body = word.slice(word.startsWith('--') ? 2 : 1)
  if (body.startsWith('-') || body.startsWith('='))
    throw new FlagError('FLAG_SYNTAX', body, `bad flag syntax: ${word}`)
  const equals = body.indexOf('=')
  if (equals === -1) return { name: body, inline: undefined }
  return { name: body.slice(0, equals), inline: body.slice(equals + 1) }
}

function undefinedFlag(name: string): FlagError {
  if (name === 'help' || name === 'h') return new FlagError('FLAG_HELP', name, 'help requested')
  return new FlagError('FLAG_UNDEFINED', name, `flag provided but not defined: -${name}`)
}

function checkFlag(name: string, spec: FlagSpec, text: string): void {
  const problem = flagProblem(spec.type, text)
  if (problem === undefined) return
  const kind = spec.type === 'bool' ? 'boolean value' : 'value'
  const sign = spec.type === 'bool' ? '' : 'flag '
  throw new FlagError(
    'FLAG_VALUE',
    name,
    `invalid ${kind} ${JSON.stringify(text)} for ${sign}-${name}: ${problem}`,
  )
}

const TRUE = new Set(['1', 't', 'T', 'TRUE', 'true', 'True'])
const FALSE = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False'])

/** Go's strconv.ParseBool; undefined for anything it refuses. */
export function parseGoBool(text: string): boolean | undefined {
  if (TRUE.has(text)) return true
  return FALSE.has(text) ? false : undefined
}

/** What is wrong with `text` as a value of `type`, in Go's words; undefined when nothing is. */
export function flagProblem(type: FlagType, text: string): string | undefined {
  switch (type) {
    case 'string':
      return undefined
    case 'bool':
      return parseGoBool(text) === undefined ? 'parse error' : undefined
    case 'int':
      return integerProblem(/^[+-]?\d+$/, text)
    case 'uint':
      return integerProblem(/^\d+$/, text)
  }
}

function integerProblem(shape: RegExp, text: string): string | undefined {
  if (!shape.test(text)) return 'parse error'
  return Number.isSafeInteger(Number(text)) ? undefined : 'value out of range'
}
