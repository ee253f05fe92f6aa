import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { UnitManagerError } from '../manager.ts'
import { readProcess } from './processes.ts'

/**
 * Makes this process the only manager of the directory. The lock of a process that is gone, or whose number another
 * one has, counts for nothing. Returns what unlocks.
 */
export function lockDirectory(directory: string): () => void {
  mkdirSync(directory, { recursive: true })
  const path = join(directory, 'manager.lock')
  const own = `${process.pid} ${readProcess(process.pid)?.startTicks ?? 0}`
  for (;;) {
    try {
      writeFileSync(path, own, { flag: 'wx' })
      return () => rmSync(path, { force: true })
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
    }
    const [pid = '', ticks = ''] = readFileSync(path, 'utf8').split(' ')
    if (readProcess(Number(pid))?.startTicks === Number(ticks)) {
      throw new UnitManagerError('LOCKED', `${directory} is in use by the manager with PID ${pid}.`)
    }
    rmSync(path, { force: true })
  }
}
