import type { Core } from '../raft/core.ts'
import { sizeOf } from '../raft/log.ts'
import type { Entry } from '../raft/types.ts'

/** Applied entries kept in memory for followers that are a little behind. */
const KEPT_ENTRIES = 5_000
const KEPT_BYTES = 64 * 1024 * 1024
/** The log in memory is cut when so many entries can go. */
const CUT_ENTRIES = 1_000

/** Keeps the log in memory short. */
export class MemoryLog {
  readonly #core: Core
  #bytes = 0

  constructor(core: Core) {
    this.#core = core
  }

  applied(entry: Entry): void {
    this.#bytes += sizeOf(entry)
  }

  /** A snapshot has taken its place. */
  restart(): void {
    this.#bytes = 0
  }

  /**
   * @param isKept others may need what is applied here
   * @param heldIndex entries behind this one stay in any case
   */
  cut(isKept: boolean, heldIndex: number): void {
    const { log } = this.#core.view
    const held = Math.min(log.applied, heldIndex)
    if (!isKept && held === log.applied) {
      // At once: what lives longer costs the collector more.
      this.#bytes = 0
      this.#core.compact(held)
      return
    }
    let upTo = Math.min(held, log.applied - KEPT_ENTRIES)
    let bytes = this.#bytes
    if (upTo - log.first < CUT_ENTRIES && bytes < KEPT_BYTES) return
    for (let index = log.first; index <= held; index += 1) {
      if (index > upTo && bytes <= KEPT_BYTES / 2) break
      const entry = log.at(index)
      if (entry !== undefined) bytes -= sizeOf(entry)
      upTo = Math.max(upTo, index)
    }
    this.#bytes = Math.max(0, bytes)
    this.#core.compact(upTo)
  }
}
