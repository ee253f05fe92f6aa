import type { Refusal } from '../store/errors.ts'
import type { StoreEvent } from '../store/event.ts'
import type { Watcher } from '../store/watcher-hub.ts'
import type { HttpContext } from './context.ts'
import type { BodyStream, RawRequest } from './message.ts'

export interface WatchRequest {
  readonly request: RawRequest
  /** The key as it was sent: what rights are about. */
  readonly path: string
  readonly key: string
  readonly recursive: boolean
  readonly stream: boolean
  /** First index wanted; 0 for "from now on". */
  readonly waitIndex: number
}

/**
 * Serves a v2 long poll (kvd.md 6): from the history when the event is there, else live.
 * Returns a refusal when the history no longer reaches back; otherwise `open` was called.
 */
export function openWatch(
  context: HttpContext,
  wanted: WatchRequest,
  open: () => BodyStream,
): Refusal | undefined {
  const { store } = context
  const { key, recursive, waitIndex } = wanted
  let past: StoreEvent | undefined
  if (waitIndex > 0) {
    const problem = store.history.check(waitIndex, store.index)
    if (problem !== undefined) return problem
    past = store.history.scan(key, recursive, waitIndex)
  }
  const body = open()
  if (past === undefined) follow(context, wanted, body)
  else if (wanted.stream) body.write(lineOf(past))
  else body.end(lineOf(past))
  return undefined
}

function follow(context: HttpContext, wanted: WatchRequest, body: BodyStream): void {
  const { store, watchBytesMax } = context
  const watcher: Watcher = {
    key: wanted.key,
    recursive: wanted.recursive,
    since: wanted.waitIndex === 0 ? store.index + 1 : wanted.waitIndex,
    mode: wanted.stream ? 'stream' : 'once',
    deliver: (event) => {
      if (!wanted.stream) {
        body.end(lineOf(event))
        return
      }
      if (body.write(lineOf(event)) <= watchBytesMax) return
      store.watchers.remove(watcher)
      body.end()
    },
  }
  store.watchers.add(watcher)
  const { request, path, recursive } = wanted
  const unguard = context.guardWatch({ request, path, recursive, end: () => body.end() })
  body.onClose(() => {
    store.watchers.remove(watcher)
    unguard()
  })
}

function lineOf(event: StoreEvent): string {
  return `${event.json}\n`
}
