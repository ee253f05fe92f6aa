import type { UnitState } from '@flotilla/fleet-registry'
import type { CurrentUnit } from './agent/reconcile.ts'

/** What SIGUSR1 prints, one line of JSON with the members of fleet 1.0 (server/server.go, MarshalJSON of its parts). */
export function dumpState(
  units: ReadonlyMap<string, CurrentUnit>,
  published: ReadonlyMap<string, UnitState>,
): string {
  const names = [...units.keys()].toSorted()
  const targets = names.map((name) => [name, units.get(name)?.state] as const)
  const states = [...published].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(toEntry)
  return JSON.stringify({
    Agent: { Cache: { TargetStates: Object.fromEntries(targets) } },
    UnitStatePublisher: { Cache: Object.fromEntries(states), ToPublish: {} },
    UnitStateGenerator: { Subscribed: names },
  })
}

function toEntry([name, state]: [string, UnitState]): [string, Record<string, string>] {
  return [
    name,
    {
      LoadState: state.loadState,
      ActiveState: state.activeState,
      SubState: state.subState,
      MachineID: state.machineID,
      UnitHash: state.unitHash,
      UnitName: '',
    },
  ]
}
