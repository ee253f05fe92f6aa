/** After so many commits in any case. */
const COMMITS_MAX = 2_000
/** After so many bytes, when they are those of some commits or too many. */
const BYTES = 4 * 1024 * 1024
const COMMITS_MIN = 8
const BYTES_MAX = 4 * BYTES

/**
 * When the WAL is moved into the database file, which has to be between two commits. Nothing is
 * committed meanwhile: for 16 MiB of entries that was 200 ms, and members who do the same work stood
 * still together. So it comes early, and never after the same number of bytes: the others go on. But
 * each costs two fsyncs, so that a few large commits wait for more.
 */
export class CheckpointRule {
  readonly #random: () => number
  #commits = 0
  #bytes = 0
  #early = 0

  /** @param random at least 0, less than 1 */
  constructor(random: () => number) {
    this.#random = random
    this.done()
  }

  /** @param bytes of entries and rows; the pages around them come on top */
  committed(bytes: number): void {
    this.#commits += 1
    this.#bytes += bytes
  }

  get isDue(): boolean {
    if (this.#commits >= COMMITS_MAX || this.#bytes >= BYTES_MAX) return true
    return this.#commits >= COMMITS_MIN && this.#bytes >= this.#early
  }

  done(): void {
    this.#commits = 0
    this.#bytes = 0
    this.#early = BYTES * (0.75 + this.#random() / 2)
  }
}
