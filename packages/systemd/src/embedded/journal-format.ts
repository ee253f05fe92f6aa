import { UnitManagerError } from '../manager.ts'
import type { JournalEntry } from './journal.ts'

/** What an entry does not have itself. */
export interface JournalContext {
  readonly unit: string
  readonly hostname: string
  readonly machineID: string
  readonly bootID: string
}

/** The text of an entry; a message of several lines has several. */
export type JournalFormatter = (entry: JournalEntry) => string

/** What systemd calls unprintable: control characters but tab and newline (`utf8_is_printable`). */
const UNPRINTABLE = /[^\P{Cc}\t\n]/u

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
const WEEKDAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']

const two = (n: number): string => String(n).padStart(2, '0')

function clock(date: Date): string {
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
}

function day(date: Date): string {
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
}

function offset(date: Date): string {
  const minutes = -date.getTimezoneOffset()
  const size = Math.abs(minutes)
  return `${minutes < 0 ? '-' : '+'}${two(Math.floor(size / 60))}${two(size % 60)}`
}

/** `Mon 2026-11-23 15:34:17 UTC`, as systemctl and journalctl -o short-full print times. */
export function formatTimestamp(timeMs: number): string {
  const date = new Date(timeMs)
  const parts = new Intl.DateTimeFormat('en-GB', { timeZoneName: 'short' }).formatToParts(date)
  const zone = parts.find(({ type }) => type === 'timeZoneName')?.value ?? 'UTC'
  return `${WEEKDAYS[date.getDay()] ?? ''} ${day(date)} ${clock(date)} ${zone}`
}

/** Milliseconds are all there is; microseconds are wanted. */
const micros = (timeMs: number): string =>
  `${String(Math.floor(timeMs % 1000)).padStart(3, '0')}000`

function short(timeMs: number): string {
  const date = new Date(timeMs)
  return `${MONTHS[date.getMonth()] ?? ''} ${two(date.getDate())} ${clock(date)}`
}

function iso(timeMs: number, fraction = ''): string {
  const date = new Date(timeMs)
  return `${day(date)}T${clock(date)}${fraction}${offset(date)}`
}

const TIMES: ReadonlyMap<string, (timeMs: number) => string> = new Map([
  ['short', short],
  ['short-precise', (timeMs) => `${short(timeMs)}.${micros(timeMs)}`],
  ['short-iso', (timeMs) => iso(timeMs)],
  ['short-iso-precise', (timeMs) => iso(timeMs, `.${micros(timeMs)}`)],
  ['short-full', formatTimestamp],
  ['short-unix', (timeMs) => `${Math.floor(timeMs / 1000)}.${micros(timeMs)}`],
])

function json(entry: JournalEntry, context: JournalContext): string {
  return JSON.stringify({
    __CURSOR: `u=${context.unit};i=${entry.seq.toString(16)}`,
    __REALTIME_TIMESTAMP: String(Math.floor(entry.timeMs * 1000)),
    _BOOT_ID: context.bootID,
    _MACHINE_ID: context.machineID,
    _HOSTNAME: context.hostname,
    ...(entry.pid === 0 ? {} : { _PID: String(entry.pid) }),
    PRIORITY: String(entry.priority),
    SYSLOG_IDENTIFIER: entry.identifier,
    [entry.identifier === 'systemd' ? 'UNIT' : '_SYSTEMD_UNIT']: context.unit,
    MESSAGE: UNPRINTABLE.test(entry.message) ? [...Buffer.from(entry.message)] : entry.message,
  })
}

/** What turns entries into the lines of `journalctl -o MODE`; an unknown mode is refused in journalctl's words. */
export function journalFormatter(mode: string, context: JournalContext): JournalFormatter {
  if (mode === 'cat') return ({ message }) => message
  if (mode === 'json') return (entry) => json(entry, context)
  const time = TIMES.get(mode)
  if (time === undefined)
    throw new UnitManagerError('INVALID_ARGUMENT', `Unknown output format '${mode}'.`)
  return ({ timeMs, identifier, pid, message }) => {
    const process = pid === 0 ? '' : `[${pid}]`
    const head = `${time(timeMs)} ${context.hostname} ${identifier}${process}: `
    return head + shownMessage(message, head.length)
  }
}

/**
 * A message as journalctl shows it: further lines are indented, so that none looks like an entry of its own, and what
 * could move a terminal's cursor is not shown.
 */
function shownMessage(message: string, indent: number): string {
  if (UNPRINTABLE.test(message)) return `[${formatBytes(Buffer.byteLength(message))} blob data]`
  return message.replaceAll('\n', `\n${' '.repeat(indent)}`)
}

/** systemd `format_bytes`; a message ends below a mebibyte. */
function formatBytes(bytes: number): string {
  return bytes < 1024 ? `${bytes}B` : `${(Math.floor((bytes * 10) / 1024) / 10).toFixed(1)}K`
}
