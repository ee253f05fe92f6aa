/** One assignment of a unit file. The ordered list of them, not the text, is what travels and is hashed. */
export interface UnitOption {
  readonly section: string
  readonly name: string
  readonly value: string
}

/** A text that is no unit file. Messages are those of go-systemd `unit/deserialize.go`. */
export class UnitParseError extends Error {
  override readonly name = 'UnitParseError'
  readonly code = 'UNIT_PARSE'
}

/** Longest accepted line is one byte less (go-systemd `SYSTEMD_LINE_MAX`). */
const LINE_BYTES_MAX = 2048

/** White space as Go's `unicode.IsSpace` has it; JavaScript's `\s` lacks U+0085 and adds U+FEFF. */
const SPACE =
  '\\t\\n\\v\\f\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000'
const LEADING_SPACE = new RegExp(`^[${SPACE}]+`)
const IS_SPACE = new RegExp(`^[${SPACE}]$`)

function trim(text: string): string {
  let end = text.length
  while (end > 0 && IS_SPACE.test(text.charAt(end - 1))) end -= 1
  return text.slice(0, end).replace(LEADING_SPACE, '')
}

/**
 * Reads a unit file into its options, in order, with the rules of go-systemd's lexer: comments and layout are lost,
 * continuation lines stay in the value verbatim, names and sections are not validated. Bytes that are not UTF-8
 * become U+FFFD. Throws UnitParseError.
 */
export function parseUnit(text: string | Uint8Array): UnitOption[] {
  const source = typeof text === 'string' ? text : Buffer.from(text).toString('utf8')
  return new Lexer(source).run()
}

/** Start of the first line that is too long; a lone CR ends a line for this purpose too. */
function firstLongLine(source: string): number {
  let start = 0
  for (const line of source.split(/[\r\n]/)) {
    const isLong = line.length >= LINE_BYTES_MAX || Buffer.byteLength(line) >= LINE_BYTES_MAX
    if (isLong) return start
    start += line.length + 1
  }
  return Infinity
}

class Lexer {
  readonly #source: string
  readonly #longAt: number
  readonly #options: UnitOption[] = []
  #at = 0

  constructor(source: string) {
    this.#source = source
    this.#longAt = firstLongLine(source)
  }

  run(): UnitOption[] {
    let section: string | undefined
    for (;;) {
      if (this.#at >= this.#longAt) throw new UnitParseError('line too long (max 2048 bytes)')
      const char = this.#source[this.#at]
      if (char === undefined) return this.#options
      if (char === '[') section = this.#sectionHeader()
      else if (char === '#' || char === ';') this.#comment()
      else if (section === undefined || IS_SPACE.test(char)) this.#at += 1
      else this.#option(section)
    }
  }

  /** The rest of the line, and whether the file ended there. */
  #toEndOfLine(): { readonly line: string; readonly isLast: boolean } {
    const end = this.#source.indexOf('\n', this.#at)
    const isLast = end === -1
    const line = this.#source.slice(this.#at, isLast ? undefined : end)
    this.#at = isLast ? this.#source.length : end + 1
    return { line, isLast }
  }

  #sectionHeader(): string {
    const end = this.#source.indexOf(']', this.#at)
    if (end === -1) throw new UnitParseError('unable to find end of section')
    const section = this.#source.slice(this.#at + 1, end)
    this.#at = end + 1
    const garbage = trim(this.#toEndOfLine().line)
    if (garbage === '') return section
    const bytes = [...Buffer.from(garbage)].join(' ')
    // The original prints the name of the section before here, which is always empty: hence the two blanks' worth.
    throw new UnitParseError(`found garbage after section name : [${bytes}]`)
  }

  #comment(): void {
    for (;;) {
      const { line } = this.#toEndOfLine()
      if (!/\\ ?$/.test(line)) return
    }
  }

  #option(section: string): void {
    const end = this.#source.indexOf('=', this.#at)
    const name = this.#source.slice(this.#at, end === -1 ? undefined : end)
    if (/[\r\n]/.test(name)) {
      throw new UnitParseError('unexpected newline encountered while parsing option name')
    }
    if (end === -1) throw new UnitParseError('EOF')
    this.#at = end + 1
    this.#options.push({ section, name: trim(name), value: this.#value() })
  }

  #value(): string {
    let value = ''
    for (;;) {
      if (this.#at >= this.#longAt) throw new UnitParseError('line too long (max 2048 bytes)')
      const { line, isLast } = this.#toEndOfLine()
      if (trim(line) === '') break
      value += line
      if (!line.endsWith('\\')) break
      if (!isLast) value += '\n'
    }
    return value.endsWith('\n') ? `${trim(value)}\n` : trim(value)
  }
}

/**
 * The canonical text of a list of options: sections in order of first appearance, each with its options in their
 * order. SHA-1 over exactly this text is fleet's unit hash.
 */
export function serializeUnit(options: readonly UnitOption[]): string {
  const sections = new Map<string, string>()
  for (const { section, name, value } of options) {
    const text = sections.get(section) ?? `[${section}]\n`
    sections.set(section, `${text}${name}=${value}\n`)
  }
  return [...sections.values()].join('\n')
}
