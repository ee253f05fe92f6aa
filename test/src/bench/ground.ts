import { rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { UsageError } from './arguments.ts'
import { fileSystemOf } from './machine.ts'

/**
 * Hands a fresh directory below `parent` to `use` and removes it afterwards, also when the bench ends by
 * a signal.
 * @throws UsageError when `parent` is in memory
 */
export async function onDisk<T>(parent: string, use: (dir: string) => Promise<T>): Promise<T> {
  const fileSystem = await fileSystemOf(parent)
  if (fileSystem === 'tmpfs' || fileSystem === 'ramfs')
    throw new UsageError(`${parent} is ${fileSystem}, where fsync costs nothing: give --dir`)
  const dir = await mkdtemp(join(parent, 'bench-'))
  const removeAtExit = (): void => rmSync(dir, { recursive: true, force: true })
  process.once('exit', removeAtExit)
  try {
    return await use(dir)
  } finally {
    process.off('exit', removeAtExit)
    await rm(dir, { recursive: true, force: true })
  }
}
