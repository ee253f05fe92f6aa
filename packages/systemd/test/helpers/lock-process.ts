/** Locks the directories that its parent names, each at the given time, and says whether it got them. */
import { lockDirectory } from '../../src/embedded/lock.ts'

process.on('message', ({ directory, startMs }: { directory: string; startMs: number }) => {
  while (Date.now() < startMs);
  let answer = 'locked'
  try {
    lockDirectory(directory)
  } catch (error) {
    answer = String(error)
  }
  process.send?.(answer)
})
process.send?.('ready')
