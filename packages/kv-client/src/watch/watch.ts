import { backoffMs, pause } from '../backoff.ts'
import type { BackoffLimits } from '../backoff.ts'
import { isKvError, KvError } from '../errors.ts'
import { asError } from '../http.ts'
import { cleanKey } from '../keys.ts'
import type { KeysApi, KvResponse, WatchEvent, WatchOptions } from '../types.ts'
import { matches } from './match.ts'
import type { Session, Target } from './session.ts'

export interface WatchDeps {
  readonly get: KeysApi['get']
  /** Opens a session at the endpoint in use, by the means it has. */
  readonly open: (target: Target, signal: AbortSignal) => Session
  readonly random: () => number
  readonly backoff: BackoffLimits
}

/** Refusals that say "not now": Raft trouble, an election. Over HTTP they are 5xx, which is tried again, too. */
const PASSING = [300, 301] as const

/**
 * Joins sessions into one sequence: an event counts once, by its modifiedIndex, whatever the number
 * of sessions that bring it; a gap (401) is filled by a fresh read.
 */
export async function* watch(
  deps: WatchDeps,
  path: string,
  options: WatchOptions,
  signal: AbortSignal,
): AsyncGenerator<WatchEvent, undefined, undefined> {
  const key = cleanKey(path)
  const recursive = options.recursive ?? false
  let after = options.afterIndex
  let failures = 0
  while (!signal.aborted) {
    let failure: Error
    try {
      for await (const item of deps.open({ key, recursive, after }, signal)) {
        failures = 0
        const index = item.type === 'event' ? item.response.node.modifiedIndex : item.index
        if (after !== undefined && index <= after) continue
        after = index
        if (item.type === 'event' && matches(key, recursive, item.response)) {
          yield { type: 'event', response: { ...item.response, etcdIndex: index } }
        }
      }
      failure = new Error('client: the server ended the watch')
    } catch (error) {
      failure = asError(error)
    }
    if (signal.aborted) return undefined
    // 400: the store was recovered from a snapshot. Both mean: what came after `after` cannot be had.
    if (isKvError(failure, 400, 401)) {
      try {
        const fresh = await readAgain(deps, path, recursive, signal)
        after = fresh.index
        failures = 0
        yield { type: 'resync', ...fresh }
        continue
      } catch (error) {
        failure = asError(error)
      }
    }
    if (failure instanceof KvError && !isKvError(failure, ...PASSING)) throw failure
    failures += 1
    const waitMs = backoffMs(failures, deps.backoff, deps.random)
    options.onRetry?.(failure, waitMs)
    await pause(waitMs, signal)
  }
  return undefined
}

/** A quorum read: a member that lags behind could show a state older than what the watcher has seen. */
async function readAgain(
  deps: WatchDeps,
  path: string,
  recursive: boolean,
  signal: AbortSignal,
): Promise<{ response: KvResponse | undefined; index: number }> {
  try {
    const response = await deps.get(path, { recursive, quorum: true, sorted: true, signal })
    return { response, index: response.etcdIndex }
  } catch (error) {
    if (isKvError(error, 100, 104)) return { response: undefined, index: error.index }
    throw error
  }
}
