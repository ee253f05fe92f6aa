import { copyFileSync, existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Entry, Place } from '../../src/raft/types.ts'
import type { Disk } from '../../src/storage/disk.ts'
import { entryChain, packEntries } from '../../src/storage/entry-codec.ts'
import { ORIGIN } from '../../src/storage/log-table.ts'
import type { Batch, Identity } from '../../src/storage/messages.ts'
import { packEvents } from '../../src/storage/records.ts'
import { packChanges } from '../../src/storage/rows.ts'
import { CommandWriter, type Command } from '../../src/store/command.ts'
import type { StoreEvent } from '../../src/store/event.ts'
import type { Store } from '../../src/store/store.ts'

/** Whose log it is. */
export const OWNER: Identity = { memberId: 'ab', clusterId: 'cd' }

/** What a batch has besides its entries, and their term. */
type Fields = Partial<Omit<Batch, 'entries'>> & { readonly term?: number }

/** A log whose entries follow each other by index and by chain, cut into batches as a member cuts it. */
export class Batches {
  readonly #commands = new CommandWriter()
  readonly #places: Place[] = [ORIGIN]
  #seq = 0

  /**
   * The next batch: these commands behind the last one, or from `firstIndex` on in place of what was
   * there. Seq and term go on unless they are given; the first batch says whose log it is.
   */
  of(commands: readonly Command[], { term, ...fields }: Fields = {}): Batch {
    const identity = this.#seq === 0 ? OWNER : undefined
    this.#seq = fields.seq ?? this.#seq + 1
    if (commands.length > 0 && fields.firstIndex !== undefined)
      this.#places.length = fields.firstIndex
    const firstIndex = this.#places.length
    const entries = commands.map((entry) => this.#append(entry, term ?? (this.#last.term || 1)))
    return {
      seq: this.#seq,
      entries: packEntries(entries),
      firstIndex,
      hard: { term: this.#last.term || 1, vote: '0', isDamaged: false },
      commit: 0,
      identity,
      packs: [],
      events: [],
      image: undefined,
      install: undefined,
      compactTo: 0,
      ...fields,
    }
  }

  get #last(): Place {
    return this.#places.at(-1) ?? ORIGIN
  }

  #append(entry: Command, term: number): Entry {
    this.#commands.append(entry)
    const data = this.#commands.take().subarray(4)
    const index = this.#places.length
    const bare = { index, term, kind: 'request', id: `1.${index}`, data } as const
    const made = { ...bare, chain: entryChain(this.#last.chain, bare) }
    this.#places.push({ index, term, chain: made.chain })
    return made
  }
}

/** A first batch of these commands. */
export function batchOf(commands: readonly Command[], fields: Fields = {}): Batch {
  return new Batches().of(commands, fields)
}

/** All that a store changed since the last time, as a replica hands it to the disk. */
export function imageOf(
  store: Store,
  applied: number,
  packBytes = 60,
): Pick<Batch, 'packs' | 'events' | 'image'> {
  const { tree, state } = store.takeChanges()
  const { first, last } = store.history
  const events = Array.from({ length: last - first + 1 }, (_, at) => store.history.at(first + at))
  const kept = events.filter((event): event is StoreEvent => event !== undefined)
  return {
    packs: packChanges(tree, packBytes),
    events: kept.length === 0 ? [] : [{ last, body: packEvents(kept) }],
    image: {
      applied,
      storeIndex: state.index,
      count: state.count,
      stats: state.stats,
      eventFloor: first,
    },
  }
}

/** Writes a batch and waits until it is durable, or until there is no room for it. */
export async function commit(disk: Disk, batch: Batch): Promise<'persisted' | 'full'> {
  return await new Promise((resolve, reject) => {
    disk.listen({
      persisted: (seq) => seq === batch.seq && resolve('persisted'),
      full: () => resolve('full'),
      failed: reject,
    })
    disk.write(batch)
  })
}

/** Copies the files as they are at this moment: what a machine that loses power would find. */
export function copyOf(from: string, to: string): string {
  mkdirSync(to, { recursive: true })
  for (const name of ['kvd.db', 'kvd.db-wal', 'hwm'])
    if (existsSync(join(from, name))) copyFileSync(join(from, name), join(to, name))
  return to
}
