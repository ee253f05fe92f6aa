import { fstatSync } from 'node:fs'

/** Levels, gravest first, with the journal's priorities (sd-daemon). */
const PRIORITY = { error: 3, warn: 4, info: 6, debug: 7 } as const

export type LogLevel = keyof typeof PRIORITY

export type LogFields = Readonly<Record<string, string | number | boolean | bigint | undefined>>

export interface Logger {
  error(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  debug(message: string, fields?: LogFields): void
  /** Lines below `level` are dropped from here on. */
  setLevel(level: LogLevel): void
  /** How many lines were dropped because the reader of stderr is too slow. */
  readonly dropped: number
}

export interface LineContext {
  /** The journal reads the line: priority in front, no time. */
  readonly journal: boolean
  readonly now: Date
}

/**
 * One event, one line. Control characters are written as escapes, in the message as in the values:
 * what a stranger sends can neither begin a line of its own nor move a terminal's cursor.
 */
export function formatLine(
  level: LogLevel,
  message: string,
  fields: LogFields,
  context: LineContext,
): string {
  const head = context.journal
    ? `<${PRIORITY[level]}>`
    : `${context.now.toISOString()} ${level.toUpperCase().padEnd(5)} `
  const tail = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${fieldText(String(value))}`)
    .join('')
  return `${head}${escapeControls(message)}${tail}\n`
}

function fieldText(text: string): string {
  return /^[^\s"=\p{Cc}]+$/u.test(text) ? text : escapeControls(JSON.stringify(text))
}

const ESCAPES: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/** JSON leaves U+007F to U+009F as they are, and a message is no JSON at all. */
function escapeControls(text: string): string {
  return text.replace(
    /\p{Cc}/gu,
    (sign) => ESCAPES[sign] ?? `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** Where lines go. `writableLength` lets the logger drop instead of filling memory. */
export interface LogSink {
  write(line: string): unknown
  readonly writableLength: number
}

export interface LoggerOptions {
  readonly sink: LogSink
  readonly level?: LogLevel
  readonly journal?: boolean
  readonly now?: () => Date
}

/** Bytes that may wait for a stuck reader before lines are dropped and counted. */
const PENDING_BYTES_MAX = 1 << 20

export function createLogger(options: LoggerOptions): Logger {
  const { sink, journal = false, now = () => new Date() } = options
  let threshold: number = PRIORITY[options.level ?? 'info']
  let dropped = 0
  const log = (level: LogLevel, message: string, fields: LogFields = {}): void => {
    if (PRIORITY[level] > threshold) return
    if (sink.writableLength > PENDING_BYTES_MAX) {
      dropped += 1
      return
    }
    sink.write(formatLine(level, message, fields, { journal, now: now() }))
  }
  return {
    error: (message, fields) => log('error', message, fields),
    warn: (message, fields) => log('warn', message, fields),
    info: (message, fields) => log('info', message, fields),
    debug: (message, fields) => log('debug', message, fields),
    setLevel: (level) => {
      threshold = PRIORITY[level]
    },
    get dropped() {
      return dropped
    },
  }
}

/**
 * True when systemd says that stderr is the journal's stream (sd-daemon, JOURNAL_STREAM). The
 * variable is inherited by whoever a service starts, so its file is compared with stderr's.
 */
export function isJournal(
  env: Readonly<Record<string, string | undefined>>,
  stderr: () => { readonly dev: bigint; readonly ino: bigint } = statStderr,
): boolean {
  const named = env['JOURNAL_STREAM'] ?? ''
  if (named === '') return false
  const { dev, ino } = stderr()
  return named === `${dev}:${ino}`
}

/**
 * With bigints, because Node's realpath (nodejs/node lib/fs.js) looks at the latest stat in numbers: when
 * that was of a socket it stops following links, and modules below a linked package are not found.
 */
function statStderr(): { readonly dev: bigint; readonly ino: bigint } {
  return fstatSync(2, { bigint: true })
}
