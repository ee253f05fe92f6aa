import type { WireEvent } from '../helpers/answers.ts'
import type { Violation } from './violation.ts'

/** What is watched, and how it was asked for. `waitIndex` undefined: what happens from then on. */
export interface Watch {
  readonly path: string
  readonly recursive: boolean
  readonly stream: boolean
  readonly waitIndex?: number
}

/** One request for a watch, and all that came back. */
export interface Session {
  readonly watcher: string
  readonly ep: string
  readonly watch: Watch
  /** X-Etcd-Index of the head; undefined when there was no answer. */
  etcdIndex: number | undefined
  /** Indexes of the events, in the order in which they came. */
  readonly indexes: number[]
  /** The cause of an error 401. */
  refusal: string | undefined
}

interface Known {
  readonly event: WireEvent
  /** Everything but what depends on the time of the answer. */
  readonly text: string
  readonly source: string
}

/**
 * All that was heard of the events of a cluster. Whatever anybody was told, watcher or writer, is
 * true, and every other watcher must have been told the same.
 */
export class WatchLog {
  readonly sessions: Session[] = []
  /** W7 and W8: an index has one content, whoever tells of it. */
  readonly conflicts: Violation[] = []
  readonly #known = new Map<number, Known>()
  readonly #refreshes = new Set<number>()

  /** Notes that a watch is asked for. */
  open(watcher: string, ep: string, watch: Watch): Session {
    const session = { watcher, ep, watch, etcdIndex: undefined, indexes: [], refusal: undefined }
    this.sessions.push(session)
    return session
  }

  /** Notes an event that came to a watcher. */
  received(session: Session, event: WireEvent): void {
    session.indexes.push(event.node.modifiedIndex)
    this.#add(event, `${session.watcher} at ${session.ep}`)
  }

  /** Notes the answer to a write. A refresh wakes nobody, so that it is not an event. */
  acknowledged(event: WireEvent, isRefresh: boolean): void {
    if (isRefresh) this.#refreshes.add(event.node.modifiedIndex)
    else this.#add(event, 'the answer to its write')
  }

  #add(event: WireEvent, source: string): void {
    const index = event.node.modifiedIndex
    const known = this.#known.get(index)
    const text = JSON.stringify(event)
    if (known === undefined) this.#known.set(index, { event, text, source })
    else if (known.text !== text)
      this.conflicts.push({
        id: 'W7',
        message: `index ${index} is ${known.text} to ${known.source}, and ${text} to ${source}`,
      })
  }

  /** True when the write with this index was a refresh. */
  isRefresh(index: number): boolean {
    return this.#refreshes.has(index)
  }

  /** All of it as JSON lines: what each watcher was told, then the events. */
  print(): string {
    return [...this.sessions, ...this.truth()].map((line) => `${JSON.stringify(line)}\n`).join('')
  }

  /** Every event that anybody was told of, by index. */
  truth(): WireEvent[] {
    return [...this.#known.values()]
      .map(({ event }) => event)
      .toSorted((left, right) => left.node.modifiedIndex - right.node.modifiedIndex)
  }
}
