import type { Cluster } from './cluster.ts'
import { waitFor } from './deadline.ts'
import type { Machine } from './machine.ts'
import { addressOf } from './network.ts'

/** The official and the legacy client port, which every machine of ours listens on. */
const STORE_PORTS: readonly number[] = [2379, 4001]
const PEER_PORT = 2380
/** fleet's port in its documentation; the unix socket is there in any case. */
const FLEET_PORT = 49153
const JOIN_MS = 60_000

/** The store's client URLs on m1, which is a member in any cluster, as seen by machines and by the sandbox. */
export const STORE_URLS: readonly string[] = storeURLs(addressOf(1))

/** The client URLs of the store, or of the proxy, at an address. */
export function storeURLs(address: string): string[] {
  return STORE_PORTS.map((port) => `http://${address}:${port}`)
}

/** The fleet API of a machine, as seen by the others and by the sandbox. */
export function fleetURL(machine: Machine): string {
  return `http://${machine.address}:${FLEET_PORT}`
}

/**
 * Which of the machines have the store's data: the first three, or the first alone where there are fewer,
 * as two members survive no more than one does.
 */
export function storeMembers(machines: readonly Machine[]): readonly Machine[] {
  return machines.slice(0, machines.length < 3 ? 1 : 3)
}

/** Installs and enables the store on a machine before its first boot: a member, or a proxy to the members. */
export async function installStore(machine: Machine, machines: readonly Machine[]): Promise<void> {
  await machine.install('kvd', storeSettings(machine, machines))
  await machine.enable('kvd.service')
  await machine.install('kvctl')
}

/**
 * Installs and enables all our programs on a machine before its first boot: the store; fleetd, which
 * speaks to the store of its own machine; and the command lines. `fleet` adds to fleetd's settings.
 */
export async function installFlotilla(
  machine: Machine,
  machines: readonly Machine[],
  fleet: Readonly<Record<string, string>> = {},
): Promise<void> {
  await installStore(machine, machines)
  await machine.install('fleetctl')
  await machine.install('fleetd', {
    FLEET_PUBLIC_IP: machine.address,
    FLEET_LISTEN: `http://0.0.0.0:${FLEET_PORT}`,
    ...fleet,
  })
  await machine.enable('fleetd.service')
}

/** What kvd is told on a machine: the same first members everywhere, and what this one is itself. */
function storeSettings(machine: Machine, machines: readonly Machine[]): Record<string, string> {
  const members = storeMembers(machines)
  const peerURL = ({ address }: Machine): string => `http://${address}:${PEER_PORT}`
  const common = {
    ETCD_NAME: machine.name,
    ETCD_INITIAL_CLUSTER: members.map((one) => `${one.name}=${peerURL(one)}`).join(','),
    ETCD_LISTEN_CLIENT_URLS: storeURLs('0.0.0.0').join(','),
    ETCD_ADVERTISE_CLIENT_URLS: storeURLs(machine.address).join(','),
  }
  if (!members.includes(machine)) return { ...common, ETCD_PROXY: 'on' }
  return {
    ...common,
    ETCD_LISTEN_PEER_URLS: peerURL(machine),
    ETCD_INITIAL_ADVERTISE_PEER_URLS: peerURL(machine),
  }
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
