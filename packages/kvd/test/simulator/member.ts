import { Core } from '../../src/raft/core.ts'
import type { Entry, Message, Proposal, Ready } from '../../src/raft/types.ts'
import { command } from '../../src/store/command.ts'
import type { Random } from '../helpers/random.ts'
import type { Checker } from './checker.ts'
import { encodeRequest, hashText, Machine, removedBy, stampRequest } from './machine.ts'
import type { MemberClock } from './member-clock.ts'
import type { Parcel } from './network.ts'
import type { Plan } from './plan.ts'
import { VirtualDisk, type DiskBatch, type Snapshot } from './virtual-disk.ts'

export interface MemberPorts {
  readonly plan: Plan
  readonly random: Random
  readonly checker: Checker
  send(parcel: Parcel): void
  /** The disk has something to do: its oldest batch becomes durable some time later. */
  diskWanted(member: Member): void
  /** There is no room for the oldest batch: it is tried again some time later. */
  diskFull(member: Member): void
  /** Something is to be applied some time later. */
  applyWanted(member: Member): void
  /** A snapshot leaves: whether it arrives is looked at later. */
  snapshotSent(member: Member, to: string): void
  /** Something that a client waits for. */
  answered(member: Member, id: string, index: number): void
  readable(member: Member, id: string, index: number): void
  lost(member: Member, id: string, why: 'overwritten' | 'dropped'): void
}

/** Ticks between two looks at what is due. */
const SYNC_TICKS = 5
/** Ticks between two looks at what the disk does not know to be committed. */
const SETTLE_TICKS = 50

interface Written {
  readonly batch: DiskBatch
  readonly after: readonly Message[]
}

/** A process: the core, and around it what carries out its wishes. */
export class Member {
  readonly id: string
  readonly clock: MemberClock
  readonly disk: VirtualDisk
  readonly #ports: MemberPorts
  core: Core | undefined
  machine: Machine
  isPaused = false
  /** What is committed is not applied: the thread for it has something else to do. */
  isApplyHeld = false
  /** Of the entry that removed it for good. */
  goneIndex: number | undefined
  incarnation = 0
  #written: Written[] = []
  #lazyHard: Ready['hard']
  /** The configuration has changed: that this is committed must not wait for another batch. */
  #mustSettle = false
  #staged: Snapshot | undefined
  #reads: { readonly index: number; readonly ids: readonly string[] }[] = []
  #image: Snapshot
  #toApply: Entry[] = []
  #ticks = 0

  constructor(
    id: string,
    first: { readonly log: readonly Entry[]; readonly clock: MemberClock },
    ports: MemberPorts,
  ) {
    const start = Machine.empty()
    this.id = id
    this.clock = first.clock
    this.#ports = ports
    this.disk = new VirtualDisk(start, first.log, ports.plan.damage)
    this.#image = start
    this.machine = new Machine(start)
  }

  get isUp(): boolean {
    return this.core !== undefined
  }

  /** Starts from what the disk has. */
  start(): void {
    const { hard, image, offset, entries } = this.disk.durable
    const isDamaged = hard.isDamaged || this.disk.isBehindMark
    const { plan, random, checker } = this.#ports
    this.incarnation += 1
    this.machine = new Machine(image)
    this.#image = image
    this.core = new Core({
      id: this.id,
      electionTicks: plan.electionTicks,
      heartbeatTicks: 1,
      random: () => random.next(),
      clock: () => this.clock.wallMs,
      elapsed: () => this.clock.elapsedMs,
      stamp: stampRequest,
      chain: chainOf,
      removes: removedBy,
      incarnation: this.incarnation,
      maxMessageBytes: plan.maxMessageBytes,
      window: { messages: plan.windowMessages, bytes: 1 << 20 },
      maxUncommittedBytes: 1 << 16,
      maxApplyBytes: 400,
      start: {
        hard: { ...hard, isDamaged },
        conf: image.conf,
        log: { ...offset, entries },
        applied: image.index,
      },
    })
    checker.started(this)
    this.pump()
  }

  /** It has lost what was durable, and has not been made whole since. */
  get isDamaged(): boolean {
    const { disk, core } = this
    return core?.view.isDamaged ?? (disk.isBehindMark || disk.durable.hard.isDamaged)
  }

  /** Power is lost. */
  crash(isWhole: (batch: number) => boolean = () => true): void {
    this.disk.crash(isWhole)
    this.core = undefined
    this.#written = []
    this.#lazyHard = undefined
    this.#mustSettle = false
    this.#staged = undefined
    this.#reads = []
    this.#toApply = []
    this.isPaused = false
    this.isApplyHeld = false
  }

  /** Somebody's connection has ended. */
  silent(id: string): void {
    if (!this.isPaused) this.core?.silent(id)
  }

  tick(): void {
    this.core?.tick()
    this.#ticks += 1
    if (this.#ticks % SYNC_TICKS === 0) this.#letExpire()
    this.pump()
    if (this.#ticks % SETTLE_TICKS === 0) this.#settle()
  }

  /** A leader proposes to let expire what is due. */
  #letExpire(): void {
    const due = this.machine.store.nextExpiry
    if (this.core?.view.role !== 'leader' || due === undefined) return
    const time = this.core.clusterNow()
    if (due > time) return
    this.core.propose({
      kind: 'request',
      id: '',
      data: encodeRequest(command({ op: 'sync', time })),
    })
  }

  receive({ message, snapshot }: Parcel): void {
    if (this.core === undefined || this.machine.removed.has(message.from)) return
    if (snapshot !== undefined) this.#staged = snapshot
    this.core.step(message)
    this.pump()
  }

  propose(proposal: Proposal): boolean {
    const result = this.core?.propose(proposal)
    this.pump()
    return result === 'taken'
  }

  read(id: string): boolean {
    const result = this.core?.readIndex(id)
    this.pump()
    return result === 'taken'
  }

  /** The oldest batch at the disk is durable. */
  synced(): void {
    const { core } = this
    if (core === undefined) return
    if (this.disk.isFull) {
      this.#ports.diskFull(this)
      return
    }
    const written = this.#written.shift()
    if (written === undefined) return
    this.disk.sync()
    this.#release(core, written)
    this.pump()
  }

  #release(core: Core, { batch, after }: Written): void {
    if (batch.install !== undefined) {
      this.machine = new Machine(batch.install)
      this.#image = batch.install
      this.#ports.checker.installed(this, batch.install)
    }
    if (batch.seq > 0) core.persisted(batch.seq)
    for (const message of after)
      if (message.to === this.id) core.step(message)
      else this.#send(message)
  }

