import { mkdir } from 'node:fs/promises'
import { createEmbeddedManager, createSystemdManager, type UnitManager } from '@flotilla/systemd'
import type { Config } from './config.ts'
import { tieUnits } from './tie.ts'

/** The unit manager that the configuration names. */
export async function openUnitManager(config: Config, machineID: string): Promise<UnitManager> {
  const { unitsDirectory, stateDirectory } = config
  await mkdir(unitsDirectory, { recursive: true, mode: 0o755 })
  if (config.unitManager === 'systemd') {
    return await createSystemdManager({ unitsDirectory, user: config.systemdUser })
  }
  const environment = config.embeddedTie ? tieUnits() : {}
  return await createEmbeddedManager({ unitsDirectory, stateDirectory, machineID, environment })
}
