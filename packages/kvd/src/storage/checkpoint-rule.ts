/** After so many commits in any case; a quarter more or less, as all of these. */
const COMMITS_MAX = 2_000
/** After so many bytes, when they are those of some commits or too many. */
const BYTES = 4 * 1024 * 1024
const COMMITS_MIN = 8
const BYTES_MAX = 4 * BYTES

/**
 * When the WAL is moved into the database file, which has to be between two commits. Nothing is
 * committed meanwhile: for 16 MiB of entries that was 200 ms, and members who do the same work stood
 * still together. So it comes early, and each bound is another one every time: the others go on. But
 * each costs two fsyncs, so that a few large commits wait for more.
 */
export class CheckpointRule {
  readonly #random: () => number
  #commits = 0
  #bytes = 0
  /** Of the bounds, for this time. */
  #share = 1

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
    const commits = this.#commits / this.#share
    const bytes = this.#bytes / this.#share
    if (commits >= COMMITS_MAX || bytes >= BYTES_MAX) return true
    return commits >= COMMITS_MIN && bytes >= BYTES
  }

  done(): void {
    this.#commits = 0
    this.#bytes = 0
    this.#share = 0.75 + this.#random() / 2
  }
}
