// A process that makes ten commits one after the other and says `done` to standard output after each:
// its system calls show what was on the disk by then. Arguments: the directory.
import { mkdirSync, writeSync } from 'node:fs'
import { openDisk } from '../../src/storage/disk.ts'
import { Batches, commit } from './batches.ts'
import { set } from './commands.ts'

const directory = process.argv[2] ?? ''
mkdirSync(directory, { recursive: true })
const disk = await openDisk({ directory, source: 'image' })
const log = new Batches()
for (let index = 1; index <= 10; index += 1) {
  await commit(disk, log.of([set(`/k${index}`)]))
  writeSync(1, 'done\n')
}
await disk.close()
