import { setTimeout as delay } from 'node:timers/promises'
import type { Random } from '../helpers/random.ts'
import type { Cluster } from './cluster.ts'
import { drawFaults, nameOf, type Cut, type Fault, type FaultKind, type Who } from './faults.ts'
import type { Member } from './member.ts'
import { replaceMember } from './membership.ts'

/** How a nemesis works; `note` hears what it does. */
export interface NemesisOptions {
  readonly cluster: Cluster
  readonly random: Random
  readonly kinds: readonly FaultKind[]
  readonly note: (what: string) => void
}

/** Between two faults that are combined (correctness.md 4.6). */
const APART_MS = 3_000
const QUIET_MS_MAX = 3_000
/** correctness.md 4.4. */
const RECOVERY_MS = 30_000

/** Breaks a cluster and makes it whole again, as its random source says. */
export class Nemesis {
  readonly #cluster: Cluster
  readonly #random: Random
  readonly #kinds: readonly FaultKind[]
  readonly #note: (what: string) => void
  /** How often each kind of fault was there. */
  readonly counts = new Map<string, number>()
  /** How long members took at most until all served again. */
  slowestRecoveryMs = 0
  /** Started with a variable that only a new start takes away. */
  readonly #slowed = new Set<Member>()

  constructor({ cluster, random, kinds, note }: NemesisOptions) {
    this.#cluster = cluster
    this.#random = random
    this.#kinds = kinds
    this.#note = note
  }

  /**
   * One fault after the other until `signal` aborts; then everything is whole.
   * @throws TrialError when a whole cluster does not serve again
   */
  async run(signal: AbortSignal): Promise<void> {
    await pause(QUIET_MS_MAX, signal)
    while (!signal.aborted && this.#kinds.length > 0) {
      const faults = drawFaults(this.#random, this.#kinds)
      for (const [n, fault] of faults.entries()) {
        if (n > 0) await pause(APART_MS, signal)
        await this.#break(fault)
      }
      await pause(Math.max(...faults.map(({ holdMs }) => holdMs)), signal)
      await this.heal()
      // Sometimes the next fault meets a cluster that is not well yet.
      if (!this.#random.chance(0.3)) await this.#recover(signal)
      await pause(this.#random.int(0, QUIET_MS_MAX), signal)
    }
  }

  async #recover(signal: AbortSignal): Promise<void> {
    const begun = performance.now()
    await this.#cluster.untilServing(RECOVERY_MS, signal)
    this.slowestRecoveryMs = Math.max(this.slowestRecoveryMs, performance.now() - begun)
  }

  async #break(fault: Fault): Promise<void> {
    this.counts.set(fault.type, (this.counts.get(fault.type) ?? 0) + 1)
    if (fault.type === 'partition') {
      await this.#cut(fault.cut)
      return
    }
    const members = await this.#pick(fault.who)
    this.#note(`${nameOf(fault)}: ${members.map(({ name }) => name).join(' ')}`)
    switch (fault.type) {
      case 'crash':
        await Promise.all(members.map((member) => member.kill()))
        return
      case 'pause':
        for (const member of members) member.pause()
        return
      case 'clock':
        for (const member of members) await member.turnClock(fault.offsetMs)
        return
      case 'disk-full':
        for (const { room } of members) await room.fillDisk()
        return
      case 'membership':
        for (const member of members) await replaceMember(this.#cluster, member, RECOVERY_MS)
        return
      case 'slow-disk': {
        const name = this.#cluster.program.hooks?.diskDelayMs
        if (name === undefined) return
        for (const member of members) {
          this.#slowed.add(member)
          await member.kill()
          await member.start({ [name]: String(fault.delayMs) })
        }
        return
      }
    }
  }

  async #pick(who: Who): Promise<Member[]> {
    const { members } = this.#cluster
    switch (who) {
      case 'leader': {
        const leaders = await this.#cluster.leaders()
        return [this.#random.pick(leaders.length > 0 ? leaders : members)]
      }
      case 'any':
        return [this.#random.pick(members)]
      case 'majority':
        return this.#shuffled().slice(0, (members.length >> 1) + 1)
      case 'all':
        return [...members]
    }
  }

  #shuffled(): Member[] {
    return this.#cluster.members
      .map((member) => ({ member, order: this.#random.next() }))
      .toSorted((left, right) => left.order - right.order)
      .map(({ member }) => member)
  }

  async #cut(cut: Cut): Promise<void> {
    const { members } = this.#cluster
    const [first = this.#random.pick(members), ...rest] = this.#shuffled()
    const [leader = first] = cut.includes('leader') ? await this.#pick('leader') : []
    const others = members.filter((member) => member !== leader)
    const block = async (from: readonly Member[], to: readonly Member[]): Promise<void> => {
      const names = (list: readonly Member[]) => list.map(({ name }) => name).join(' ')
      this.#note(`partition (${cut}): nothing from ${names(from)} to ${names(to)}`)
      for (const one of from) for (const other of to) await one.room.block(other.room)
    }
    switch (cut) {
      case 'leader off':
        await block([leader], others)
        await block(others, [leader])
        return
      case 'any off':
        await block([first], rest)
        await block(rest, [first])
        return
      case 'halves': {
        const half = this.#random.int(1, members.length - 1)
        const [left, right] = [[first, ...rest].slice(0, half), [first, ...rest].slice(half)]
        await block(left, right)
        await block(right, left)
        return
      }
      case 'nothing from leader':
        await block([leader], others)
        return
      case 'nothing to leader':
        await block(others, [leader])
        return
      case 'one way':
        await block([first], rest.slice(0, 1))
        return
    }
  }

  /** Whatever is broken is whole again, whoever is down is started. */
  async heal(): Promise<void> {
    const { members, program } = this.#cluster
    this.#note('heal')
    for (const member of members) {
      await member.room.unblock()
      await member.room.emptyDisk()
      member.resume()
      if (program.hooks !== undefined) await member.turnClock(0)
      if (this.#slowed.delete(member)) await member.kill()
      await member.start()
    }
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined)
}
