import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'
import type { Entry, Place } from '../../src/raft/types.ts'
import type { Recovered } from '../../src/storage/disk.ts'
import { entryChain, packEntries } from '../../src/storage/entry-codec.ts'
import type {
  Batch,
  DiskOptions,
  EventRow,
  HardState,
  Identity,
  Image,
} from '../../src/storage/messages.ts'
import { packEvents } from '../../src/storage/records.ts'
import { packChanges } from '../../src/storage/rows.ts'
import { frames, CommandWriter, type Command } from '../../src/store/command.ts'
import type { StoreEvent } from '../../src/store/event.ts'
import { Store, type StoreState } from '../../src/store/store.ts'
import type { Plan, Step } from './plan.ts'

// All that crash images know of the form in which the disk takes batches and gives them back.

/** Small, so that events are forgotten as well. */
export const HISTORY = 30
const PACK_BYTES = 400

/** How the disk is opened: packs are merged every few images. */
export function diskOptions(directory: string): DiskOptions {
  return { directory, source: 'image', mergeRows: 20 }
}

/** Term and vote. */
export type Vote = HardState

/** Of a member that has voted for nobody yet. */
export const UNVOTED: Vote = { term: 0, vote: '0', isDamaged: false }

const IDENTITY: Identity = { memberId: 'ce2a822cea30bfca', clusterId: '7e27652122e8b2ae' }

/** The entry behind another one; `before` is undefined for the first of all, `request` for one of `ownKind`. */
export function entryOf(
  before: Entry | undefined,
  term: number,
  request: Command | undefined,
  ownKind: 'noop' | 'conf' = 'noop',
): Entry {
  const index = (before?.index ?? 0) + 1
  const kind = request === undefined ? ownKind : 'request'
  const id = request === undefined ? '' : index.toString(16)
  const data = request === undefined ? new Uint8Array() : bytesOf(request)
  const entry = { index, term, kind, id, data } as const
  return { ...entry, chain: entryChain(before?.chain ?? 0, entry) }
}

function bytesOf(request: Command): Buffer {
  const writer = new CommandWriter()
  writer.append(request)
  const [data] = [...frames(writer.take())]
  if (data === undefined) throw new Error('a command without bytes')
  return Buffer.from(data)
}

/** Everything that must be the same again. */
interface Content {
  /** Nothing was ever written. */
  readonly isNew: boolean
  readonly vote: Vote
  /** Index of the entry before the first one. */
  readonly base: number
  readonly last: number
  readonly entries: readonly Entry[]
  readonly applied: number
  /** Of the store at `applied`. */
  readonly content: string
}

/** One short text for all of it: equal texts, equal disks. */
export function stateOf({ isNew, vote, base, last, entries, applied, content }: Content): string {
  const log = entries.map(({ index, term, kind, id, data, chain }) =>
    [index, term, kind, id, digest(data), chain].join(' '),
  )
  return [
    isNew ? 'new' : `term ${vote.term} vote ${vote.vote}`,
    `log ${base + 1} to ${last} ${digest(log.join())}`,
    `store at ${applied} ${digest(content)}`,
  ].join(', ')
}

function digest(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex').slice(0, 12)
}

/** Everything that a client could tell two stores apart by. */
export function contentOf(store: Store): string {
  const { history } = store
  return JSON.stringify({
    index: store.index,
    rows: [...store.rows()].map((row) => JSON.stringify(row)).toSorted(),
    stats: store.statsJson(),
    events: packEvents(eventsFrom(store, history.first)),
    nextExpiry: store.nextExpiry,
  })
}

function eventsFrom({ history, index: last }: Store, first: number): StoreEvent[] {
  const events: StoreEvent[] = []
  for (let index = Math.max(first, history.first); index <= last; index += 1) {
    const event = history.at(index)
    if (event !== undefined) events.push(event)
  }
  return events
}

/** What a start found, as `stateOf` has it; or why its rows do not make a store, which no plan has. */
export function recoveredState(recovered: Recovered): string {
  const { identity, hard, base, lastIndex, applied } = recovered.loaded
  return stateOf({
    isNew: identity === undefined,
    vote: hard,
    base: base.index,
    last: lastIndex,
    entries: recovered.entries,
    applied,
    content: contentFound(recovered),
  })
}

function contentFound(recovered: Recovered): string {
  try {
    return contentOf(storeOf(recovered))
  } catch (error) {
    return `no store: ${String(error)}`
  }
}

function storeOf({ loaded, rows, events }: Recovered): Store {
  const store = new Store({ historySize: HISTORY })
  const { stats, storeIndex: index, count } = loaded
  if (stats !== undefined) store.load({ index, count, stats }, rows, events)
  return store
}

function placeOf({ index, term, chain }: Place): Place {
  return { index, term, chain }
}

/** Makes batches of a plan's steps, from those on that a start did not find. */
export class BatchMaker {
  readonly #plan: Plan
  #store: Store
  #applied: number
  /** Index of the last event that the disk was given. */
  #event: number

  constructor(plan: Plan, recovered: Recovered) {
    this.#plan = plan
    this.#store = storeOf(recovered)
    this.#applied = recovered.loaded.applied
    this.#event = recovered.loaded.storeIndex
  }

  /** Steps must come in their order. */
  batch(step: Step): Batch {
    const { seq, entries, vote, commit, compactTo, install } = step
    if (install !== undefined) this.#restart()
    return {
      seq,
      entries: packEntries(entries),
      firstIndex: entries[0]?.index ?? 0,
      hard: vote,
      commit,
      identity: seq === 1 ? IDENTITY : undefined,
      compactTo,
      install: install && placeOf(install),
      ...this.#rows(step),
    }
  }

  /** The store of a member that has all entries: everything in it is new to the disk. */
  #restart(): void {
    this.#store = new Store({ historySize: HISTORY })
    this.#applied = 0
    this.#event = 0
  }

  #rows({ rows, commit }: Step): Pick<Batch, 'packs' | 'events' | 'image'> {
    if (rows === 'none') return { packs: [], events: [], image: undefined }
    for (; this.#applied < commit; this.#applied += 1) {
      const request = this.#plan.committed[this.#applied]
      if (request !== undefined) this.#store.apply(request)
    }
    const { tree, state } = this.#store.takeChanges()
    const packs = packChanges(tree, PACK_BYTES)
    const events = this.#events(rows === 'image')
    return { packs, events, image: rows === 'image' ? this.#image(state) : undefined }
  }

  /** Ahead of an image a part of them, as of those that are more than a row. */
  #events(all: boolean): EventRow[] {
    const left = eventsFrom(this.#store, this.#event + 1)
    const events = all ? left : left.slice(0, Math.ceil(left.length / 2))
    const last = events.at(-1)?.index
    if (last === undefined) return []
    this.#event = last
    return [{ last, body: packEvents(events) }]
  }

  #image(state: StoreState): Image {
    const { history, index: storeIndex } = this.#store
    return {
      applied: this.#applied,
      storeIndex,
      count: state.count,
      stats: state.stats,
      eventFloor: history.first,
    }
  }
}
