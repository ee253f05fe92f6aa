import {
  registryKeys,
  UnitRegistry,
  type Machine as RegistryMachine,
  type NamedUnitState,
  type Unit as RegistryUnit,
} from '@flotilla/fleet-registry'
import { ClusterError, createClient, type ClientOptions } from '@flotilla/kv-client'
import { createApiClient } from './api-client.ts'
import {
  ClientError,
  type Client,
  type Machine,
  type Question,
  type Unit,
  type UnitState,
} from './types.ts'

/** A client that does the registry operations itself (`--driver=etcd`). */
export function createStoreClient(options: ClientOptions, prefix: string): Client {
  const store = createClient(options)
  const registry = new UnitRegistry(store, registryKeys(prefix))
  return {
    machines: async () => (await told(registry.machines())).map(toMachine),
    units: async () => (await told(registry.units())).map(toUnit),
    unit: async (name) => {
      const unit = await told(registry.unit(name))
      return unit === undefined ? undefined : toUnit(unit)
    },
    states: async () => (await told(registry.unitStates())).map(toState),
    statesOf: async (name) => (await told(registry.statesOf(name))).map(toState),
    putUnit: async (name, unitOptions, state) => {
      await told(registry.putUnit(name, unitOptions, state))
    },
    setTargetState: async (name, state) => await told(registry.setTargetState(name, state)),
    destroyUnit: async (name) => {
      // The original's driver takes an absent unit for success.
      await told(registry.destroyUnit(name))
    },
    ask: async (question: Question) => {
      const url = await told(registry.apiURL(question.machineID))
      if (url === undefined) return undefined
      return await createApiClient({ type: 'url', url: new URL(url) }).ask(question)
    },
    close: () => store.close(),
  }
}

/** Errors of the store as go-etcd words them, with its newline at the end. */
async function told<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error
    const details = error.errors.map((it, at) => `; error #${at}: ${it.error.message}\n`)
    throw new ClientError(`${error.message}${details.join('')}`)
  }
}

function toMachine(machine: RegistryMachine): Machine {
  const { id, publicIP, metadata, version } = machine
  return { id, ip: publicIP, metadata, version }
}

function toUnit(unit: RegistryUnit): Unit {
  const { name, file, isGlobal, targetState, currentState, target } = unit
  return {
    name,
    options: file.options,
    desiredState: targetState,
    currentState: isGlobal ? '' : currentState,
    machineID: isGlobal ? '' : target,
    isGlobal,
  }
}

function toState(state: NamedUnitState): UnitState {
  return {
    name: state.name,
    hash: state.unitHash,
    machineID: state.machineID,
    load: state.loadState,
    active: state.activeState,
    sub: state.subState,
  }
}
