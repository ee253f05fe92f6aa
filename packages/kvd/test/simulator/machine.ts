import { Buffer } from 'node:buffer'
import {
  CommandWriter,
  decodeCommand,
  stampCommand,
  type Command,
} from '../../src/store/command.ts'
import { Store } from '../../src/store/store.ts'
import type { Conf, ConfChange, Entry, Proposal } from '../../src/raft/types.ts'
import type { StoreEvent } from '../../src/store/event.ts'
import { textOf } from '../helpers/commands.ts'
import type { Snapshot } from './virtual-disk.ts'

const HISTORY = 8

/** A 32-bit hash of a text, going on from another one (FNV-1a). */
export function hashText(text: string, start = 0x811c9dc5): number {
  let hash = start
  for (let at = 0; at < text.length; at += 1)
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  return hash >>> 0
}

export function encodeRequest(command: Command): Uint8Array {
  const writer = new CommandWriter(256)
  writer.append(command)
  // Behind the length of the frame, which the log does not need.
  return new Uint8Array(writer.take().subarray(4))
}

export function stampRequest(proposal: Proposal, clusterMs: number): Proposal {
  stampCommand(proposal.data, clusterMs)
  return proposal
}

export function encodeConf(change: ConfChange): Uint8Array {
  return Buffer.from(JSON.stringify(change))
}

export function removedBy({ data }: Entry): string | undefined {
  const change: ConfChange = JSON.parse(Buffer.from(data).toString())
  return change.type === 'remove' ? change.id : undefined
}

/** What a member makes of the log: the v2 store, who counts, and a hash over everything that happened. */
export class Machine {
  readonly store = new Store({ historySize: HISTORY })
  /** What the last entry has brought about. */
  events: StoreEvent[] = []
  conf: Conf
  readonly removed: Set<string>
  index: number
  hash: number

  constructor(snapshot: Snapshot) {
    this.conf = snapshot.conf
    this.removed = new Set(snapshot.removed)
    this.index = snapshot.index
    this.hash = snapshot.hash
    this.store.load(snapshot.state, snapshot.rows, snapshot.events)
    this.store.watchers.add({
      key: '/',
      recursive: true,
      since: 0,
      mode: 'resumable',
      deliver: (event) => this.events.push(event),
      lost: () => undefined,
    })
  }

  /** The store before anything happened. */
  static empty(): Snapshot {
    const conf = { voters: [], learners: [] }
    const { state } = new Store({ historySize: HISTORY }).takeChanges()
    return { index: 0, term: 0, chain: 0, conf, removed: [], hash: 0, state, rows: [], events: [] }
  }

  /** Carries out an entry. A change of the configuration comes back as what it is worth here. */
  apply(entry: Entry): ConfChange | undefined {
    this.index = entry.index
    this.events = []
    if (entry.kind === 'conf') {
      const change = this.#judge(JSON.parse(Buffer.from(entry.data).toString()))
      this.hash = hashText(`${entry.index} ${entry.term} ${JSON.stringify(change)}`, this.hash)
      return change
    }
    const outcome =
      entry.kind === 'noop' ? undefined : this.store.apply(decodeCommand(Buffer.from(entry.data)))
    const text = `${entry.index} ${entry.term} ${textOf(outcome)} ${this.store.index}`
    this.hash = hashText(text, this.hash)
    return undefined
  }

  /** Every member judges alike, so an invalid change is one for nobody. */
  #judge(change: ConfChange): ConfChange {
    if (change.type === 'none') return change
    const { voters, learners } = this.conf
    const isVoter = voters.includes(change.id)
    const isKnown = isVoter || learners.includes(change.id)
    const isValid =
      change.type === 'remove'
        ? isKnown && !(isVoter && voters.length === 1)
        : !this.removed.has(change.id) && !isVoter && !(change.type === 'addLearner' && isKnown)
    if (!isValid) return { type: 'none' }
    if (change.type === 'remove') this.removed.add(change.id)
    return change
  }

  snapshot(term: number, chain: number): Snapshot {
    const { store, conf, index, hash } = this
    const { state } = store.takeChanges()
    const { history } = store
    const events = Array.from({ length: history.size }, (_, at) => history.at(history.first + at))
    return {
      index,
      term,
      chain,
      conf,
      removed: [...this.removed],
      hash,
      state,
      rows: [...store.rows()],
      events: events.filter((event) => event !== undefined),
    }
  }
}
