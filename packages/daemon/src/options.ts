import { flagProblem, parseGoBool, type FlagTable } from './go-flags.ts'

export type OptionSource = 'flag' | 'environment' | 'file' | 'default'

/** A value that came from the environment or a file and does not fit its flag. */
export class OptionError extends Error {
  override readonly name = 'OptionError'
  readonly code = 'OPTION_VALUE'
  readonly option: string

  constructor(option: string, message: string) {
    super(message)
    this.option = option
  }
}

/** Text values of one source, with the name under which each was found (for messages). */
export interface OptionLayer {
  readonly source: OptionSource
  readonly values: ReadonlyMap<string, { readonly text: string; readonly from: string }>
}

/** Resolved options: typed reads by flag name, and where each value came from. */
export class Options {
  readonly #table: FlagTable
  readonly #layers: readonly OptionLayer[]

  constructor(table: FlagTable, layers: readonly OptionLayer[]) {
    this.#table = table
    this.#layers = layers
  }

  #find(name: string): { text: string; source: OptionSource } | undefined {
    for (const layer of this.#layers) {
      const hit = layer.values.get(name)
      if (hit !== undefined) return { text: hit.text, source: layer.source }
    }
    return undefined
  }

  #default(name: string): string {
    const spec = this.#table[name]
    if (spec === undefined) throw new Error(`option ${name} is not in the table`)
    return String(spec.default)
  }

  /** True when something other than the default says what the option is. */
  isSet(name: string): boolean {
    return this.#find(name) !== undefined
  }

  source(name: string): OptionSource {
    return this.#find(name)?.source ?? 'default'
  }

  string(name: string): string {
    return this.#find(name)?.text ?? this.#default(name)
  }

  bool(name: string): boolean {
    return parseGoBool(this.string(name)) ?? false
  }

  number(name: string): number {
    return Number(this.string(name))
  }

  /** A comma-separated list, blanks around entries cut, empty entries dropped. */
  list(name: string): readonly string[] {
    return this.string(name)
      .split(',')
      .map((entry) => entry.trim())
      .filter((entry) => entry !== '')
  }

  /** Every option that is not its default: for the line a daemon logs at its start. */
  given(): readonly { name: string; value: string; source: OptionSource }[] {
    return Object.keys(this.#table)
      .filter((name) => this.isSet(name))
      .map((name) => ({ name, value: this.string(name), source: this.source(name) }))
  }
}

/** `data-dir` under prefix `ETCD_` is `ETCD_DATA_DIR`. */
export function variableName(prefix: string, name: string): string {
  return prefix + name.toUpperCase().replaceAll('-', '_').replaceAll('.', '_')
}

export interface EnvironmentLayer extends OptionLayer {
  /** Variables with one of the prefixes that name no option. */
  readonly unknown: readonly string[]
  /** Variables set but shadowed by a flag: name of the variable and of the flag. */
  readonly shadowed: readonly { readonly variable: string; readonly name: string }[]
}

/**
 * Reads the options that the environment sets. Earlier prefixes win over later ones; an empty
 * variable counts as not set, as in the originals.
 * @throws OptionError when a value does not fit
 */
export function environmentLayer(
  table: FlagTable,
  env: Readonly<Record<string, string | undefined>>,
  prefixes: readonly string[],
  flags: ReadonlyMap<string, string>,
): EnvironmentLayer {
  const values = new Map<string, { text: string; from: string }>()
  const shadowed: { variable: string; name: string }[] = []
  const known = new Set<string>()
  for (const prefix of prefixes)
    for (const [name, spec] of Object.entries(table)) {
      const variable = variableName(prefix, name)
      known.add(variable)
      const text = env[variable]
      if (text === undefined || text === '') continue
      if (flags.has(name)) {
        shadowed.push({ variable, name })
        continue
      }
      if (values.has(name)) continue
      const problem = flagProblem(spec.type, text)
      if (problem !== undefined)
        throw new OptionError(
          name,
          `invalid value ${JSON.stringify(text)} for ${variable}: ${problem}`,
        )
      values.set(name, { text, from: variable })
    }
  const unknown = Object.keys(env).filter(
    (variable) => prefixes.some((prefix) => variable.startsWith(prefix)) && !known.has(variable),
  )
  return { source: 'environment', values, unknown, shadowed }
}

/** The flags' layer, in the shape that `Options` takes. */
export function flagLayer(flags: ReadonlyMap<string, string>): OptionLayer {
  const values = [...flags].map(([name, text]) => [name, { text, from: `-${name}` }] as const)
  return { source: 'flag', values: new Map(values) }
}

/**
 * Options out of `key=value` lines: `#` comments, blank lines, values bare or quoted.
 * Keys are matched to option names with `_` and `-` alike; unknown keys are returned for a warning.
 * @throws OptionError naming file and line when a line is no `key=value` or a value does not fit
 */
export function fileLayer(
  table: FlagTable,
  text: string,
  file: string,
): OptionLayer & { readonly unknown: readonly string[] } {
  const values = new Map<string, { text: string; from: string }>()
  const unknown: string[] = []
  const byKey = new Map(Object.keys(table).map((name) => [name.replaceAll('-', '_'), name]))
  for (const [offset, raw] of text.split('\n').entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#') || line.startsWith(';')) continue
    const where = `${file}:${offset + 1}`
    const equals = line.indexOf('=')
    if (equals < 1)
      throw new OptionError('', `${where}: expected key=value, found ${JSON.stringify(line)}`)
    const key = line.slice(0, equals).trim()
    const value = unquote(line.slice(equals + 1).trim())
    const name = byKey.get(key.replaceAll('-', '_'))
    const spec = name === undefined ? undefined : table[name]
    if (name === undefined || spec === undefined) {
      unknown.push(key)
      continue
    }
    const problem = flagProblem(spec.type, value)
    if (problem !== undefined)
      throw new OptionError(
        name,
        `${where}: invalid value ${JSON.stringify(value)} for ${key}: ${problem}`,
      )
    values.set(name, { text: value, from: where })
  }
  return { source: 'file', values, unknown }
}

function unquote(value: string): string {
  const quote = value[0]
  if ((quote === '"' || quote === "'") && value.length >= 2 && value.endsWith(quote))
    return value.slice(1, -1)
  return value
}