  /** Carries out what the core wants until it wants nothing more. */
  pump(): void {
    const { core } = this
    if (core === undefined) return
    while (this.core === core && core.hasReady()) this.#carryOut(core, core.ready())
    if (this.core !== core) return
    this.#ports.checker.look(this)
    if (this.#mustSettle) this.#settle()
  }

  #carryOut(core: Core, ready: Ready): void {
    this.#ports.checker.ready(this, ready)
    for (const message of ready.now) this.#send(message)
    this.#write(core, ready)
    for (const { id, why } of ready.lost) this.#ports.lost(this, id, why)
    this.#toApply.push(...ready.committed)
    this.#reads.push(...ready.reads)
    if (this.isApplyHeld) return
    if (!this.#ports.plan.slowApply) this.#applyAll(core)
    else if (ready.committed.length > 0) this.#ports.applyWanted(this)
    this.#serveReads(core)
  }

  /** Applies what was committed before this was planned. */
  applyLater(): void {
    const { core } = this
    if (core === undefined || this.isApplyHeld) return
    this.#applyAll(core)
    this.#serveReads(core)
    this.pump()
  }

  /** Applying goes on. */
  releaseApply(): void {
    this.isApplyHeld = false
    this.applyLater()
  }

  #applyAll(core: Core): void {
    const entries = this.#toApply
    this.#toApply = []
    // A snapshot may have overtaken them.
    for (const entry of entries) if (entry.index > core.view.log.applied) this.#apply(core, entry)
  }

  #write(core: Core, ready: Ready): void {
    if (ready.hard !== undefined) this.#lazyHard = ready.hard
    const install = ready.install === undefined ? undefined : this.#staged
    const image = this.#takeImage(core)
    const batch: DiskBatch = {
      seq: ready.seq,
      hard: this.#lazyHard,
      entries: ready.entries,
      install,
      image,
      compactTo: (image?.index ?? 0) - this.#ports.plan.keepEntries,
    }
    const written = { batch, after: ready.after }
    if (!ready.isDurable && image === undefined && this.#written.length === 0) {
      this.#release(core, written)
      return
    }
    this.#lazyHard = undefined
    this.#mustSettle = false
    this.#written.push(written)
    this.disk.write(batch)
    this.#ports.diskWanted(this)
  }

  /** What is committed is told to a disk that has nothing else to do. */
  #settle(): void {
    if (this.core === undefined || this.#lazyHard === undefined || this.#written.length > 0) return
    const nothing = { entries: [], install: undefined, image: undefined, compactTo: 0 }
    const batch: DiskBatch = { seq: 0, hard: this.#lazyHard, ...nothing }
    this.#lazyHard = undefined
    this.#mustSettle = false
    this.#written.push({ batch, after: [] })
    this.disk.write(batch)
    this.#ports.diskWanted(this)
  }

  #takeImage(core: Core): Snapshot | undefined {
    const { plan } = this.#ports
    const { log } = core.view
    if (this.machine.index - this.#image.index < plan.imageEvery) return undefined
    const image = this.snapshot(core)
    this.#image = image
    core.compact(Math.min(log.applied, image.index - plan.keepEntries))
    return image
  }

  snapshot(core: Core): Snapshot {
    const { log } = core.view
    const { index } = this.machine
    return this.machine.snapshot(log.term(index) ?? 0, log.chain(index) ?? 0)
  }

  #send(message: Message): void {
    if (message.type !== 'snapOffer') {
      this.#ports.send({ message, snapshot: undefined })
      return
    }
    const { core } = this
    if (core === undefined) return
    const snapshot = this.snapshot(core)
    const { index, term, chain, conf } = snapshot
    this.#ports.send({ message: { ...message, meta: { index, term, chain, conf } }, snapshot })
    this.#ports.snapshotSent(this, message.to)
  }

  #apply(core: Core, entry: Entry): void {
    const change = this.machine.apply(entry)
    if (change !== undefined) {
      this.machine.conf = core.applyConf(change)
      this.#mustSettle = true
    }
    core.applied(entry.index)
    core.syncedTo(this.machine.store.syncTime)
    this.#ports.checker.applied(this, entry)
    if (entry.id !== '') this.#ports.answered(this, entry.id, entry.index)
    if (change?.type === 'remove' && change.id === this.id) this.goneIndex = entry.index
  }

  #serveReads(core: Core): void {
    const { applied } = core.view.log
    const due = this.#reads.filter(({ index }) => index <= applied)
    if (due.length === 0) return
    this.#reads = this.#reads.filter(({ index }) => index > applied)
    for (const { index, ids } of due) for (const id of ids) this.#ports.readable(this, id, index)
  }
}

export function chainOf(before: number, entry: Omit<Entry, 'chain'>): number {
  let hash = hashText(`${entry.index} ${entry.term} ${entry.kind} ${entry.id}`, before)
  for (const byte of entry.data) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash >>> 0
}
