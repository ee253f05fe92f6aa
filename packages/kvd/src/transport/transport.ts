import type { MemberId, Message } from '../raft/types.ts'
import type { DialOptions } from '../tls/tls-identity.ts'
import { greetingHeaders, type Greeting } from './handshake.ts'
import { Link, type LinkKind } from './link.ts'
import { MessageWriter } from './message-codec.ts'

/** Bytes waiting on a way from which on entries are dropped: they are sent again anyway. */
const BACKLOG_MAX = 4 * 1024 * 1024
/** A frame is sent when it has so many bytes, at the latest at the end of the turn. */
const FRAME_BYTES = 1024 * 1024

export interface TransportOptions {
  readonly greeting: Omit<Greeting, 'to'>
  readonly electionMs: number
  /** Of its ways; theirs unless a test says otherwise. */
  readonly deadMs?: number
  /** How to dial https URLs. */
  readonly tls?: (() => DialOptions) | undefined
  readonly random: () => number
  /** Something sent to it may be lost. */
  unreachable(id: MemberId): void
  /** This has certainly not left. */
  unsent(message: Message): void
  connected(id: MemberId): void
  disconnected(id: MemberId): void
  refused(id: MemberId, status: number, text: string): void
  /** Why a member cannot be reached: each try says so. */
  failed?(id: MemberId, error: Error): void
}

interface Peer {
  urls: readonly string[]
  readonly links: Readonly<Record<LinkKind, Link>>
  readonly frames: Readonly<Record<LinkKind, MessageWriter>>
}

/** Ways to all other members, and which message takes which. What cannot be sent is dropped. */
export class Transport {
  readonly #options: TransportOptions
  readonly #peers = new Map<MemberId, Peer>()
  readonly #toFlush = new Set<MemberId>()
  #dropped = 0

  constructor(options: TransportOptions) {
    this.#options = options
  }

  /** Messages that could not be sent. */
  get dropped(): number {
    return this.#dropped
  }

  isConnected(id: MemberId): boolean {
    return this.#peers.get(id)?.links.ctl.isOpen ?? false
  }

  /** Who is there, and where. Ways to others end. */
  setPeers(peers: ReadonlyMap<MemberId, readonly string[]>): void {
    for (const [id, { links }] of this.#peers) {
      if (peers.has(id)) continue
      this.#peers.delete(id)
      for (const link of Object.values(links)) link.close()
    }
    for (const [id, urls] of peers) {
      const peer = this.#peers.get(id)
      if (peer === undefined) this.#peers.set(id, this.#open(id, urls))
      else peer.urls = urls
    }
  }

  #open(id: MemberId, first: readonly string[]): Peer {
    const { greeting, electionMs, deadMs, random, tls } = this.#options
    const link = (kind: LinkKind): Link =>
      new Link({
        kind,
        urls: () => this.#peers.get(id)?.urls ?? first,
        headers: () => greetingHeaders({ ...greeting, to: id }),
        tls,
        dialMs: 1_000 + electionMs / 5,
        deadMs,
        random,
        opened: () => kind === 'ctl' && this.#options.connected(id),
        closed: () => {
          if (kind === 'ctl') this.#options.disconnected(id)
          else this.#options.unreachable(id)
        },
        failed: (error) => kind === 'ctl' && this.#options.failed?.(id, error),
        refused: (status, text) => kind === 'ctl' && this.#options.refused(id, status, text),
      })
    return {
      urls: first,
      links: { ctl: link('ctl'), bulk: link('bulk') },
      frames: { ctl: new MessageWriter(), bulk: new MessageWriter() },
    }
  }

  /** Leaves with the others of this turn, or is lost. */
  send(message: Message): void {
    const peer = this.#peers.get(message.to)
    const kind = kindOf(message)
    if (peer === undefined || !peer.links[kind].isOpen || peer.links[kind].backlog > BACKLOG_MAX) {
      this.#drop(message)
      return
    }
    peer.frames[kind].write(message)
    if (peer.frames[kind].length >= FRAME_BYTES) this.#flushOne(peer, kind)
    if (this.#toFlush.size === 0) setImmediate(() => this.flush())
    this.#toFlush.add(message.to)
  }

  #drop(message: Message): void {
    this.#dropped += 1
    this.#options.unsent(message)
  }

  /** Sends what was gathered. */
  flush(): void {
    for (const id of this.#toFlush) {
      const peer = this.#peers.get(id)
      if (peer === undefined) continue
      this.#flushOne(peer, 'ctl')
      this.#flushOne(peer, 'bulk')
    }
    this.#toFlush.clear()
  }

  #flushOne({ links, frames }: Peer, kind: LinkKind): void {
    if (frames[kind].length > 0) links[kind].send(frames[kind].take())
  }

  close(): void {
    this.flush()
    for (const { links } of this.#peers.values())
      for (const link of Object.values(links)) link.close()
    this.#peers.clear()
  }
}

/** What carries entries must not hold up a heartbeat. */
function kindOf({ type }: Message): LinkKind {
  return type === 'app' || type === 'prop' ? 'bulk' : 'ctl'
}
