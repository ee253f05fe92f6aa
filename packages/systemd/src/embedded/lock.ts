import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { UnitManagerError } from '../manager.ts'
import { readProcess } from './processes.ts'

/** Process, when it began and in which boot: nobody else ever has the same three. */
const ENTRY = /^manager\.(\d+)\.(\d+)\.([0-9a-f-]+)\.lock$/

/**
 * Makes this process the only manager of the directory. Each candidate makes a file named after itself before it looks
 * for those of others: of two at the same time at least one sees the other, so that there may be none, but never two.
 * The file of a process that is gone, or whose number another one has, counts for nothing; since only that process could
 * have the name, removing it never hits a live one's. Returns what unlocks.
 */
export function lockDirectory(directory: string): () => void {
  mkdirSync(directory, { recursive: true })
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  const own = `manager.${process.pid}.${readProcess(process.pid)?.startTicks ?? 0}.${boot}.lock`
  const path = join(directory, own)
  try {
    writeFileSync(path, '', { flag: 'wx' })
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
    throw locked(directory, process.pid)
  }
  for (const name of readdirSync(directory)) {
    const [entry, pid, ticks, bootID] = ENTRY.exec(name) ?? []
    if (entry === undefined || entry === own) continue
    if (bootID === boot && readProcess(Number(pid))?.startTicks === Number(ticks)) {
      rmSync(path, { force: true })
      throw locked(directory, Number(pid))
    }
    rmSync(join(directory, entry), { force: true })
  }
  return () => rmSync(path, { force: true })
}

function locked(directory: string, pid: number): UnitManagerError {
  const message = `${directory} is in use by the manager with PID ${pid}.`
  return new UnitManagerError('LOCKED', message)
}
