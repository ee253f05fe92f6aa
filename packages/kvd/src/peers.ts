import type { Logger } from '@flotilla/daemon'
import type { Traffic } from './http/context.ts'
import type { Roster } from './membership/roster.ts'
import type { MemberId, Message, MessageOf } from './raft/types.ts'
import type { Birth, Network } from './replica/options.ts'
import type { Identity } from './storage/messages.ts'
import type { DiskSnapshot } from './storage/disk.ts'
import { Acceptor } from './transport/acceptor.ts'
import { greetingHeaders, REMOVED, type Greeting, type Host } from './transport/handshake.ts'
import { Seldom } from './seldom.ts'
import { SnapshotReceiver, type Snapshot } from './transport/snapshot-receiver.ts'
import type { DialOptions } from './tls/tls-identity.ts'
import { sendSnapshot } from './transport/snapshot-sender.ts'
import { AppendStats } from './transport/traffic.ts'
import { Transport } from './transport/transport.ts'

/** Of the peers' protocol; a member understands all from `MIN_VERSION` on. */
const VERSION = '1.0.0'
const MIN_VERSION = '1.0.0'

export interface PeersOptions {
  readonly identity: Identity
  readonly incarnation: number
  readonly peerURLs: readonly string[]
  readonly roster: Roster
  /** Who is there as long as the log does not tell, or may have lost what it told. */
  readonly first: Birth['peers']
  readonly historySize: number
  /** How to dial https URLs. */
  readonly tls: () => DialOptions
  readonly electionMs: number
  readonly logger: Logger
  readonly nowMs: () => number
  readonly random: () => number
}

/** Who takes what the peers say. */
export interface PeersListener {
  receive(messages: readonly Message[]): void
  unreachable(id: MemberId): void
  /** It does not speak any more. */
  silent(id: MemberId): void
  unsent(message: Message): void
  install(snapshot: Snapshot): void
  /** The others do not let this member in any more: it was removed. */
  removed(): void
  /** This member waits for the others to make it whole, and may not know who they are. */
  isDamaged(): boolean
}

/** The other members: ways to them and from them, as the roster names them. */
export class Peers implements Network, Traffic {
  readonly acceptor: Acceptor
  readonly snapshots: SnapshotReceiver
  readonly #options: PeersOptions
  readonly #transport: Transport
  readonly #greeting: Omit<Greeting, 'to'>
  readonly #stats = new AppendStats(() => performance.now())
  readonly #connectedMs = new Map<MemberId, number>()
  readonly #dialled = new Seldom()
  readonly #dialling = new Seldom()
  /** How often a snapshot did not arrive: the next try takes the next URL. */
  readonly #snapshotFailures = new Map<MemberId, number>()
  #listener: PeersListener | undefined

