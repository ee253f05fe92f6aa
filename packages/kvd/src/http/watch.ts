import type { Refusal } from '../store/errors.ts'
import type { StoreEvent } from '../store/event.ts'
import type { Watcher } from '../store/watcher-hub.ts'
import type { GuardedWatch, HttpContext } from './context.ts'
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
  const poll = new LongPoll(context, wanted, body)
  context.store.watchers.add(poll)
  const unguard = context.guardWatch(poll)
  body.onClose(() => {
    context.store.watchers.remove(poll)
    unguard()
  })
}

const ANONYMOUS = { authorization: undefined }

/** Thousands of them wait at a time, so each keeps no more than it needs, and not its request. */
class LongPoll implements Watcher, GuardedWatch {
  readonly key: string
  readonly path: string
  readonly recursive: boolean
  readonly since: number
  readonly mode: 'stream' | 'once'
  readonly request: GuardedWatch['request']
  readonly #context: HttpContext
  readonly #body: BodyStream

  constructor(context: HttpContext, wanted: WatchRequest, body: BodyStream) {
    const { authorization } = wanted.request
    this.key = wanted.key
    this.path = wanted.path
    this.recursive = wanted.recursive
    this.since = wanted.waitIndex === 0 ? context.store.index + 1 : wanted.waitIndex
    this.mode = wanted.stream ? 'stream' : 'once'
    this.request = authorization === undefined ? ANONYMOUS : { authorization }
    this.#context = context
    this.#body = body
  }

  deliver(event: StoreEvent): void {
    if (this.mode === 'once') {
      this.#body.end(lineOf(event))
      return
    }
    if (this.#body.write(lineOf(event)) <= this.#context.watchBytesMax) return
    this.#context.store.watchers.remove(this)
    this.end()
  }

  end(): void {
    this.#body.end()
  }

  /** Its client asks again, with the index that it has got to. */
  lost(): void {
    this.#context.store.watchers.remove(this)
    this.end()
  }
}

const last: { event: StoreEvent | undefined; line: string } = { event: undefined, line: '' }

/** Longer ones are not kept behind their delivery. */
const LINE_LENGTH_KEPT = 1024 * 1024

/** One text for all who hear of an event, so that it is encoded once. */
function lineOf(event: StoreEvent): string {
  if (last.event === event) return last.line
  const line = `${event.json}\n`
  if (line.length <= LINE_LENGTH_KEPT) {
    last.event = event
    last.line = line
  }
  return line
}
