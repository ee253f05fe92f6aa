import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { waitFor } from '../../src/harness/deadline.ts'
import { items, member, textOf } from '../../src/harness/json.ts'
import type { Child } from '../../src/launch/child.ts'
import { startKvd } from '../../src/launch/local-processes.ts'
import { choosePorts } from '../../src/launch/ports.ts'
import type { TlsFiles } from './tls-files.ts'
import { startFresh, type Urls } from './start-fresh.ts'
import { relayToTls } from './tls-relay.ts'

const SIZE = 3
const STOP_MS = 5000

/** A member's name, and its URLs as the cluster knows them. */
export interface Place extends Urls {
  readonly name: string
}

/** A member that was started. */
export interface ClusterMember extends Place {
  /** The plain URL at which its API is reached. */
  readonly reach: string
  /** Its data directory. */
  readonly data: string
  readonly kvd: Child
}

export interface ClusterOptions {
  readonly flags?: readonly string[]
  /** Clients and peers talk TLS, and both ends show a certificate. */
  readonly tls?: TlsFiles
  /**
   * All members tell clients the URL of this one (0, 1, 2), as behind a load balancer: a command line that
   * asks for the members and takes any would else read what that one has yet to apply.
   */
  readonly advertised?: number
}

/** Three members as processes on loopback that nobody has written to, all known by name to each other. */
export interface LocalKvds {
  readonly members: readonly ClusterMember[]
  /** `NAME=URL,…`, as the flag takes it. */
  readonly initialCluster: string
  /** Flags that every process of the cluster, proxies too, needs for its TLS. */
  readonly tlsFlags: readonly string[]
}

/** Starts them below a directory. They end with the test. */
export async function startCluster(
  t: Test,
  directory: string,
  options: ClusterOptions = {},
): Promise<LocalKvds> {
  const { flags = [], tls, advertised } = options
  const scheme = tls === undefined ? 'http' : 'https'
  const ports = await choosePorts(Array.from({ length: 2 * SIZE }, () => 0))
  const urls = ports.map((port) => `${scheme}://127.0.0.1:${port}`)
  const places = Array.from({ length: SIZE }, (_, at) => ({
    name: `m${at + 1}`,
    client: urls[2 * at] ?? '',
    peer: urls[2 * at + 1] ?? '',
  }))
  const initialCluster = places.map(({ name, peer }) => `${name}=${peer}`).join(',')
  const told = advertised === undefined ? undefined : places[advertised]?.client
  const tlsFlags = tls === undefined ? [] : flagsOf(tls)
  const members = places.map(async (place): Promise<ClusterMember> => {
    const advertise = ['--advertise-client-urls', told ?? place.client]
    const all = ['--initial-cluster', initialCluster, ...advertise, ...tlsFlags, ...flags]
    const begun = launchMember(t, directory, place, all)
    return tls === undefined ? begun : { ...begun, reach: await relayToTls(t, place.client, tls) }
  })
  const cluster = { members: await Promise.all(members), initialCluster, tlsFlags }
  await Promise.all(cluster.members.map((one) => untilSettled(one)))
  return cluster
}

/** Starts one process with its data and log in a directory called like it, new or not, and does not wait. */
export function launchMember(
  t: Test,
  directory: string,
  place: Place,
  flags: readonly string[],
): ClusterMember {
  const own = join(directory, place.name)
  mkdirSync(own, { recursive: true })
  const { client, peer } = place
  const kvd = startKvd(own, { clients: [client], peer, flags: ['--name', place.name, ...flags] })
  t.teardown(() => kvd.stop(STOP_MS))
  return { ...place, reach: client, data: join(own, 'kvd'), kvd }
}

/** Starts a proxy in front of a cluster and gives the URL where it listens, a plain one. */
export async function startProxy(
  t: Test,
  directory: string,
  { initialCluster, tlsFlags }: Pick<LocalKvds, 'initialCluster' | 'tlsFlags'>,
  mode: 'on' | 'readonly',
  more: readonly string[] = [],
): Promise<string> {
  mkdirSync(directory, { recursive: true })
  const flags = ['--proxy', mode, '--initial-cluster', initialCluster, ...tlsFlags, ...more]
  const { client } = await startFresh(t, directory, flags)
  return client
}

function flagsOf({ ca, cert, key }: TlsFiles): string[] {
  const files = { 'cert-file': cert, 'key-file': key, 'trusted-ca-file': ca }
  return ['', 'peer-'].flatMap((side) => [
    ...Object.entries(files).flatMap(([flag, file]) => [`--${side}${flag}`, file]),
    `--${side}client-cert-auth`,
  ])
}

/**
 * Until a member knows the names and client URLs of all and the cluster's version, which are the writes
 * that a cluster makes by itself: vectors must not count them.
 */
async function untilSettled({ name, reach, kvd }: ClusterMember): Promise<void> {
  const look = async () => {
    const [list, version] = await Promise.all(
      ['/v2/members', '/version'].map(async (path) => {
        const answer = await fetch(`${reach}${path}`)
        return answer.json()
      }),
    )
    const known = items(member(list, 'members')).filter(
      (one) => member(one, 'name') !== '' && items(member(one, 'clientURLs')).length > 0,
    )
    const isSettled = known.length === SIZE && member(version, 'etcdcluster') === '2.3.0'
    return isSettled ? { done: true } : { seen: `${textOf(list)} ${textOf(version)}` }
  }
  await Promise.race([
    waitFor(`${name} to know the cluster`, look, { timeoutMs: 60_000 }),
    kvd.ended.then((how) => {
      throw new Error(`kvd ${name} ended (${how}):\n${kvd.lastWords}`)
    }),
  ])
}
