import { join } from 'node:path'
import type { Test } from 'tap'
import { Daemon } from '../../src/bench/daemon.ts'
import type { Program } from '../../src/bench/servers.ts'
import { freeUrls } from './start-fresh.ts'

const NAMES = ['e1', 'e2', 'e3']

/**
 * Starts a cluster of three members of a real etcd below a directory and gives their client URLs. They
 * end with the test.
 */
export async function startEtcds(
  t: Test,
  directory: string,
  { command, options }: Program,
): Promise<readonly string[]> {
  const places = await Promise.all(NAMES.map(async (name) => ({ name, ...(await freeUrls()) })))
  const initialCluster = places.map(({ name, peer }) => `${name}=${peer}`).join(',')
  const started = places.map(async ({ name, client, peer }) => {
    const flags = {
      '--name': name,
      '--data-dir': join(directory, name),
      '--listen-client-urls': client,
      '--advertise-client-urls': client,
      '--listen-peer-urls': peer,
      '--initial-advertise-peer-urls': peer,
      '--initial-cluster': initialCluster,
      // As it was by default in 2.3. With it, etcd lets nobody in for its first 5 s.
      '--strict-reconfig-check': 'false',
    }
    const words = Object.entries(flags).map(([flag, value]) => `${flag}=${value}`)
    const daemon = await Daemon.start(command, [...options, ...words], directory)
    t.teardown(() => daemon.end('SIGKILL'))
    await daemon.untilWritable(client)
    return client
  })
  return await Promise.all(started)
}
