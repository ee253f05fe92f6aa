import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
/** It stays where it was written; this file is compiled somewhere else. */
const source = join(here.replace('build-test/test', 'test'), 'shim.c')

/** From some call on, all such calls fail. */
export interface Fault {
  readonly call: 'write' | 'sync'
  /** Name without directories. */
  readonly file: string
  /** The first one that fails; 1 for the first of all. */
  readonly nth: number
  readonly errno: 'EIO' | 'ENOSPC'
  /** Calls succeed again when this file is there. */
  readonly until?: string
}

/** Compiles the shim into a directory; gives its path. */
export function compileShim(dir: string): string {
  const library = join(dir, 'shim.so')
  const argv = ['-Wall', '-Werror', '-O1', '-shared', '-fPIC', '-o', library, source, '-ldl']
  execFileSync('gcc', argv)
  return library
}

/** Words in front of a command that is to have a failing disk. */
export function faultWrapper(shim: string, { call, file, nth, errno, until }: Fault): string[] {
  const fault = [call, file, nth, constants.errno[errno]].join(':')
  const end = until === undefined ? [] : [`DISK_FAULT_UNTIL=${until}`]
  return ['env', `LD_PRELOAD=${shim}`, `DISK_FAULT=${fault}`, ...end]
}
