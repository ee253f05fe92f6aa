import { randomUUID } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { UnitManagerError } from './manager.ts'

/** The types of unit that fleet keeps in its units directory (fleet 1.0 `unit.RecognizedUnitType`). */
const RECOGNIZED = /\.(?:service|socket|timer|path|device|mount|automount)$/

const NAME = /^[A-Za-z0-9:_.\\@-]+$/

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

/** Refuses what no unit can be called: it might leave a directory, or be a pattern that other units match. */
export function checkUnitName(name: string): void {
  if (!NAME.test(name) || !name.includes('.')) {
    throw new UnitManagerError('INVALID_NAME', `Invalid unit name ${JSON.stringify(name)}.`)
  }
}

/** The path of a unit; refuses a name that would leave the directory. */
export function unitPath(directory: string, name: string): string {
  checkUnitName(name)
  return join(directory, name)
}

/**
 * Names of the units in the directory, sorted. A directory that is not there has none. What somebody else put there and
 * no unit can be called, or is no file, is left out: one such entry must not keep its reader from all the others.
 */
export async function listUnits(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  })
  return entries
    .filter((entry) => !entry.isDirectory() && RECOGNIZED.test(entry.name) && NAME.test(entry.name))
    .map((entry) => entry.name)
    .toSorted()
}

export async function readUnit(directory: string, name: string): Promise<string | undefined> {
  try {
    return await readFile(unitPath(directory, name), 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** Writes a unit so that after a crash at any moment the directory has it whole, or as it was before. */
export async function writeUnit(directory: string, name: string, text: string): Promise<void> {
  const path = unitPath(directory, name)
  // Not a recognised type, so a temporary file that a crash leaves behind is never taken for a unit. The unit's name is
  // not in it: that may be as long as a file name can be, and may be written by two at once.
  const temporary = join(directory, `.${randomUUID()}.tmp`)
  await mkdir(directory, { recursive: true })
  try {
    const file = await open(temporary, 'w', 0o644)
    try {
      await file.writeFile(text)
      await file.chmod(0o644)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  await syncDirectory(directory)
}

export async function removeUnit(directory: string, name: string): Promise<void> {
  await rm(unitPath(directory, name), { force: true })
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
