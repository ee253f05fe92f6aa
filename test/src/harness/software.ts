import type { Cluster } from './cluster.ts'
import { waitFor } from './deadline.ts'
import type { Machine } from './machine.ts'
import { addressOf } from './network.ts'

const STORE_PORTS = [2379, 4001]
/** fleet's port in its documentation; the unix socket is there in any case. */
const FLEET_PORT = 49153
const JOIN_MS = 60_000

/** Where the store is in a cluster whose only member is m1, as seen by machines and by the sandbox. */
export const STORE_URLS: readonly string[] = STORE_PORTS.map(
  (port) => `http://${addressOf(1)}:${port}`,
)

/** The fleet API of a machine, as seen by the others and by the sandbox. */
export function fleetURL(machine: Machine): string {
  return `http://${machine.address}:${FLEET_PORT}`
}

/**
 * Installs and enables our programs on a machine before its first boot: the store on m1, fleetd and the
 * command lines everywhere. `fleet` adds to fleetd's settings.
 */
export async function installFlotilla(
  machine: Machine,
  fleet: Readonly<Record<string, string>> = {},
): Promise<void> {
  if (machine.address === addressOf(1)) {
    await machine.install('kvd', {
      ETCD_NAME: machine.name,
      ETCD_LISTEN_CLIENT_URLS: STORE_PORTS.map((port) => `http://0.0.0.0:${port}`).join(','),
      ETCD_ADVERTISE_CLIENT_URLS: STORE_URLS.join(','),
    })
    await machine.enable('kvd.service')
  }
  await machine.install('kvctl')
  await machine.install('fleetctl')
  await machine.install('fleetd', {
    FLEET_ETCD_SERVERS: STORE_URLS.join(','),
    FLEET_PUBLIC_IP: machine.address,
    FLEET_LISTEN: `http://0.0.0.0:${FLEET_PORT}`,
    ...fleet,
  })
  await machine.enable('fleetd.service')
}

/** Waits until fleetctl on every machine lists every machine that is on. */
export async function untilJoined(cluster: Cluster): Promise<void> {
  const on = cluster.machines.filter((machine) => machine.isRunning)
  const look = (machine: Machine) => async () => {
    const list = await machine.must(['fleetctl', 'list-machines', '--full', '--no-legend'])
    const isComplete = on.every(({ machineID }) => list.includes(machineID))
    return isComplete ? { done: true } : { seen: list }
  }
  for (const machine of on)
    await waitFor(`${machine.name} to see all machines`, look(machine), { timeoutMs: JOIN_MS })
}
