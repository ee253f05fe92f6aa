import { parseUnitFile, readRequirements, type Job } from '@flotilla/fleet-registry'
import type { PlacementMachine } from '../../src/agent/agent-state.ts'

/** A launched unit with the given `[X-Fleet]` lines. */
export function job(name: string, fleet = '', rest: Partial<Job> = {}): Job {
  const file = parseUnitFile(`[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\n${fleet}\n`)
  const requirements = readRequirements(name, file.options)
  return { name, file, requirements, targetState: 'launched', target: '', ...rest }
}

/** A machine whose metadata is written `k=v`. */
export function machine(id: string, ...metadata: string[]): PlacementMachine {
  const pairs = metadata
    .map((it) => it.split('='))
    .map(([key = '', value = '']) => [key, value] as const)
  return { id, metadata: new Map(pairs) }
}
