import { existsSync } from 'node:fs'
import { DataDirError } from './data-dir.ts'
import { Machine } from './machine.ts'
import { committedIn } from './membership/alone.ts'
import { Store } from './store/store.ts'
import { openDisk } from './storage/disk.ts'

/**
 * The store of a data directory as JSON lines: first its index, then each node. `image` loads it as
 * a start does; `log` replays every entry from the first one, for comparison.
 * @throws DiskError
 */
export async function dumpStore(
  directory: string,
  source: 'image' | 'log',
  write: (line: string) => Promise<void> | void,
): Promise<void> {
  const file = `${directory}/kvd.db`
  if (!existsSync(file)) throw new DataDirError(`there is no ${file}`)
  const disk = await openDisk({ directory, source })
  try {
    const { loaded, rows, events, entries } = disk.recovered
    const store = new Store({ historySize: 1 })
    const { stats } = loaded
    if (stats !== undefined)
      store.load({ index: loaded.storeIndex, count: loaded.count, stats }, rows, events.slice(-1))
    const machine = new Machine(store)
    const { applied, hard } = loaded
    // Behind the image of a damaged member, entries may be there again that others have replaced.
    const isDoubtful = source === 'image' && hard.isDamaged
    const upTo = isDoubtful ? applied : committedIn(disk.recovered, machine.conf)
    for (const entry of entries)
      if (entry.index > applied && entry.index <= upTo) machine.apply(entry)
    await write(`${JSON.stringify({ index: store.index, raftIndex: loaded.lastIndex })}\n`)
    const nodes = [...store.rows()].toSorted((left, right) => (left.key < right.key ? -1 : 1))
    for (const node of nodes) await write(`${JSON.stringify(node)}\n`)
  } finally {
    await disk.close()
  }
}
