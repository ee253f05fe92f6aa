import type { EventRow } from '../storage/messages.ts'
import { packEvents } from '../storage/records.ts'
import type { StoreEvent } from '../store/event.ts'
import type { Store } from '../store/store.ts'

/** Characters of JSON after which a row is full. */
const ROW_LENGTH = 1024 * 1024

/** How much goes with a batch, in characters. */
interface Piece {
  readonly least: number
  /** So much more than came since the last batch, so that the pieces come to an end. */
  readonly factor: number
}

interface Full {
  readonly rows: readonly EventRow[]
  /** What is left makes no full row. */
  readonly isRest: boolean
}

/**
 * Hands the events since the last image to the disk, each once and in order, in rows of bounded length:
 * all of them as one text could be longer than a string may be, and are too much memory at a time.
 */
export class EventRows {
  readonly #store: Store
  /** Index of the last event handed over. */
  #last: number
  /** Of the last one that was there with the batch before. */
  #seen: number
  #handed = 0

  constructor(store: Store) {
    this.#store = store
    this.#last = store.index
    this.#seen = store.index
  }

  /** Characters handed over ahead of the next image. */
  get handed(): number {
    return this.#handed
  }

  /** An image has all events. */
  restart(): void {
    this.#handed = 0
    this.#last = this.#store.index
    this.settle()
  }

  /** A batch is on its way: what comes from now on is what the next one brings. */
  settle(): void {
    this.#seen = this.#store.index
  }

  /** Full rows, as many as make a piece. */
  takeFull({ least, factor }: Piece): Full {
    let came = 0
    for (const event of this.#behind(this.#seen)) came += event.length
    const enough = Math.max(least, factor * came)
    const rows: EventRow[] = []
    for (let taken = 0; ;) {
      const { events, length } = this.#cut()
      const isRest = length < ROW_LENGTH
      if (isRest || taken >= enough) return { rows, isRest }
      this.#last = events.at(-1)?.index ?? this.#last
      rows.push(rowOf(events))
      taken += length
      this.#handed += length
    }
  }

  /** All that are left, cut into rows; `rowOf` packs them. */
  cutRest(): readonly (readonly StoreEvent[])[] {
    const cuts: (readonly StoreEvent[])[] = []
    for (;;) {
      const { events } = this.#cut()
      if (events.length === 0) return cuts
      this.#last = events.at(-1)?.index ?? this.#last
      cuts.push(events)
    }
  }

  #cut(): { readonly events: readonly StoreEvent[]; readonly length: number } {
    const events: StoreEvent[] = []
    let length = 0
    for (const event of this.#behind(this.#last)) {
      events.push(event)
      length += event.length
      if (length >= ROW_LENGTH) break
    }
    return { events, length }
  }

  *#behind(index: number): Generator<StoreEvent> {
    const { history } = this.#store
    for (let at = Math.max(index + 1, history.first); at <= this.#store.index; at += 1) {
      const event = history.at(at)
      if (event !== undefined) yield event
    }
  }
}

/** Some events, at least one, as a row. */
export function rowOf(events: readonly StoreEvent[]): EventRow {
  return { last: events.at(-1)?.index ?? 0, body: packEvents(events) }
}
