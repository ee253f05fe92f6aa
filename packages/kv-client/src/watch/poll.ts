import type { Cluster, ClusterAnswer } from '../cluster.ts'
import { isKvError, TransportError } from '../errors.ts'
import { asError } from '../http.ts'
import { keyPath } from '../keys.ts'
import { createKeysApi, isEmpty, waitCall } from '../keys-api.ts'
import type { KvResponse } from '../types.ts'
import { headerNumber, parseKeysAnswer } from '../wire.ts'
import { Mailbox } from './mailbox.ts'
import type { Session, Target } from './session.ts'

// One long poll is quiet as long as nothing happens to its key, while the server forgets all but the
// last 1000 events of the whole store. To know how far a quiet poll has come, a second one is opened
// from the same index: its headers say where the store is (X-Etcd-Index), and when neither poll has
// brought an event some time after these headers, there was none up to there. Then the first is given up.
//
//   open ──headers──> waiting ──graceMs──> confirmed ──renewMs──> open the next beside it
//     └──────────────────┴────── an event: both are given up, open the next
//
// An event may be long and the line slow: once a poll's body has begun nothing is confirmed until it is
// whole, or has stood still for renewMs, which is a failure.
//
// A renewal without headers means that the member is gone though its connections are not, or that a
// proxy holds the headers back (etcd's own does): the watch begins again from its index, elsewhere.

export interface PollOptions {
  readonly cluster: Pick<Cluster, 'call'>
  readonly keysPrefix: string
  readonly signal: AbortSignal
  readonly renewMs: number
  /** After the headers of a poll, until it is believed to hold no event out of history. */
  readonly graceMs: number
}

type Happening =
  | { readonly type: 'answer'; readonly poll: Poll; readonly answer: ClusterAnswer }
  | { readonly type: 'failure'; readonly poll: Poll; readonly error: Error }
  | { readonly type: 'headers'; readonly poll: Poll; readonly index: number }
  | { readonly type: 'data'; readonly poll: Poll }
  | { readonly type: 'time'; readonly timer: object; readonly run: () => void }
  | { readonly type: 'abort' }

interface Poll {
  readonly controller: AbortController
  /** A part of its event is here. */
  hasBegun: boolean
}

/** A watch by long polls: the only way with a real etcd. */
export async function* pollSession(target: Target, options: PollOptions): Session {
  const after = target.after ?? (await indexNow(target.key, options))
  if (target.after === undefined) yield { type: 'progress', index: after }
  const polls = new Polls({ ...target, after }, options)
  try {
    for (;;) {
      const { response, progress } = await polls.next()
      if (response !== undefined) yield { type: 'event', response }
      else if (progress !== undefined) yield { type: 'progress', index: progress }
      else return
    }
  } finally {
    polls.close()
  }
}

/** A poll "from now" tells its index with headers that may be held back; a read tells it for sure. */
async function indexNow(
  key: string,
  { cluster, keysPrefix, signal }: PollOptions,
): Promise<number> {
  const { get } = createKeysApi(cluster, keysPrefix)
  try {
    return (await get(key, { signal })).etcdIndex
  } catch (error) {
    if (isKvError(error, 100, 104)) return error.index
    throw error
  }
}

interface Step {
  readonly response?: KvResponse
  readonly progress?: number
}

class Polls {
  readonly #inbox = new Mailbox<Happening>()
  readonly #target: Target
  readonly #options: PollOptions
  #after: number
  #polls: Poll[] = []
  #timer: { handle?: NodeJS.Timeout } = {}
  #confirmed: number | undefined
  readonly #onAbort = (): void => this.#inbox.push({ type: 'abort' })

