import { addressOf } from './network.ts'
import type { Machine } from './machine.ts'

/** Where the store is in a cluster whose only member is m1. */
const STORE_URLS = [2379, 4001].map((port) => `http://${addressOf(1)}:${port}`).join(',')

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
      ETCD_LISTEN_CLIENT_URLS: 'http://0.0.0.0:2379,http://0.0.0.0:4001',
      ETCD_ADVERTISE_CLIENT_URLS: STORE_URLS,
    })
    await machine.enable('kvd.service')
  }
  await machine.install('kvctl')
  await machine.install('fleetctl')
  await machine.install('fleetd', {
    FLEET_ETCD_SERVERS: STORE_URLS,
    FLEET_PUBLIC_IP: machine.address,
    ...fleet,
  })
  await machine.enable('fleetd.service')
}
