import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Files } from './file-model.ts'
import { readTrace, STRACE_OPTIONS, type Call } from './trace.ts'

/** One process of the writer. */
export interface Life {
  /** The last step that it writes. */
  readonly until: number
  /** `io-error` makes the next start rebuild the database. */
  readonly end: 'close' | 'kill' | 'io-error'
  /** With `kill`: the latest sync of the disk thread that is entered, the first being 1. */
  readonly killedAtSync?: number
}

/** Everything that one life after another did in a directory. */
export interface Recording {
  /** What was there before, all of it durable. */
  readonly files: Files
  readonly calls: readonly Call[]
}

/** The writer could not go on: the disk refused, or was not as it had been left. */
export class WriterError extends Error {
  override readonly name = 'WriterError'
}

const writer = fileURLToPath(new URL('writer.js', import.meta.url))

/** Writes a plan under strace. @throws WriterError with its words */
export function record(
  directory: string,
  plan: { readonly seed: number; readonly length: number },
  lives: readonly Life[],
): Recording {
  const files = readFiles(directory)
  const calls = lives.flatMap((life) => recordLife(directory, plan, life))
  return { files, calls }
}

/** Arguments of Node for a life of the writer. */
export function writerArgs(
  directory: string,
  { seed, length }: { readonly seed: number; readonly length: number },
  { until, end }: Life,
): string[] {
  return [writer, directory, seed, length, until, end].map(String)
}

function recordLife(
  directory: string,
  plan: { readonly seed: number; readonly length: number },
  life: Life,
): Call[] {
  const { end, killedAtSync } = life
  const trace = `${directory}.trace`
  const inject =
    killedAtSync === undefined
      ? []
      : ['-e', `inject=fsync,fdatasync:signal=SIGKILL:when=${killedAtSync}`]
  const { status, signal, stderr } = spawnSync(
    'strace',
    [
      ...STRACE_OPTIONS,
      ...inject,
      '-o',
      trace,
      process.execPath,
      ...writerArgs(directory, plan, life),
    ],
    { encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] },
  )
  const isKilled = signal === 'SIGKILL' || status === 137
  if (isKilled !== (end !== 'close') || (!isKilled && status !== 0))
    throw new WriterError(`the writer ended with ${status ?? signal}: ${reasonOf(stderr)}`)
  const calls = readTrace(readFileSync(trace, 'latin1'), directory)
  rmSync(trace)
  return calls
}

/** The line that names the error, out of what Node prints of one. */
function reasonOf(stderr: string): string {
  return /^\w*Error: .*/m.exec(stderr)?.[0] ?? stderr
}

/** The files of a directory, without those that a power loss takes anyway. */
export function readFiles(directory: string): Files {
  const names = readdirSync(directory).filter((name) => !name.endsWith('-shm'))
  return new Map(names.map((name) => [name, readFileSync(join(directory, name))]))
}