  constructor(target: Target & { readonly after: number }, options: PollOptions) {
    this.#target = target
    this.#options = options
    this.#after = target.after
    options.signal.addEventListener('abort', this.#onAbort)
  }

  close(): void {
    this.#options.signal.removeEventListener('abort', this.#onAbort)
    this.#giveUp()
  }

  #giveUp(): void {
    clearTimeout(this.#timer.handle)
    this.#timer = {}
    for (const poll of this.#polls) poll.controller.abort()
    this.#polls = []
  }

  /** The next event or progress; neither: the server ended the poll without an event. */
  async next(): Promise<Step> {
    this.#options.signal.throwIfAborted()
    if (this.#polls.length === 0) {
      this.#open()
      this.#renewLater()
    }
    for (;;) {
      const happening = await this.#inbox.next()
      const step = this.#handle(happening)
      if (step !== undefined) return step
    }
  }

  #handle(happening: Happening): Step | undefined {
    if (happening.type === 'abort') throw asError(this.#options.signal.reason)
    if (happening.type === 'time') {
      // A timer that was replaced may have fired already.
      if (happening.timer === this.#timer) happening.run()
      return this.#takeConfirmed()
    }
    const { poll } = happening
    if (!this.#polls.includes(poll)) return undefined
    if (happening.type === 'failure') throw happening.error
    if (happening.type === 'answer') return this.#answered(poll, happening.answer)
    if (happening.type === 'data') this.#begun(poll)
    else if (!this.#polls.some(({ hasBegun }) => hasBegun)) {
      this.#in(this.#options.graceMs, () => this.#confirm(poll, happening.index))
    }
    return undefined
  }

  #begun(poll: Poll): void {
    poll.hasBegun = true
    this.#failLater(poll)
  }

  #answered(poll: Poll, answer: ClusterAnswer): Step | undefined {
    if (isEmpty(answer)) return {}
    try {
      const response = parseKeysAnswer(answer)
      this.#after = Math.max(this.#after, response.node.modifiedIndex)
      this.#giveUp()
      return { response }
    } catch (error) {
      // The renewal came too late for the history, but the first poll is still live and has missed nothing.
      if (!isKvError(error, 401) || poll === this.#polls[0]) throw error
      this.#polls = this.#polls.filter((other) => other !== poll)
      this.#renewLater()
      return undefined
    }
  }

  #confirm(poll: Poll, index: number): void {
    this.#after = Math.max(this.#after, index)
    this.#confirmed = this.#after
    for (const other of this.#polls) if (other !== poll) other.controller.abort()
    this.#polls = [poll]
    this.#renewLater()
  }

  #takeConfirmed(): Step | undefined {
    const progress = this.#confirmed
    this.#confirmed = undefined
    return progress === undefined ? undefined : { progress }
  }

  #renewLater(): void {
    this.#in(this.#options.renewMs, () => this.#failLater(this.#open()))
  }

  #failLater(poll: Poll): void {
    this.#in(this.#options.renewMs, () => {
      const text = 'client: the watched member does not answer'
      const error = new TransportError(text, 'HEADER_TIMEOUT', true)
      this.#inbox.push({ type: 'failure', poll, error })
    })
  }

  #in(ms: number, run: () => void): void {
    clearTimeout(this.#timer.handle)
    const timer: { handle?: NodeJS.Timeout } = {}
    // A process that stood still finds its timers due before it has read what came meanwhile: that goes first.
    timer.handle = setTimeout(
      () => setImmediate(() => this.#inbox.push({ type: 'time', timer, run })),
      ms,
    )
    this.#timer = timer
  }

  #open(): Poll {
    const { cluster, keysPrefix } = this.#options
    const controller = new AbortController()
    const poll: Poll = { controller, hasBegun: false }
    let isGood = false
    const call = waitCall(
      keyPath(this.#target.key, keysPrefix),
      {
        recursive: this.#target.recursive,
        waitIndex: this.#after + 1,
        signal: controller.signal,
      },
      {
        onHeaders: (status, headers) => {
          isGood = status === 200
          const index = headerNumber(headers, 'x-etcd-index')
          if (isGood) this.#inbox.push({ type: 'headers', poll, index })
        },
        onData: () => {
          if (isGood) this.#inbox.push({ type: 'data', poll })
        },
      },
    )
    cluster.call(call).then(
      (answer) => this.#inbox.push({ type: 'answer', poll, answer }),
      (error: Error) => this.#inbox.push({ type: 'failure', poll, error }),
    )
    this.#polls.push(poll)
    return poll
  }
}
