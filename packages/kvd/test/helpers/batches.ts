import { copyFileSync, existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { CommandWriter, type Command } from '../../src/store/command.ts'
import type { Disk } from '../../src/storage/disk.ts'
import type { Batch } from '../../src/storage/messages.ts'
import { packEvents } from '../../src/storage/records.ts'
import { packChanges } from '../../src/storage/rows.ts'
import type { StoreEvent } from '../../src/store/event.ts'
import type { Store } from '../../src/store/store.ts'

/** A batch of these commands; the rest is what a first batch would have. */
export function batchOf(commands: readonly Command[], fields: Partial<Batch> = {}): Batch {
  const writer = new CommandWriter()
  for (const entry of commands) writer.append(entry)
  return {
    seq: 1,
    term: 1,
    firstIndex: 1,
    frames: new Uint8Array(writer.take()),
    hard: { term: 1, vote: '', commit: 0 },
    packs: [],
    image: undefined,
    compactTo: 0,
    ...fields,
  }
}

/** All that a store changed since the last time, as a replica hands it to the disk. */
export function imageOf(
  store: Store,
  applied: number,
  packBytes = 60,
): Pick<Batch, 'packs' | 'image'> {
  const { tree, state } = store.takeChanges()
  const { first, last } = store.history
  const events = Array.from({ length: last - first + 1 }, (_, at) => store.history.at(first + at))
  const kept = events.filter((event): event is StoreEvent => event !== undefined)
  return {
    packs: packChanges(tree, packBytes),
    image: {
      applied,
      storeIndex: state.index,
      count: state.count,
      stats: state.stats,
      events: kept.length === 0 ? [] : [{ last, body: packEvents(kept) }],
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
