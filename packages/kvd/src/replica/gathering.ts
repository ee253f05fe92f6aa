/** With fewer clients at once a batch more costs less than the wait for the one before it. */
const CROWD_MIN = 96
/** A crowd is forgotten by so much with each batch: most of it may have been answered just now. */
const FADING = 0.9

/**
 * Leader: which proposals wait for the batch under way. Whatever its size, a batch costs each of three
 * members a commit and some messages, a third of all their work when hundreds of clients write: so what
 * comes while one is not committed gathers, and leaves together when it is.
 */
export class Gathering {
  #crowd = 0
  #last = 0
  #end = 0

  /** Whether a new proposal has to wait, when all up to `commit` is committed. */
  holds(commit: number): boolean {
    return commit < this.#end
  }

  /**
   * What the log has up to `last` is about to leave.
   * @param waiting proposals of clients that are not answered
   */
  leaves(last: number, waiting: number): void {
    if (last === this.#last) return
    this.#last = last
    this.#crowd = Math.max(waiting, this.#crowd * FADING)
    this.#end = this.#crowd >= CROWD_MIN ? last : 0
  }

  /** It takes too long: nobody waits for it any more. */
  giveUp(): void {
    this.#end = 0
  }
}
