import { spawn } from 'node:child_process'
import type { KvResponse } from '@flotilla/kv-client'
import { withClient } from '../client.ts'
import { EXIT, ExitError } from '../context.ts'
import type { Io, Run } from '../context.ts'
import { badArgs, errorText } from '../errors.ts'
import { keyOf } from '../format.ts'
import { events } from './watch.ts'

export const execWatch: Run = (context) =>
  withClient(context, async (client) => {
    const { io, options, args } = context
    const [key, command, ...commandArgs] = args
    if (key === undefined || command === undefined) {
      throw badArgs('key and command to exec required')
    }
    const stop = new AbortController()
    let failure: ExitError | undefined
    const index = options.int('after-index')
    const wanted = {
      key,
      recursive: options.bool('recursive'),
      // etcd 2.3 etcdctl/command/exec_watch_command.go adds one, and the client one more.
      after: index === 0n ? 0n : index + 1n,
      signal: AbortSignal.any([io.onInterrupt(), stop.signal]),
    }
    for await (const response of events(client, wanted)) {
      if (response.node.dir === true) {
        io.stderr(`Ignored dir ${keyOf(response.node)} change`)
        continue
      }
      start([command, ...commandArgs], { ...io.env, ...watchEnv(response) }, (text) => {
        failure = new ExitError(EXIT.badArgs, text)
        stop.abort()
      })
    }
    if (failure !== undefined) throw failure
    return EXIT.success
  })

/** What the command learns of the event. */
export function watchEnv({ action, node }: KvResponse): Record<string, string> {
  return {
    ETCD_WATCH_ACTION: action,
    ETCD_WATCH_MODIFIED_INDEX: String(node.modifiedIndex),
    ETCD_WATCH_KEY: keyOf(node),
    ETCD_WATCH_VALUE: node.value ?? '',
  }
}

/** Starts the command and does not wait for it; it outlives kvctl. */
function start(
  [command = '', ...args]: readonly string[],
  env: Io['env'],
  onFailure: (text: string) => void,
): void {
  const fail = (error: unknown): void => onFailure(spawnErrorText(command, error))
  try {
    const child = spawn(command, args, { env, stdio: ['ignore', 'inherit', 'inherit'] })
    child.on('error', fail)
    child.unref()
  } catch (error) {
    // What no environment can hold, a value with a NUL or of megabytes, is thrown rather than told.
    fail(error)
  }
}

/** The words of Go's syscall package. */
const REASONS: Readonly<Record<string, string>> = {
  E2BIG: 'argument list too long',
  EACCES: 'permission denied',
  EAGAIN: 'resource temporarily unavailable',
  EMFILE: 'too many open files',
  ENFILE: 'too many open files in system',
  ENOENT: 'no such file or directory',
  ENOEXEC: 'exec format error',
  ENOMEM: 'cannot allocate memory',
  ENOTDIR: 'not a directory',
  ERR_INVALID_ARG_VALUE: 'invalid argument',
}
/** Codes of a command that was looked for in vain; the other failures are those of starting what was found. */
const SOUGHT = new Map([
  ['ENOENT', 'executable file not found in $PATH'],
  ['EACCES', 'permission denied'],
])

/** The words of Go's os/exec. */
export function spawnErrorText(command: string, error: unknown): string {
  const code = errorCode(error)
  const sought = command.includes('/') ? undefined : SOUGHT.get(code)
  if (sought !== undefined) return `exec: "${command}": ${sought}`
  return `fork/exec ${command}: ${REASONS[code] ?? errorText(error)}`
}

function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
