import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createEmbeddedManager, type EmbeddedManagerOptions } from '../../src/embedded/manager.ts'
import { readProcess, signalProcess } from '../../src/embedded/processes.ts'
import type { UnitManager } from '../../src/manager.ts'

/** What tests need of tap. */
export interface Teardown {
  teardown(callback: () => unknown): void
}

export interface Directories {
  readonly unitsDirectory: string
  readonly stateDirectory: string
}

export async function directories(tt: Teardown): Promise<Directories> {
  const base = await mkdtemp(join(tmpdir(), 'embedded-'))
  tt.teardown(() => rm(base, { recursive: true, force: true }))
  return { unitsDirectory: join(base, 'units'), stateDirectory: join(base, 'state') }
}

/** A manager that leaves nothing behind. */
export async function embedded(
  tt: Teardown,
  options: Partial<EmbeddedManagerOptions> = {},
): Promise<{ manager: UnitManager } & Directories> {
  const where = await directories(tt)
  const manager = await createEmbeddedManager({
    ...where,
    machineID: '0123456789abcdef0123456789abcdef',
    hostname: 'laptop.example',
    killOnClose: true,
    closeTimeoutMs: 2000,
    ...options,
  })
  tt.teardown(() => manager.close())
  return { manager, ...where }
}

/** The unit's main PID, from its status text. */
export async function mainPid(manager: UnitManager, name: string): Promise<number> {
  const { text } = await manager.status(name)
  return Number(/Main PID: (\d+)/.exec(text)?.[1])
}

/** Live processes whose command line has this word. */
export function isAlive(pid: number): boolean {
  return readProcess(pid) !== undefined
}

/** Waits until the process is gone; it is nobody's child here, so it must be looked for. */
export async function untilGone(pid: number): Promise<void> {
  for (let turns = 0; isAlive(pid); turns += 1) {
    if (turns > 1000)
      throw new Error(`process ${pid} does not end: ${readFileSync(`/proc/${pid}/status`, 'utf8')}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

export function killNow(pid: number): void {
  signalProcess(pid, 9)
}
