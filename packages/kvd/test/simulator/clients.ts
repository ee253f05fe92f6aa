import { command, type Command } from '../../src/store/command.ts'
import type { Random } from '../helpers/random.ts'
import type { Cluster } from './cluster.ts'
import { encodeRequest } from './machine.ts'
import type { Member } from './member.ts'

interface Waiting {
  readonly member: string
  readonly incarnation: number
  readonly client: number
  /** For reads: what was committed somewhere when it began. */
  readonly floor: number | undefined
}

const PATIENCE_IN_PEACE = 4

/** Somebody who writes and reads, one request at a time each, and gives up after a while. */
export class Clients {
  readonly #cluster: Cluster
  readonly #random: Random
  readonly #waiting = new Map<string, Waiting>()
  #requests = 0
  /** Nothing new is begun. */
  isOver = false

  constructor(cluster: Cluster, random: Random) {
    this.#cluster = cluster
    this.#random = random
    for (let client = 0; client < cluster.plan.clients; client += 1) this.#planRequest(client)
  }

  #planRequest(client: number): void {
    this.#cluster.agenda.after(this.#random.int(1, 60), () => {
      if (!this.isOver) this.#request(client)
    })
  }

  #request(client: number): void {
    const random = this.#random
    const member = random.pick([...this.#cluster.members.values()])
    this.#requests += 1
    const id = `r${this.#requests}`
    if (!member.isUp || member.isPaused) {
      this.#planRequest(client)
      return
    }
    const isRead = random.chance(0.3)
    const floor = isRead ? this.#cluster.checker.maxCommit : undefined
    const { incarnation } = member
    this.#waiting.set(id, { member: member.id, incarnation, client, floor })
    this.#cluster.note(`request ${id} at ${member.id}`)
    const isTaken = isRead
      ? member.read(id)
      : member.propose({ kind: 'request', id, data: encodeRequest(this.#command(member)) })
    if (!isTaken) {
      this.#waiting.delete(id)
      this.#planRequest(client)
      return
    }
    // A client that hears nothing asks for something else; in peace a backlog must be able to go out.
    const patience = random.int(100, 500) * (this.#cluster.isFaulty ? 1 : PATIENCE_IN_PEACE)
    this.#cluster.agenda.after(patience, () => {
      if (this.#waiting.delete(id)) this.#planRequest(client)
    })
  }

  #command(member: Member): Command {
    const random = this.#random
    const key = random.pick(['/a', '/b', '/d/x', '/d/y', '/q'])
    const time = member.clock.wallMs
    const value = `${random.int(0, 99)}`
    const op = random.pick([
      'set',
      'set',
      'create',
      'compareAndSwap',
      'delete',
      'createInOrder',
      'sync',
    ] as const)
    const expireAt = random.chance(0.3) ? time + random.int(10, 2000) : 0
    const prevValue = op === 'compareAndSwap' ? `${random.int(0, 9)}` : ''
    return command({ op, key, time, value, expireAt, prevValue, recursive: op === 'delete' })
  }

  #take(member: Member, id: string): Waiting | undefined {
    const waiting = this.#waiting.get(id)
    if (waiting?.member !== member.id || waiting.incarnation !== member.incarnation)
      return undefined
    this.#waiting.delete(id)
    this.#planRequest(waiting.client)
    return waiting
  }

  answered(member: Member, id: string, index: number): void {
    if (this.#take(member, id) !== undefined) this.#cluster.checker.answered(id, index)
  }

  readable(member: Member, id: string, index: number): void {
    const floor = this.#take(member, id)?.floor
    if (floor !== undefined) this.#cluster.checker.readServed(member, index, floor)
  }

  lost(member: Member, id: string, why: 'overwritten' | 'dropped'): void {
    this.#cluster.checker.lost(id, why)
    this.#take(member, id)
  }
}
