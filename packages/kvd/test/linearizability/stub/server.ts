import type { Random } from '../../helpers/random.ts'
import type { Agenda } from '../../simulator/agenda.ts'
import { isWrite, type Answer, type Request } from '../history.ts'
import type { Fault } from './faults.ts'
import { Tree } from './tree.ts'

/** Of the chances to do wrong, so many are taken. */
const WRONG = 0.1
const TREES_KEPT = 60
const MEMBERS = 3
const FROZEN_MS = 300

/**
 * A cluster in one object: requests take effect at one moment, local reads are answered from a past
 * state, restarts lose nothing. With a fault it breaks that promise now and then.
 */
export class StubServer {
  readonly #agenda: Agenda
  readonly #random: Random
  readonly #fault: Fault | undefined
  #tree = new Tree()
  /** Past states, the newest last. */
  readonly #past: Tree[] = []
  /** The members that answer from what was, and what that is. */
  readonly #frozen = new Map<number, Tree>()
  #isFreezing = false

  constructor(agenda: Agenda, random: Random, fault?: Fault) {
    this.#agenda = agenda
    this.#random = random
    this.#fault = fault
  }

  /** All that was not carried out is forgotten; with the right fault more than that. */
  restart(): void {
    if (this.#does('writes lost at restart', 1)) this.#tree = new Tree(this.#old(1, 8))
  }

  /**
   * Carries a request out that came to `member`. `reply` is called with the answer, or never when the
   * client is to hear nothing.
   */
  handle(member: number, request: Request, reply: (answer: Answer) => void): void {
    if (request.exp !== undefined && this.#does('comparison not atomic', 0.5)) {
      const refusal = this.#tree.refusalOf(request)
      const { exp: _exp, at: _at, ...plain } = request
      const later: Request = { ...plain, f: request.f === 'cad' ? 'delete' : 'update' }
      const carryOut = (): void => reply(refusal ?? this.#tree.apply(later))
      this.#agenda.after(this.#random.int(1, 30), carryOut)
      return
    }
    const answer = isWrite(request) ? this.#write(request) : this.#read(member, request)
    if (answer !== undefined) reply(this.#distort(request, answer))
  }

  #distort(request: Request, answer: Answer): Answer {
    if (this.#does('stale X-Etcd-Index'))
      return { ...answer, etcdIndex: answer.etcdIndex - this.#random.int(1, 5) }
    const isWrong = answer.prev !== undefined && this.#does('wrong prevNode')
    const other = isWrong ? this.#old(1, 20).nodes.get(request.k) : undefined
    return other === undefined ? answer : { ...answer, prev: other.value, prevMod: other.mod }
  }

  #does(fault: Fault, chance = WRONG): boolean {
    return this.#fault === fault && this.#random.chance(chance)
  }

  /** A state that so many writes ago was the newest. */
  #old(low: number, high: number): Tree {
    return this.#past.at(-this.#random.int(low, high)) ?? this.#tree
  }

  #read(member: number, request: Request): Answer | undefined {
    if (request.isLocal === true) return this.#old(0, 5).apply(request)
    if (this.#does('stale read')) return this.#old(2, 20).apply(request)
    this.#freeze()
    return (this.#frozen.get(member) ?? this.#tree).apply(request)
  }

  #freeze(): void {
    if (this.#isFreezing || !this.#does('frozen ex-leader')) return
    const member = this.#random.int(0, MEMBERS - 1)
    this.#isFreezing = true
    this.#frozen.set(member, new Tree(this.#tree))
    this.#agenda.after(FROZEN_MS, () => {
      this.#frozen.delete(member)
      this.#isFreezing = false
    })
  }

  #write(request: Request): Answer | undefined {
    const before = new Tree(this.#tree)
    this.#past.push(before)
    if (this.#past.length > TREES_KEPT) this.#past.shift()
    if (this.#does('dirty read')) return this.#writeForAMoment(request, before)
    if (request.f === 'create' && before.nodes.has(request.k) && this.#does('created twice', 0.5))
      return this.#tree.apply({ ...request, f: 'set' })
    if (this.#does('index going back')) this.#tree.index -= this.#random.int(2, 6)
    const answer = this.#tree.apply(request)
    if (answer.code === undefined) this.#spoil(request, before)
    if (answer.code !== undefined || !this.#does('failure reported though applied')) return answer
    // As if it had been proposed once more, because the first answer was late.
    const again = new Tree(this.#tree).apply(request)
    return again.code === undefined ? answer : again
  }

  /** Something goes wrong behind a write that is acknowledged. */
  #spoil(request: Request, before: Tree): void {
    const { k } = request
    if (this.#does('index reused')) this.#tree.index -= 1
    if (this.#does('lost write')) this.#tree = new Tree(before)
    if (this.#does('proposal applied twice'))
      this.#agenda.after(this.#random.int(1, 40), () => void this.#tree.apply(request))
    const node = before.nodes.get(k)
    const isGone = request.f === 'delete' || request.f === 'cad'
    if (isGone && node !== undefined && this.#does('deleted key returns', 0.5))
      this.#agenda.after(this.#random.int(1, 40), () => {
        if (!this.#tree.nodes.has(k)) this.#tree.nodes.set(k, node)
      })
  }

  /** Readers see a write that is then taken back, and its client hears nothing. */
  #writeForAMoment(request: Request, before: Tree): undefined {
    this.#tree.apply(request)
    const { k } = request
    const mine = this.#tree.nodes.get(k)
    this.#agenda.after(this.#random.int(5, 60), () => {
      if (this.#tree.nodes.get(k) !== mine) return
      const node = before.nodes.get(k)
      if (node === undefined) this.#tree.nodes.delete(k)
      else this.#tree.nodes.set(k, node)
    })
  }
}
