import type { Message } from '../../src/raft/types.ts'
import type { Random } from '../helpers/random.ts'
import type { Agenda } from './agenda.ts'
import type { Plan } from './plan.ts'
import type { Snapshot } from './virtual-disk.ts'

/** A message with the snapshot that belongs to it, if one does. */
export interface Parcel {
  readonly message: Message
  readonly snapshot: Snapshot | undefined
}

/** Loses, doubles, delays and reorders what members send to each other. */
export class Network {
  readonly #agenda: Agenda
  readonly #random: Random
  readonly #plan: Plan
  readonly #cuts = new Set<string>()
  readonly #deliver: (parcel: Parcel) => void
  isCalm = false

  constructor(agenda: Agenda, random: Random, plan: Plan, deliver: (parcel: Parcel) => void) {
    this.#agenda = agenda
    this.#random = random
    this.#plan = plan
    this.#deliver = deliver
  }

  get cuts(): number {
    return this.#cuts.size
  }

  cut(from: string, to: string): void {
    this.#cuts.add(`${from} ${to}`)
  }

  heal(): void {
    this.#cuts.clear()
  }

  isCut(from: string, to: string): boolean {
    return this.#cuts.has(`${from} ${to}`)
  }

  send(parcel: Parcel): void {
    const { from, to } = parcel.message
    const random = this.#random
    if (this.isCut(from, to)) return
    if (!this.isCalm && random.chance(this.#plan.loss)) return
    // A connection never delivers twice; all but proposals must bear it even so.
    const mayDouble = !this.isCalm && parcel.message.type !== 'prop'
    const copies = mayDouble && random.chance(this.#plan.duplication) ? 2 : 1
    for (let copy = 0; copy < copies; copy += 1)
      this.#agenda.after(this.#delay(), () => {
        // A cut holds what is on its way as well.
        if (!this.isCut(from, to)) this.#deliver(parcel)
      })
  }

  #delay(): number {
    const { kind, ms } = this.#plan.delay
    const random = this.#random
    if (kind === 'constant' || this.isCalm) return ms
    if (kind === 'uniform' || !random.chance(0.05)) return random.int(0, 2 * ms)
    return random.int(0, 200)
  }
}
