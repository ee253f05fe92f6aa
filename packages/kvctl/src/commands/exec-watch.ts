import { spawn } from 'node:child_process'
import type { KvResponse } from '@flotilla/kv-client'
import { withClient } from '../client.ts'
import { EXIT, ExitError } from '../context.ts'
import type { Io, Run } from '../context.ts'
import { badArgs } from '../errors.ts'
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
  const child = spawn(command, args, { env, stdio: ['ignore', 'inherit', 'inherit'] })
  child.on('error', (error) => onFailure(spawnErrorText(command, error)))
  child.unref()
}

/** The words of Go's os/exec. */
export function spawnErrorText(command: string, error: Error): string {
  const code = 'code' in error ? error.code : undefined
  if (command.includes('/')) {
    const reason = code === 'ENOENT' ? 'no such file or directory' : 'permission denied'
    return `fork/exec ${command}: ${reason}`
  }
  return code === 'ENOENT'
    ? `exec: "${command}": executable file not found in $PATH`
    : `exec: "${command}": permission denied`
}
