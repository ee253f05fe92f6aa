import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

/** What a finished command left behind. `code` is 128 + signal when a signal ended it, as in a shell. */
export interface Result {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** How a command is run; `timeoutMs` bounds it (30 s unless told), `env` replaces the whole environment. */
export interface RunOptions {
  readonly timeoutMs?: number
  readonly input?: string
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
}

/** A command that ended badly or not in time; the message holds all it printed. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly code: number

  constructor(argv: readonly string[], why: string, result: Result) {
    const printed = [result.stdout, result.stderr].map((text) => text.trim()).filter(Boolean)
    super([`${argv.join(' ')}: ${why}`, ...printed].join('\n'))
    this.code = result.code
  }
}

const OUTPUT_BYTES_MAX = 64 << 20
const SIGNALS: Readonly<Record<string, number>> = { SIGKILL: 9, SIGTERM: 15, SIGINT: 2 }

/**
 * Runs a command to its end and gives its exit status and output, whatever the status is.
 * Rejects when it cannot be started or does not end in time; then its whole process group is killed.
 */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<Result> {
  const { timeoutMs = 30_000 } = options
  const [command = '', ...args] = argv
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      // A group of its own: what the command started must not survive it when time is over.
      detached: true,
      stdio: 'pipe',
      ...(options.env && { env: options.env }),
      ...(options.cwd !== undefined && { cwd: options.cwd }),
    })
    const out: Buffer[] = []
    const err: Buffer[] = []
    let bytes = 0
    const gather = (list: Buffer[]) => (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes <= OUTPUT_BYTES_MAX) list.push(chunk)
    }
    child.stdout.on('data', gather(out))
    child.stderr.on('data', gather(err))
    const result = (code: number): Result => ({
      code,
      stdout: Buffer.concat(out).toString(),
      stderr: Buffer.concat(err).toString(),
    })
    const timer = setTimeout(() => {
      killGroup(child.pid)
      reject(new CommandError(argv, `not done after ${timeoutMs} ms`, result(-1)))
    }, timeoutMs)
    child.on('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    child.on('close', (code, name) => {
      clearTimeout(timer)
      resolve(result(code ?? 128 + (SIGNALS[name ?? ''] ?? 0)))
    })
    child.stdin.on('error', () => undefined) // the command need not read what it is given
    child.stdin.end(options.input ?? '')
  })
}

/** Like `run`, but any exit status other than 0 rejects. Gives the standard output. */
export async function must(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await run(argv, options)
  if (result.code !== 0) throw new CommandError(argv, `exit status ${result.code}`, result)
  return result.stdout
}

function killGroup(pid: number | undefined): void {
  if (pid !== undefined) signal(-pid, 'SIGKILL')
}

/** Sends a signal; false when nobody is there to get it. A negative pid is a process group. */
export function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name)
  } catch (error) {
    if (errorCode(error) === 'ESRCH') return false
    throw error
  }
}

/**
 * The processes whose parent is `pid`, as this pid namespace numbers them. None for 0, which stands for
 * a process that could not be started: the kernel's own 0 is above all others, and callers kill what they find.
 */
export function childrenOf(pid: number): number[] {
  return pids().filter((candidate) => pid > 0 && statOf(candidate)?.parent === pid)
}

/** All processes below the given ones, as they are at this moment; none below 0, as above. */
export function descendantsOf(ancestors: readonly number[]): number[] {
  const table = pids().map((pid) => ({ pid, parent: statOf(pid)?.parent }))
  const below = (pid: number): number[] =>
    table.flatMap((entry) => (entry.parent === pid ? [entry.pid, ...below(entry.pid)] : []))
  return ancestors.filter((pid) => pid > 0).flatMap(below)
}

/** True while the process exists and is no zombie. */
export function isAlive(pid: number): boolean {
  const stat = statOf(pid)
  return stat !== undefined && stat.state !== 'Z' && stat.state !== 'X'
}

/** Every process id in /proc. */
export function pids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
}

function statOf(pid: number): { readonly parent: number; readonly state: string } | undefined {
  const text = readOrEmpty(`/proc/${pid}/stat`)
  // The name in brackets may hold anything, blanks and brackets too: read behind the last one.
  const [state, parent] = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return state && parent ? { parent: Number(parent), state } : undefined
}

/** A file of /proc or /sys, or '' when it has gone (processes end while one looks). */
export function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (GONE.has(errorCode(error))) return ''
    throw error
  }
}

const GONE = new Set(['ENOENT', 'ESRCH', 'ENODEV'])

/** The code of a system error, or '' of anything else. */
function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
