import { join } from 'node:path'
import { Journal } from './journal.ts'

/**
 * The journals that somebody uses: a unit's own runner, and those who read. A reader keeps its journal when the unit is
 * unloaded and comes again, as journalctl does, and may wait for a unit that is not there yet.
 */
export class Journals {
  readonly #directory: string
  readonly #bytesMax: number
  readonly #used = new Map<string, { readonly journal: Journal; users: number }>()
  #isClosed = false

  constructor(directory: string, bytesMax: number) {
    this.#directory = directory
    this.#bytesMax = bytesMax
  }

  /** A unit's journal, until the user calls release(). */
  use(name: string): Journal {
    const entry = this.#used.get(name) ?? { journal: this.#open(name), users: 0 }
    entry.users += 1
    this.#used.set(name, entry)
    return entry.journal
  }

  release(name: string): void {
    const entry = this.#used.get(name)
    if (entry === undefined) return
    entry.users -= 1
    if (entry.users > 0) return
    this.#used.delete(name)
    entry.journal.close()
  }

  /** Ends all journals; what is asked for later can be read, but has ended too. */
  close(): void {
    this.#isClosed = true
    for (const { journal } of this.#used.values()) journal.close()
  }

  #open(name: string): Journal {
    const journal = new Journal(join(this.#directory, `${name}.log`), this.#bytesMax)
    if (this.#isClosed) journal.close()
    return journal
  }
}
