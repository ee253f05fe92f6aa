import { readdirSync, readFileSync } from 'node:fs'

/** A process as /proc shows it. */
export interface ProcessInfo {
  readonly pid: number
  readonly comm: string
  readonly session: number
  /** When it began, in clock ticks since boot: with the pid it names one process for ever. */
  readonly startTicks: number
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1')
  } catch {
    // It ended meanwhile, or belongs to somebody else: not one of ours either way.
    return undefined
  }
}

/** What /proc says of a process; undefined when it is gone or a zombie. */
export function readProcess(pid: number): ProcessInfo | undefined {
  const stat = readProc(pid, 'stat')
  if (stat === undefined) return undefined
  // The name is in parentheses and may hold anything, so the fields are counted from its end.
  const open = stat.indexOf('(')
  const close = stat.lastIndexOf(')')
  const fields = stat.slice(close + 2).split(' ')
  const state = fields[0] ?? ''
  if (state === 'Z' || state === 'X') return undefined
  return {
    pid,
    comm: printable(stat.slice(open + 1, close)),
    session: Number(fields[3]),
    startTicks: Number(fields[19]),
  }
}

/** A name that its process chose, so that it may be shown and logged. */
function printable(bytes: string): string {
  const name = Buffer.from(bytes, 'latin1').toString('utf8')
  return name.replace(
    /\p{Cc}/gu,
    (sign) => `\\x${sign.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}

/** The arguments of a process; its name in brackets when it has none (as ps prints kernel threads). */
export function commandLine(info: ProcessInfo): readonly string[] {
  const text = readProc(info.pid, 'cmdline') ?? ''
  const words = Buffer.from(text, 'latin1').toString('utf8').replace(/\0$/, '').split('\0')
  return text === '' ? [`[${info.comm}]`] : words
}

/** What names the processes of one activation of a unit. */
export interface Membership {
  readonly invocationID: string
  /** Sessions that the manager opened for it: the pids of the processes it started. */
  readonly sessions: ReadonlySet<number>
  /** When the activation began, in clock ticks since boot. */
  readonly sinceTicks: number
}

/** Clock ticks since boot; Linux shows 100 of them a second to programs. */
export function ticksSinceBoot(): number {
  const seconds = Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0])
  return Math.floor(seconds * 100)
}

/**
 * The live processes of an activation, by pid: those in its sessions, and those that left them (daemons) but still
 * carry its invocation ID in their environment. A program that does both, leave the session and clear its
 * environment, escapes.
 */
export function findProcesses({ invocationID, sessions, sinceTicks }: Membership): ProcessInfo[] {
  const mark = `INVOCATION_ID=${invocationID}`
  const found: ProcessInfo[] = []
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid) || pid === process.pid) continue
    const info = readProcess(pid)
    if (info === undefined || info.startTicks < sinceTicks) continue
    const isOurs =
      sessions.has(info.session) || readProc(pid, 'environ')?.split('\0').includes(mark) === true
    if (isOurs) found.push(info)
  }
  return found.toSorted((a, b) => a.pid - b.pid)
}

function errorCode(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}

/** Sends a signal; false when the process is gone or may not be signalled (a set-user-ID program). */
export function signalProcess(pid: number, signal: number): boolean {
  try {
    return process.kill(pid, signal)
  } catch (error) {
    const code = errorCode(error)
    if (code === 'ESRCH' || code === 'EPERM') return false
    throw error
  }
}

/**
 * True when any process is left in the session that `leader` opened. Its groups do not tell: a shell with job control
 * gives each of its jobs one of its own.
 */
export function hasSession(leader: number): boolean {
  return readdirSync('/proc').some((entry) => {
    const pid = Number(entry)
    return Number.isInteger(pid) && readProcess(pid)?.session === leader
  })
}
