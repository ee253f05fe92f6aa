import type { Random } from '../helpers/random.ts'
import { isWrite, type Ending, type Entry, type Request } from './history.ts'

/** What clients do. Directories and keys lie below `prefix`. */
export interface WorkloadOptions {
  readonly random: Random
  readonly prefix: string
  /** Keys in use at a time. */
  readonly keys: number
  /** The share of reads that ask one member alone. */
  readonly localShare: number
}

/** Keys stay small enough to be judged (correctness.md 4.3). */
const OPERATIONS_MAX = 250
const UNKNOWN_MAX = 5
/** What clients remember of a key to compare with. */
const SEEN_MAX = 4

interface Seen {
  readonly value: string
  readonly mod: number
}

interface Key {
  readonly name: string
  operations: number
  unknown: number
  readonly seen: Seen[]
}

/** Chooses what clients ask for, from what they were told. Without a clock or a network. */
export class Workload {
  readonly #random: Random
  readonly #options: WorkloadOptions
  readonly #keys: Key[]
  readonly #values = new Map<number, number>()
  #posts: Key
  #retired = 0

  constructor(options: WorkloadOptions) {
    this.#random = options.random
    this.#options = options
    this.#keys = Array.from({ length: options.keys }, () => this.#newKey('k'))
    this.#posts = this.#newKey('q')
  }

  #newKey(letter: string): Key {
    this.#retired += 1
    const name = `${this.#options.prefix}/${letter}${this.#retired}`
    return { name, operations: 0, unknown: 0, seen: [] }
  }

  /** The next request of process `p`. */
  next(p: number): Request {
    const random = this.#random
    const dice = random.next()
    if (dice < 0.04) return this.#ofPosts(p, dice < 0.03)
    const key = random.pick(this.#keys)
    key.operations += 1
    if (key.operations >= OPERATIONS_MAX) this.#retire(key)
    return this.#ofKey(key, p)
  }

  /** What became of a request. */
  ended(request: Request, ending: Ending): void {
    const key = [...this.#keys, this.#posts].find(({ name }) => name === request.k)
    if (key === undefined) return
    if (ending.e === 'info' && isWrite(request)) {
      key.unknown += 1
      if (key.unknown >= UNKNOWN_MAX) this.#retire(key)
    }
    if (ending.e !== 'ok' || ending.r.code !== undefined || ending.r.mod === undefined) return
    const value = request.f === 'get' ? ending.r.v : request.v
    if (value === undefined) return
    key.seen.unshift({ value, mod: ending.r.mod })
    key.seen.length = Math.min(key.seen.length, SEEN_MAX)
  }

  #retire(key: Key): void {
    if (key === this.#posts) this.#posts = this.#newKey('q')
    else this.#keys[this.#keys.indexOf(key)] = this.#newKey('k')
  }

  #ofPosts(p: number, isPost: boolean): Request {
    const key = this.#posts
    key.operations += 1
    if (key.operations >= OPERATIONS_MAX) this.#retire(key)
    return isPost
      ? { f: 'post', k: key.name, v: this.#value(p) }
      : { f: 'list', k: key.name, ...this.#locality() }
  }

  #ofKey({ name: k, seen }: Key, p: number): Request {
    const random = this.#random
    // Mostly the newest that anybody saw, sometimes what is surely gone.
    const known = random.chance(0.8) ? seen[0] : seen[random.int(0, SEEN_MAX - 1)]
    const dice = random.int(1, 100)
    if (dice <= 34) return { f: 'get', k, ...this.#locality() }
    if (dice <= 50 || (known === undefined && dice <= 70)) return { f: 'set', k, v: this.#value(p) }
    if (dice <= 60) return { f: 'create', k, v: this.#value(p) }
    if (dice <= 66) return { f: 'update', k, v: this.#value(p) }
    if (dice <= 74 || known === undefined) return { f: 'delete', k }
    const v = this.#value(p)
    const { value: exp, mod: at } = known
    if (dice <= 86) return { f: 'cas', k, v, exp }
    if (dice <= 95) return { f: 'cas', k, v, exp, at }
    return dice <= 98 ? { f: 'cad', k, exp } : { f: 'cad', k, exp, at }
  }

  #locality(): { readonly isLocal?: true } {
    return this.#random.chance(this.#options.localShare) ? { isLocal: true } : {}
  }

  #value(p: number): string {
    const number = (this.#values.get(p) ?? 0) + 1
    this.#values.set(p, number)
    return `${p}.${number}`
  }
}

/** A read of everything that a history asked for: what is acknowledged must be there at the end. */
export function finalReads(entries: readonly Entry[]): Request[] {
  const reads = new Map<string, Request>()
  for (const entry of entries) {
    if (entry.e !== 'invoke') continue
    const { f, k } = entry
    reads.set(k, { f: f === 'post' || f === 'list' ? 'list' : 'get', k })
  }
  return [...reads.values()]
}
