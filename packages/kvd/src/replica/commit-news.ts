import type { MemberId, Message, MessageOf } from '../raft/types.ts'

export interface CommitNewsOptions {
  /** Calls back after a moment: long enough for clients that were just answered to ask again. */
  readonly later: (run: () => void) => void
  readonly send: (message: Message) => void
}

/**
 * Holds back a message that only tells how far the log is committed: under load the next entries leave
 * in a moment and tell it as well, which spares a message, its answer and two wake-ups for each batch.
 * Raft allows any message to be late, or lost; here it is at most late.
 */
export class CommitNews {
  readonly #options: CommitNewsOptions
  /** The last entry that each member proposed and does not know to be committed. */
  readonly #awaited = new Map<MemberId, number>()
  readonly #held = new Map<MemberId, MessageOf<'app'>>()

  constructor(options: CommitNewsOptions) {
    this.#options = options
  }

  /** Sends a message, or keeps it for a moment. */
  pass(message: Message): void {
    if (message.type === 'app' && !this.#leavesNow(message)) {
      if (this.#held.size === 0) this.#options.later(() => this.#release())
      this.#held.set(message.to, message)
      return
    }
    // Its clients wait for this entry: they must not wait longer.
    if (message.type === 'propResp' && message.result.type === 'appended')
      this.#awaited.set(message.to, message.result.index)
    this.#options.send(message)
  }

  /** Whoever waits for a commit, or gets entries, hears of it at once. What was held for it is then said. */
  #leavesNow({ to, entries, commit }: MessageOf<'app'>): boolean {
    const awaited = this.#awaited.get(to)
    if (awaited === undefined && entries.length === 0) return false
    if (awaited !== undefined && awaited <= commit) this.#awaited.delete(to)
    this.#held.delete(to)
    return true
  }

  #release(): void {
    const held = [...this.#held.values()]
    this.#held.clear()
    for (const message of held) this.#options.send(message)
  }
}
