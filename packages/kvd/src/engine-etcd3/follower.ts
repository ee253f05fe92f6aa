import { setTimeout as delay } from 'node:timers/promises'
import type { ClientDuplexStream } from '@grpc/grpc-js'
import type { Logger } from '@flotilla/daemon'
import { WatcherHub, type Watcher } from '../store/watcher-hub.ts'
import { EtcdError } from './etcd-error.ts'
import type { Etcd } from './etcd.ts'
import { byRevision, responsesOf } from './changes.ts'
import { EventDecoder, type Happening } from './event-decoder.ts'
import { isLeft } from './history.ts'
import type { Layout } from './layout.ts'
import type { ChangeEvent, WatchRequest, WatchResponse } from './messages.ts'
import { indexOf } from './nodes.ts'
import { RecentEvents } from './recent-events.ts'
import { listBelow, sweep, type Orphan } from './subtree.ts'

const PAUSE_MS = 200

export interface FollowerOptions {
  readonly etcd: Etcd
  readonly layout: Layout
  readonly logger: Logger
  /** Events kept for watches that resume. */
  readonly capacity: number
  /** Revision after which to begin. */
  readonly revision: number
  /** Hears of every change of a v3 key, before the event that it belongs to is told. */
  onChange(change: ChangeEvent): void
  onExpired(): void
}

/** Somebody who waits here and can be sent away. */
export interface LivePoll extends Watcher {
  end(): void
}

/** Follows all that happens to the tree with one v3 watch and tells everybody who waits. */
export class Follower {
  readonly recent: RecentEvents
  readonly #options: FollowerOptions
  readonly #hub = new WatcherHub()
  readonly #polls = new Set<LivePoll>()
  #decoder: EventDecoder
  #position: number
  #stream: ClientDuplexStream<WatchRequest, WatchResponse> | undefined
  #isClosed = false
  #isLost = false
  #waiting: { readonly revision: number; readonly resolve: () => void }[] = []

  constructor(options: FollowerOptions) {
    this.#options = options
    this.#position = options.revision
    this.recent = new RecentEvents(options.capacity, indexOf(options.revision) + 1)
    this.#decoder = this.#newDecoder()
  }

  #newDecoder(): EventDecoder {
    const { layout } = this.#options
    return new EventDecoder({ layout, listBelow: async (dir, at) => await this.#bury(dir, at) })
  }

  /** All events up to this revision have been told. */
  get position(): number {
    return this.#position
  }

  get watchers(): number {
    return this.#hub.count
  }

  add(poll: LivePoll): void {
    this.#polls.add(poll)
    this.#hub.add(poll)
  }

  remove(poll: LivePoll): void {
    this.#polls.delete(poll)
    this.#hub.remove(poll)
  }

  /** Resolves when the event of that revision has been told, or on `close`. */
  async reached(revision: number): Promise<void> {
    if (this.#position >= revision || this.#isClosed) return
    await new Promise<void>((resolve) => {
      this.#waiting.push({ revision, resolve })
    })
  }

  /** Follows until `close`. */
  async run(): Promise<void> {
    while (!this.#isClosed)
      try {
        await this.#follow()
      } catch (error) {
        if (!(error instanceof EtcdError)) throw error
        if (this.#isClosed) return
        const why = error.message
        if (!this.#isLost) this.#options.logger.warn('engine: lost the watch of etcd', { why })
        this.#isLost = true
        await delay(PAUSE_MS)
      }
  }

  async #follow(): Promise<void> {
    const { etcd, layout, logger } = this.#options
    if (!(await isLeft(etcd, layout, this.#position))) await this.#skip()
    const stream = await etcd.watch({ ...layout.all, startRevision: this.#position + 1 })
    this.#stream = stream
    if (this.#isClosed) stream.cancel()
    for await (const response of responsesOf(stream)) {
      if (response.isCanceled) {
        if (response.compactRevision === 0) throw new EtcdError('UNKNOWN', response.cancelReason)
        await this.#skip()
        return
      }
      if (this.#isLost) logger.info('engine: watching etcd again', { revision: this.#position })
      this.#isLost = false
      for (const [revision, changes] of byRevision(response.events))
        if (revision > this.#position) await this.#take(revision, changes)
    }
  }

  async #take(revision: number, changes: readonly ChangeEvent[]): Promise<void> {
    const happenings = await this.#decoder.decode(revision, changes)
    for (const change of changes) this.#options.onChange(change)
    this.#position = revision
    for (const happening of happenings) this.#tell(happening)
    const reached = this.#waiting.filter((each) => each.revision <= revision)
    this.#waiting = this.#waiting.filter((each) => each.revision > revision)
    for (const { resolve } of reached) resolve()
  }

  #tell({ event, removed }: Happening): void {
    if (event.action === 'expire') this.#options.onExpired()
    // Whoever is told of the event may at once look for it among the recent ones.
    this.recent.add(event)
    for (const key of removed) this.#hub.notifyRemoved(event, key)
    if (!event.refresh) this.#hub.notify(event)
  }

  /** Lists what an expired directory has left, and begins to clear it away. */
  async #bury(dir: string, revision: number): Promise<readonly string[]> {
    const { etcd, layout, logger } = this.#options
    const orphans: readonly Orphan[] = await listBelow(etcd, layout, { dir, revision })
    sweep(etcd, layout, dir, orphans).catch((error: unknown) => {
      // Nobody sees them, and whoever takes their place deletes them.
      if (!(error instanceof EtcdError)) throw error
      logger.debug('engine: what an expired directory left stays', { why: error.message })
    })
    return orphans.map(({ key }) => key).toReversed()
  }

  /** etcd has dropped what was missed: everybody who waits has to come again. */
  async #skip(): Promise<void> {
    const { etcd, layout, logger } = this.#options
    const { header } = await etcd.read([{ key: layout.action }])
    logger.warn('engine: etcd was compacted past the watch, waiting clients are sent away', {
      from: this.#position,
      to: header.revision,
    })
    this.#position = header.revision
    this.recent.reset(indexOf(header.revision) + 1)
    this.#decoder = this.#newDecoder()
    this.#sendAway()
    this.#waiting.splice(0).forEach(({ resolve }) => resolve())
  }

  #sendAway(): void {
    for (const poll of this.#polls) {
      this.remove(poll)
      poll.end()
    }
  }

  close(): void {
    this.#isClosed = true
    this.#stream?.cancel()
    this.#sendAway()
    for (const { resolve } of this.#waiting.splice(0)) resolve()
  }
}
