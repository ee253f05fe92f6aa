import { connect, type Socket } from 'node:net'
import { createSecureContext } from 'node:tls'
import type { Test } from 'tap'
import { Cluster } from '../../src/cluster.ts'
import { Machine } from '../../src/machine.ts'
import { newBirth } from '../../src/membership/birth.ts'
import { PeerPort } from '../../src/peer-port.ts'
import { Peers, type PeersListener, type PeersOptions } from '../../src/peers.ts'
import { Store } from '../../src/store/store.ts'
import { LogLines } from './log-lines.ts'
import { withoutTls } from './no-tls.ts'
import { freePorts } from './store-process.ts'

/** Names and peer URLs of a cluster that begins. */
export type FirstMembers = ReadonlyMap<string, readonly string[]>

export interface OpenPeers {
  readonly peers: Peers
  readonly log: LogLines
  readonly cluster: Cluster
}

const nothing = (): void => undefined

/** Who hears what the peers say, and does nothing about it. */
export const DEAF: PeersListener = {
  receive: nothing,
  unreachable: nothing,
  silent: nothing,
  unsent: nothing,
  install: nothing,
  removed: nothing,
  isDamaged: () => false,
}

/** What one member of a new cluster has to do with the others; closed with the test. */
export function openPeers(
  tt: Test,
  name: string,
  initialCluster: FirstMembers,
  more: Partial<PeersOptions> = {},
): OpenPeers {
  const birth = newBirth({ name, initialCluster, token: 'etcd-cluster' })
  const store = new Store({ historySize: 10 })
  const machine = new Machine(store)
  for (const entry of birth.entries) machine.apply(entry)
  const log = new LogLines()
  const peers = new Peers({
    identity: birth.identity,
    incarnation: 1,
    peerURLs: initialCluster.get(name) ?? [],
    roster: machine.roster,
    first: birth.peers,
    historySize: 10,
    tls: () => ({ secureContext: createSecureContext(), rejectUnauthorized: true }),
    electionMs: 1000,
    logger: log.logger,
    nowMs: Date.now,
    random: () => 0,
    ...more,
  })
  tt.teardown(() => peers.close())
  return { peers, log, cluster: new Cluster(birth.identity, store, machine.roster) }
}

/** Serves a member's peer port without TLS until the test ends. Gives its TCP port. */
export async function servePeers(
  tt: Test,
  { peers, log, cluster }: OpenPeers,
  url: URL,
  headMs?: number,
): Promise<number> {
  const { logger } = log
  const tls = await withoutTls(tt, 'peer', logger)
  const options = { cluster, peers, tls, logger, ...(headMs === undefined ? {} : { headMs }) }
  const port = new PeerPort(options)
  await port.listen(url)
  tt.teardown(() => port.close())
  return Number(url.port)
}

/** A URL where nobody listens yet. */
export async function freePeerUrl(): Promise<URL> {
  return new URL(`http://127.0.0.1:${(await freePorts()).peer}`)
}

/** A connection that sends this, and then neither sends nor closes anything by itself. */
export function dialRaw(tt: Test, port: number, text: string): Socket {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  socket.on('error', () => undefined)
  socket.setEncoding('latin1').write(text)
  tt.teardown(() => socket.destroy())
  return socket
}
