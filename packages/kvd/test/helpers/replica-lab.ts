import { setImmediate as turn } from 'node:timers/promises'
import type { Test } from 'tap'
import { memberId } from '../../src/cluster.ts'
import { newBirth } from '../../src/membership/birth.ts'
import type { MemberId, Message } from '../../src/raft/types.ts'
import type { Birth, Network, ReplicaOptions } from '../../src/replica/options.ts'
import { Replica } from '../../src/replica/replica.ts'
import { Store } from '../../src/store/store.ts'
import { silent } from './alone.ts'
import { NOW } from './commands.ts'
import { FakeDisk } from './fake-disk.ts'

const TOKEN = 'lab'
export const TICK_MS = 10
export const ELECTION_TICKS = 10

/** One member of the lab. */
export interface LabMember {
  readonly id: MemberId
  readonly replica: Replica
  readonly store: Store
  readonly disk: FakeDisk
}

/** Where a member of the lab would be reached. */
export function urlOf(name: string): string {
  return `http://${name}:2380`
}

type LabOptions = Pick<Partial<ReplicaOptions>, 'snapshotCount' | 'gatherMs'>

/** Several replicas in this process, each over a disk in memory, between them a network that the test may cut. */
export class ReplicaLab {
  /** The wall clock of all: it stands still unless the test moves it. */
  readonly clock = { now: NOW }
  readonly #tt: Test
  readonly #options: LabOptions
  readonly #members = new Map<string, LabMember>()
  readonly #cut = new Set<string>()
  readonly #clusterId: string

  /** Members who begin a cluster together. They run until the test ends. */
  constructor(tt: Test, names: readonly string[], options: LabOptions = {}) {
    this.#tt = tt
    this.#options = options
    const initialCluster = new Map(names.map((name) => [name, [urlOf(name)]]))
    const births = names.map(
      (name) => [name, newBirth({ name, initialCluster, token: TOKEN })] as const,
    )
    this.#clusterId = births[0]?.[1].identity.clusterId ?? ''
    for (const [name, birth] of births) this.#add(name, birth)
    for (const { replica } of this.members) replica.start()
    // Together: a member that waits for others could not close after them.
    tt.teardown(async () => await Promise.all(this.members.map(({ replica }) => replica.close(0))))
  }

  get members(): readonly LabMember[] {
    return [...this.#members.values()]
  }

  member(name: string): LabMember {
    const member = this.#members.get(name)
    if (member === undefined) throw new Error(`no member ${name}`)
    return member
  }

  /** Starts a member that was added to the cluster under this id. */
  join(name: string, id: MemberId): LabMember {
    const identity = { memberId: id, clusterId: this.#clusterId }
    const peers = new Map([...this.#members].map(([other, member]) => [member.id, [urlOf(other)]]))
    const member = this.#add(name, { identity, entries: [], peers })
    member.replica.start()
    return member
  }

  #add(name: string, birth: Birth): LabMember {
    const { memberId: id } = birth.identity
    const store = new Store({ historySize: 100 })
    const disk = new FakeDisk({ isInstant: true })
    const started = performance.now()
    const replica = new Replica({
      memberId: id,
      store,
      disk,
      network: this.#networkOf(name),
      birth,
      forcesAlone: undefined,
      logger: silent,
      file: `/${name}/kvd.db`,
      snapshotCount: 10_000,
      ...this.#options,
      tickMs: TICK_MS,
      electionTicks: ELECTION_TICKS,
      requestTimeoutMs: 7000,
      nowMs: () => this.clock.now,
      wallMs: () => this.clock.now,
      elapsedMs: () => performance.now() - started,
      random: Math.random,
      onFailure: (error) => this.#tt.fail(error.message),
      hasDiverged: false,
      onBroken: ({ error }) => this.#tt.fail(error.message),
    })
    const member = { id, replica, store, disk }
    this.#members.set(name, member)
    return member
  }

  #networkOf(from: string): Network {
    const nameOf = (id: MemberId): string | undefined =>
      [...this.#members].find(([, member]) => member.id === id)?.[0]
    const isThere = (to: string): boolean => !this.#cut.has(from) && !this.#cut.has(to)
    return {
      send: (message: Message) => {
        const to = nameOf(message.to)
        if (to === undefined || !isThere(to)) return
        setImmediate(() => isThere(to) && this.member(to).replica.receive([message]))
      },
      flush: () => undefined,
      sendSnapshot: async () => await Promise.reject(new Error('no snapshots in the lab')),
      connectedSince: (id) => {
        const to = nameOf(id)
        return to !== undefined && isThere(to) ? 0 : undefined
      },
    }
  }

  /** Nobody hears this member any more, nor is heard by it. */
  cut(name: string): void {
    this.#cut.add(name)
  }

  heal(): void {
    this.#cut.clear()
  }

  /** Waits for a leader that all of these members, or all that are not cut off, know. Gives its name. */
  async leader(): Promise<string> {
    for (;;) {
      const there = [...this.#members].filter(([name]) => !this.#cut.has(name))
      const [lead, ...others] = new Set(there.map(([, { replica }]) => replica.lead))
      const name = there.find(([, { id, replica }]) => id === lead && replica.isLeader)?.[0]
      if (name !== undefined && others.length === 0) return name
      await turn()
    }
  }

  /** Names of all that do not lead. */
  async followers(): Promise<string[]> {
    const leader = await this.leader()
    return [...this.#members.keys()].filter((name) => name !== leader)
  }
}

/** The id that a first member of the lab has. */
export function idOf(name: string): MemberId {
  return memberId([urlOf(name)], TOKEN)
}
