import type { Entry, Place } from '../../src/raft/types.ts'
import { command, type Command } from '../../src/store/command.ts'
import { Store } from '../../src/store/store.ts'
import { NOW } from '../helpers/commands.ts'
import { randomProgram } from '../helpers/programs.ts'
import { Random } from '../helpers/random.ts'
import { contentOf, entryOf, HISTORY, stateOf, UNVOTED, type Vote } from './batch-shape.ts'

/** One batch, apart from the form in which the disk takes it. */
export interface Step {
  /** 1 for the first, which brings who the member is. */
  readonly seq: number
  /** From the first one's index on they replace what is there. */
  readonly entries: readonly Entry[]
  readonly vote: Vote | undefined
  /** Entries up to here are committed, and the store has them. */
  readonly commit: number
  /** Whether rows of the store come along, and become the image. */
  readonly rows: 'none' | 'packs' | 'image'
  readonly compactTo: number
  /** A snapshot of another member, which is the store at `commit`, takes the place of store and log. */
  readonly install: Place | undefined
  /** Entries that were there go, because others or a snapshot take their place. */
  readonly replaces: boolean
}

/** What is to be written, one step after the other, and what is on the disk after each. */
export interface Plan {
  readonly steps: readonly Step[]
  /** Entries that no later step replaces; the first has index 1. Undefined: nothing to apply. */
  readonly committed: readonly (Command | undefined)[]
  /** As `stateOf` has it: number 0 is that of an empty disk. */
  readonly states: readonly string[]
}

interface Logged {
  readonly entry: Entry
  readonly command: Command | undefined
}

const VOTES = ['0', '8e9e05c52164694d', 'ce2a822cea30bfca'] as const

/** A plan of so many steps: the seed has all of it. */
export function makePlan(seed: number, length: number): Plan {
  const maker = new PlanMaker(new Random(seed), length)
  const steps: Step[] = []
  const states = [maker.state(0)]
  for (let seq = 1; seq <= length; seq += 1) {
    steps.push(maker.next(seq))
    states.push(maker.state(seq))
  }
  return { steps, states, committed: maker.committed() }
}

/** What a follower and leader of changing terms would write: plain arrays, no storage code. */
class PlanMaker {
  readonly #random: Random
  readonly #commands: Iterator<Command>
  readonly #store = new Store({ historySize: HISTORY })
  readonly #log: Logged[] = []
  #commit = 0
  #vote = UNVOTED
  #first = 1
  #applied = 0
  #image = { applied: 0, content: contentOf(new Store({ historySize: HISTORY })) }

  constructor(random: Random, length: number) {
    this.#random = random
    this.#commands = commandsOf(random.fork(), length)
  }

  get #last(): number {
    return this.#log.length
  }

  #term(index: number): number {
    return this.#log[index - 1]?.entry.term ?? 0
  }

  next(seq: number): Step {
    const random = this.#random
    if (seq > 1 && random.chance(0.03)) return this.#install(seq)
    if (random.chance(0.7)) this.#commit = this.#last
    const isNewTerm = seq === 1 || random.chance(0.2)
    if (isNewTerm)
      this.#vote = {
        term: this.#vote.term + random.int(1, 2),
        vote: random.pick(VOTES),
        isDamaged: false,
      }
    const replaces = isNewTerm && this.#last > this.#commit && random.chance(0.8)
    const firstIndex = replaces ? random.int(this.#commit + 1, this.#last) : this.#last + 1
    const isVoteAlone = isNewTerm && !replaces && random.chance(0.3)
    const count = isVoteAlone ? 0 : random.pick([1, 1, 2, 3, 8] as const)
    this.#log.length = firstIndex - 1
    // A leader sends entries of earlier terms too: what replaces may be older than what it replaces.
    const term = replaces ? random.int(this.#term(firstIndex - 1), this.#vote.term) : undefined
    const entries = this.#append(count, term ?? this.#vote.term)
    const rows = this.#chooseRows()
    if (rows === 'image') this.#takeImage()
    const vote = isNewTerm ? this.#vote : undefined
    const compactTo = this.#compact()
    // Who catches up is told of entries and that they are committed at once.
    if (rows === 'none' && random.chance(replaces ? 0.8 : 0.3)) this.#commit = this.#last
    const commit = this.#commit
    return { seq, entries, vote, commit, rows, compactTo, install: undefined, replaces }
  }

  /** Entries that this member never had are committed, and come as a snapshot. */
  #install(seq: number): Step {
    const random = this.#random
    const before = this.#last
    this.#log.length = this.#commit
    const term = random.int(this.#term(this.#commit), this.#vote.term)
    const place = this.#append(random.int(1, 12), term).at(-1)
    this.#commit = this.#last
    this.#first = this.#last + 1
    this.#takeImage()
    const step = { seq, entries: [], vote: undefined, commit: this.#commit, compactTo: 0 }
    return { ...step, rows: 'image', install: place, replaces: this.#last <= before }
  }

  #append(count: number, term: number): Entry[] {
    return Array.from({ length: count }, () => {
      const isNoop = term > this.#term(this.#last)
      const next = isNoop ? undefined : this.#commands.next()
      if (next?.done === true) throw new Error('the plan ran out of commands')
      const kind = this.#random.chance(0.5) ? 'conf' : 'noop'
      const entry = entryOf(this.#log.at(-1)?.entry, term, next?.value, kind)
      this.#log.push({ entry, command: next?.value })
      return entry
    })
  }

  #chooseRows(): Step['rows'] {
    const mayBeImage = this.#commit > this.#image.applied
    if (mayBeImage && this.#random.chance(0.2)) return 'image'
    return this.#random.chance(0.2) ? 'packs' : 'none'
  }

  #takeImage(): void {
    for (const { command: entry } of this.#log.slice(this.#applied, this.#commit))
      if (entry !== undefined) this.#store.apply(entry)
    this.#applied = this.#commit
    this.#image = { applied: this.#commit, content: contentOf(this.#store) }
  }

  /** Now and then all that the image has, else a part of it. */
  #compact(): number {
    const random = this.#random
    const { applied } = this.#image
    if (this.#first > applied || !random.chance(0.3)) return 0
    const upTo = random.chance(0.2) ? applied : random.int(this.#first, applied)
    this.#first = upTo + 1
    return upTo
  }

  state(seq: number): string {
    return stateOf({
      isNew: seq === 0,
      vote: this.#vote,
      base: this.#first - 1,
      last: this.#last,
      entries: this.#log.slice(this.#first - 1).map(({ entry }) => entry),
      ...this.#image,
    })
  }

  committed(): (Command | undefined)[] {
    return this.#log.slice(0, this.#commit).map(({ command: entry }) => entry)
  }
}

/** Random commands; some values fill pages of their own. */
function* commandsOf(random: Random, steps: number): Generator<Command> {
  let number = 0
  for (const step of randomProgram(random, 10 * steps)) {
    if (step.type !== 'command') continue
    number += 1
    if (number % 12 !== 0) yield step.command
    else {
      const value = `${number} `.repeat(random.int(300, 2000))
      yield command({ op: 'set', key: `/large/${random.int(1, 4)}`, value, time: NOW })
    }
  }
}