  constructor(options: PeersOptions) {
    this.#options = options
    const { identity, incarnation, logger } = options
    const { memberId: id, clusterId } = identity
    const host: Host = {
      clusterId,
      id,
      version: VERSION,
      minVersion: MIN_VERSION,
      isMember: (from) => this.#urls().has(from),
      isRemoved: (from) => options.roster.isRemoved(from),
      incarnationOf: (from) => this.acceptor.incarnationOf(from),
    }
    this.acceptor = new Acceptor({
      host,
      received: (messages) => {
        for (const message of messages) this.#stats.received(message)
        this.#listener?.receive(messages)
      },
      restarted: (from) => this.#listener?.unreachable(from),
      gone: (from) => this.#listener?.silent(from),
      refused: (greeting, { text }) => this.#rejected(greeting?.from ?? 'unknown', text),
      broken: (from, problem) => logger.error(`rafthttp: peer ${from}: ${problem}`),
    })
    this.snapshots = new SnapshotReceiver({
      host,
      historySize: options.historySize,
      received: (snapshot) => this.#listener?.install(snapshot),
      failed: (from, problem) =>
        logger.warn(`rafthttp: the snapshot of ${from} was not taken: ${problem}`),
    })
    const { peerURLs, electionMs, random } = options
    const versions = { version: VERSION, minVersion: MIN_VERSION }
    this.#greeting = { clusterId, from: id, ...versions, peerURLs, incarnation }
    this.#transport = new Transport({
      greeting: this.#greeting,
      electionMs,
      tls: options.tls,
      random,
      failed: (to, error) => this.#failed(to, error),
      unreachable: (to) => this.#listener?.unreachable(to),
      unsent: (message) => this.#listener?.unsent(message),
      connected: (to) => this.#connected(to),
      disconnected: (to) => this.#disconnected(to),
      refused: (to, status, text) => this.#refused(to, status, text),
    })
  }

  attach(listener: PeersListener): void {
    this.#listener = listener
    this.follow()
  }

  /** Members came, went or moved. */
  follow(): void {
    const urls = new Map(this.#urls())
    urls.delete(this.#options.identity.memberId)
    this.#transport.setPeers(urls)
    this.acceptor.follow()
    for (const known of [this.#connectedMs, this.#snapshotFailures])
      for (const id of known.keys()) if (!urls.has(id)) known.delete(id)
  }

  #urls(): Birth['peers'] {
    const { roster, first } = this.#options
    const members = roster.members()
    if (members.length === 0) return first
    const urls = new Map(members.map(({ id, peerURLs }) => [id, peerURLs]))
    if (!this.isDamaged) return urls
    for (const [id, claimed] of first)
      if (!roster.isRemoved(id)) urls.set(id, [...new Set([...claimed, ...(urls.get(id) ?? [])])])
    return urls
  }

  get isDamaged(): boolean {
    return this.#listener?.isDamaged() === true
  }

  send(message: Message): void {
    this.#stats.sent(message)
    this.#transport.send(message)
  }

  flush(): void {
    this.#transport.flush()
  }

  async sendSnapshot(offer: MessageOf<'snapOffer'>, snapshot: DiskSnapshot): Promise<void> {
    const { from, to, term, incarnation } = offer
    const urls = this.#urls().get(to) ?? []
    const failures = this.#snapshotFailures.get(to) ?? 0
    const url = urls[failures % Math.max(1, urls.length)]
    if (url === undefined) throw new Error('it has no peer URL')
    const headers = greetingHeaders({ ...this.#greeting, to })
    const { tls } = this.#options
    const title = { from, to, term, incarnation, ...snapshot.head }
    try {
      await sendSnapshot({ url, headers, tls }, title, snapshot)
    } catch (error) {
      this.#snapshotFailures.set(to, failures + 1)
      throw error
    }
  }

  connectedSince(id: MemberId): number | undefined {
    return this.#connectedMs.get(id)
  }

  #connected(id: MemberId): void {
    this.#dialling.forget(id)
    this.#connectedMs.set(id, this.#options.nowMs())
    this.#options.logger.info(`rafthttp: the connection with ${id} became active`)
  }

  #disconnected(id: MemberId): void {
    if (this.#connectedMs.delete(id))
      this.#options.logger.warn(`rafthttp: the connection with ${id} became inactive`)
    this.#stats.failed(id)
    this.#listener?.unreachable(id)
  }

  /** Messages that could not be sent. */
  get dropped(): number {
    return this.#transport.dropped
  }

  followers(): Record<string, object> {
    const { roster, identity } = this.#options
    const ids = roster.members().map(({ id }) => id)
    return this.#stats.followers(ids.filter((id) => id !== identity.memberId))
  }

  self(): object {
    return this.#stats.self()
  }

  /** A member that is down is dialled each second, under one address after the other. */
  #failed(id: MemberId, { message }: Error): void {
    if (this.#dialling.isNews(id, message, performance.now()))
      this.#options.logger.warn(`rafthttp: failed to dial ${id}: ${message}`)
  }

  #refused(id: MemberId, status: number, text: string): void {
    if (status === 410 && text === REMOVED) this.#listener?.removed()
    else if (this.#dialling.isNews(id, text, performance.now()))
      this.#options.logger.warn(`rafthttp: peer ${id} refused this member: ${text}`, { status })
  }

  /** Whoever is not let in comes again each second. */
  #rejected(id: string, text: string): void {
    if (this.#dialled.isNews(id, text, performance.now()))
      this.#options.logger.warn(
        `rafthttp: rejected the stream from peer ${id} since it was: ${text}`,
      )
  }

  close(): void {
    this.#transport.close()
    this.acceptor.close()
  }
}
