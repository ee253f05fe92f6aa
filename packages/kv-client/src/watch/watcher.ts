import type { BackoffLimits } from '../backoff.ts'
import type { Cluster } from '../cluster.ts'
import { errorCode } from '../errors.ts'
import { unlessAborted } from '../signal.ts'
import type { KeysApi, WatchEvent, WatchOptions } from '../types.ts'
import { pollSession } from './poll.ts'
import type { SocketOptions, WatchConnection } from './socket.ts'
import { WatchSockets } from './sockets.ts'
import { watch } from './watch.ts'
import type { WatchDeps } from './watch.ts'

const GRACE_MAX_MS = 2000

export interface WatcherOptions {
  /** Resolves when the endpoints may be used. */
  readonly ready: () => Promise<void>
  readonly cluster: Pick<Cluster, 'call' | 'current' | 'leave'>
  readonly get: KeysApi['get']
  readonly keysPrefix: string
  readonly webSocket: boolean
  readonly socket: SocketOptions
  readonly renewMs: number
  readonly random: () => number
  readonly backoff: BackoffLimits
}

/** All watches of a client. */
export interface Watcher {
  watch(
    key: string,
    options: WatchOptions,
    signal: AbortSignal,
  ): AsyncGenerator<WatchEvent, undefined, undefined>
  close(): void
}

/** Opens nothing before the first watch. */
export function createWatcher(options: WatcherOptions): Watcher {
  const sockets = new WatchSockets(options.cluster, options.socket)
  const { get, random, backoff } = options
  const deps: WatchDeps = { get, random, backoff, open: openSession(options, sockets) }
  return {
    watch: (key, watchOptions, signal) => watch(deps, key, watchOptions, signal),
    close: () => sockets.close(),
  }
}

/** A watch that was given up while it connected: nobody else may want the connection that comes. */
async function closeUnused(connecting: Promise<WatchConnection | undefined>): Promise<void> {
  try {
    const connection = await connecting
    // Others that waited for it, too, begin their watches first.
    setImmediate(() => connection?.closeUnused())
  } catch {
    // There is none: its failure is told to those who still wait for it.
  }
}

/** A session by kvd's multiplexed watch where the endpoint has it, else by long polls. */
function openSession(options: WatcherOptions, sockets: WatchSockets): WatchDeps['open'] {
  const { ready, cluster, keysPrefix, webSocket, renewMs } = options
  const graceMs = Math.min(GRACE_MAX_MS, renewMs / 4)
  const connect = async () => {
    await ready()
    return webSocket ? sockets.connection() : undefined
  }
  return async function* open(target, signal) {
    const connecting = connect()
    try {
      const connection = await unlessAborted(connecting, signal)
      if (connection !== undefined) return yield* connection.session(target, signal)
    } finally {
      if (signal.aborted) void closeUnused(connecting)
    }
    try {
      yield* pollSession(target, { cluster, keysPrefix, signal, renewMs, graceMs })
    } catch (error) {
      sockets.forget()
      if (errorCode(error) === 'HEADER_TIMEOUT') cluster.leave(cluster.current)
      throw error
    }
  }
}
