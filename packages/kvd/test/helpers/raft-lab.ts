import { Core } from '../../src/raft/core.ts'
import type { CoreOptions } from '../../src/raft/state.ts'
import {
  NONE,
  type ConfChange,
  type Entry,
  type Message,
  type MessageBody,
  type MessageOf,
  type MessageType,
  type Ready,
} from '../../src/raft/types.ts'
import { removedBy } from '../simulator/machine.ts'
import { chainOf } from '../simulator/member.ts'

export const ELECTION_TICKS = 10
/** What the wall clock says unless a test says otherwise. */
export const START_MS = 1_450_000_000_000

/** Entries of these terms, from index 1 on, with their chain. */
export function logOf(terms: readonly number[]): Entry[] {
  const entries: Entry[] = []
  for (const [at, term] of terms.entries()) {
    const bare = { index: at + 1, term, kind: 'noop' as const, id: '', data: new Uint8Array() }
    entries.push({ ...bare, chain: chainOf(entries.at(-1)?.chain ?? 0, bare) })
  }
  return entries
}

export interface StartOptions {
  readonly term?: number
  readonly vote?: string
  readonly commit?: number
  /** Terms of the entries of the log. */
  readonly log?: readonly number[]
  readonly learners?: readonly string[]
  readonly isDamaged?: boolean
  readonly options?: Partial<CoreOptions>
}

/** One member whose disk, network and clock are the test. */
export class Bench {
  readonly core: Core
  /** Everything that has left, in order. */
  readonly sent: Message[] = []
  readonly applied: Entry[] = []
  readonly readable: { readonly index: number; readonly ids: readonly string[] }[] = []
  readonly lost: Ready['lost'][number][] = []
  readonly installed: NonNullable<Ready['install']>[] = []
  #unsynced: Ready[] = []
  /** Batches become durable at once. */
  isInstant: boolean

  constructor(id: string, voters: readonly string[], start: StartOptions = {}, isInstant = true) {
    const { term = 0, vote = NONE, commit = 0, log = [], learners = [], options = {} } = start
    const { isDamaged = false } = start
    this.isInstant = isInstant
    this.core = new Core({
      id,
      electionTicks: ELECTION_TICKS,
      heartbeatTicks: 1,
      random: () => 0,
      clock: () => START_MS,
      elapsed: () => 0,
      stamp: (proposal) => proposal,
      chain: chainOf,
      removes: removedBy,
      incarnation: 1,
      maxMessageBytes: 1 << 20,
      window: { messages: 4, bytes: 1 << 20 },
      maxUncommittedBytes: 1 << 20,
      maxApplyBytes: 1 << 20,
      start: {
        hard: { term, vote, commit, isDamaged },
        conf: { voters, learners },
        log: { index: 0, term: 0, chain: 0, entries: logOf(log) },
        applied: commit,
      },
      ...options,
    })
  }

  /** Carries out what the core wants; without a disk that is instant, `after` waits for `sync`. */
  pump(): this {
    while (this.core.hasReady()) {
      const ready = this.core.ready()
      this.sent.push(...ready.now)
      this.#unsynced.push(ready)
      this.readable.push(...ready.reads)
      this.lost.push(...ready.lost)
      if (ready.install !== undefined) this.installed.push(ready.install)
      if (this.isInstant) this.#syncOne()
      for (const entry of ready.committed) {
        this.applied.push(entry)
        if (entry.kind === 'conf') this.core.applyConf(confOf(entry))
        this.core.applied(entry.index)
      }
    }
    return this
  }

  #syncOne(): void {
    const ready = this.#unsynced.shift()
    if (ready === undefined) return
    this.core.persisted(ready.seq)
    for (const message of ready.after)
      if (message.to === this.core.id) this.core.step(message)
      else this.sent.push(message)
  }

  /** Everything at the disk becomes durable. */
  sync(): this {
    while (this.#unsynced.length > 0) this.#syncOne()
    return this.pump()
  }

  tick(count = 1): this {
    for (let tick = 0; tick < count; tick += 1) {
      this.core.tick()
      this.pump()
    }
    return this
  }

  receive(from: string, term: number, body: MessageBody, incarnation = 1): this {
    this.core.step({ ...body, from, to: this.core.id, term, incarnation })
    return this.pump()
  }

  /** What has left since the last call, of one type or of all. */
  take<T extends MessageType>(type: T): MessageOf<T>[] {
    const isOfType = (message: Message): message is MessageOf<T> => message.type === type
    const found = this.sent.filter(isOfType)
    this.sent.length = 0
    return found
  }

  /** Makes it leader of the next term, with the votes of `from`. */
  lead(...from: readonly string[]): this {
    this.tick(2 * ELECTION_TICKS)
    const term = this.core.view.term + 1
    for (const id of from) this.receive(id, term, { type: 'preVoteResp', isGranted: true })
    for (const id of from)
      this.receive(id, this.core.view.term, { type: 'voteResp', isGranted: true, wallMs: START_MS })
    if (this.core.view.role !== 'leader') throw new Error(`${this.core.id} does not lead`)
    return this
  }

  propose(id: string, change?: ConfChange): this {
    const data = change === undefined ? new Uint8Array([1]) : Buffer.from(JSON.stringify(change))
    this.core.propose({ kind: change === undefined ? 'request' : 'conf', id, data })
    return this.pump()
  }

  /** Terms of the log. */
  get terms(): number[] {
    const { log } = this.core.view
    return Array.from(
      { length: log.last - log.first + 1 },
      (_, at) => log.term(log.first + at) ?? 0,
    )
  }
}

function confOf(entry: Entry): ConfChange {
  return JSON.parse(Buffer.from(entry.data).toString())
}
