import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { machineIDOf } from '../harness/cluster.ts'
import { which } from '../harness/host.ts'
import { program } from '../harness/paths.ts'
import { Child } from './child.ts'

/** One fleetd that stands for a machine, with units of its own. */
export interface LocalMachine {
  readonly name: string
  readonly machineID: string
  /** The fleet API of this machine. */
  readonly endpoint: string
  readonly fleetd: Child
}

/** What a machine is told at its start. */
export interface LocalMachineOptions {
  readonly number: number
  readonly endpoint: string
  readonly storeURLs: readonly string[]
  readonly agentTTL: string
}

/** Where a store listens; `flags` come behind ours. A front for an existing cluster is no member. */
export interface LocalStoreOptions {
  readonly clients: readonly string[]
  readonly peer: string
  readonly isFront?: boolean
  readonly flags?: readonly string[]
}

/** Starts a store with its data below `directory`. */
export function startKvd(directory: string, options: LocalStoreOptions): Child {
  const clients = options.clients.join(',')
  const { peer, isFront = false, flags = [] } = options
  const own = {
    '--name': 'local',
    '--data-dir': join(directory, 'kvd'),
    '--listen-client-urls': clients,
    '--advertise-client-urls': clients,
    '--listen-peer-urls': peer,
    '--initial-advertise-peer-urls': peer,
    ...(isFront ? {} : { '--initial-cluster': `local=${peer}` }),
  }
  const words = [...Object.entries(own).flat(), ...flags]
  return new Child({
    name: 'kvd',
    argv: [...tied(), process.execPath, program('kvd'), ...words],
    env: environment({}),
    logFile: join(directory, 'kvd.log'),
  })
}

/** Starts a fleetd that runs units itself, in a directory of its own. */
export function startMachine(directory: string, options: LocalMachineOptions): LocalMachine {
  const name = `m${options.number}`
  const machineID = machineIDOf(options.number)
  const own = join(directory, name)
  mkdirSync(own)
  const fleetd = new Child({
    name: `fleetd of ${name}`,
    argv: [...tied(), process.execPath, program('fleetd')],
    env: environment({
      FLEET_ETCD_SERVERS: options.storeURLs.join(','),
      FLEET_PUBLIC_IP: '127.0.0.1',
      FLEET_METADATA: `name=${name}`,
      FLEET_AGENT_TTL: options.agentTTL,
      FLEET_MACHINE_ID: machineID,
      FLEET_UNIT_MANAGER: 'embedded',
      FLEET_EMBEDDED_TIE: 'true',
      FLEET_UNITS_DIRECTORY: join(own, 'units'),
      FLEET_STATE_DIRECTORY: join(own, 'state'),
      FLEET_LISTEN: options.endpoint,
    }),
    logFile: join(own, 'fleetd.log'),
  })
  return { name, machineID, endpoint: options.endpoint, fleetd }
}

/** Begins a command line whose process dies with this one, where util-linux is there to arrange it. */
function tied(): readonly string[] {
  return which('setpriv') === undefined ? [] : ['setpriv', '--pdeathsig', 'KILL']
}

/** Variables that would configure our programs behind our back, and node settings that slow their start. */
const DROPPED = /^(?:ETCD|KVD|FLEET|NOTIFY_SOCKET$|LISTEN_|NODE_OPTIONS$|NODE_EXTRA_CA_CERTS$)/

/** This process's environment as our programs and commands should see it. */
export function environment(own: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !DROPPED.test(name))
  return { ...Object.fromEntries(kept), ...own }
}
