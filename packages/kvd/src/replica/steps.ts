import type { Entry, Message, MessageOf, Ready } from '../raft/types.ts'

/** raft.md 3.10. */
const STEPS_MAX = 1_000
const NAMED_MAX = 16

/** What the core was told, or what it wanted, without the data of entries and proposals. */
export interface Step {
  /** On a clock that goes evenly. */
  readonly ms: number
  readonly what: string
  /** Plain data. */
  readonly about: unknown
}

class Row {
  readonly first: string | number
  last: string | number
  count = 1

  constructor(name: string | number) {
    this.first = name
    this.last = name
  }

  add(name: string | number): void {
    this.last = name
    this.count += 1
  }
}

/** The last steps of a core. */
export class Steps {
  readonly #elapsed: () => number
  readonly #steps: Step[] = []
  #next = 0

  constructor(elapsed: () => number) {
    this.#elapsed = elapsed
  }

  note(what: string, about?: unknown): void {
    this.#steps[this.#next] = { ms: this.#elapsed(), what, about }
    this.#next = (this.#next + 1) % STEPS_MAX
  }

  /**
   * Some steps come in long rows, one for each write: a row is one step, with its first and last name,
   * and the time of the first.
   */
  noteRow(what: string, name: string | number): void {
    const last = this.#steps[(this.#next + STEPS_MAX - 1) % STEPS_MAX]
    if (last?.what === what && last.about instanceof Row) last.about.add(name)
    else this.note(what, new Row(name))
  }

  /** In their order. */
  get all(): readonly Step[] {
    return [...this.#steps.slice(this.#next), ...this.#steps.slice(0, this.#next)]
  }
}

/** An entry as its place in the log: data belongs to clients. */
export function placeOf({ index, term, kind, chain, data }: Entry): object {
  return { index, term, kind, chain, bytes: data.length }
}

/** The ends of a row of entries. */
function endsOf(entries: readonly Entry[]): object | undefined {
  const [first, last] = [entries[0], entries.at(-1)]
  if (first === undefined || last === undefined) return undefined
  return { count: entries.length, first: placeOf(first), last: placeOf(last) }
}

/** A message without data: a thousand of them must not hold on to what they carried. */
export function messageOf(message: Exclude<Message, MessageOf<'prop'>>): object {
  return message.type === 'app' ? { ...message, entries: endsOf(message.entries) } : message
}

export function readyOf(ready: Ready): object {
  const { seq, isDurable, soft, hard, entries, install, now, after, committed, reads, lost } = ready
  return {
    seq,
    isDurable,
    soft,
    hard,
    entries: endsOf(entries),
    install,
    now: namesOf(now),
    after: namesOf(after),
    committed: endsOf(committed),
    reads: reads.length,
    lost: lost.slice(0, NAMED_MAX),
  }
}

function namesOf(messages: readonly Message[]): object | undefined {
  if (messages.length === 0) return undefined
  const first = messages.slice(0, NAMED_MAX).map(({ type, to }) => `${type} to ${to}`)
  return { count: messages.length, first }
}
