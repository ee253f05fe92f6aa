import type { Logger } from '@flotilla/daemon'
import { DiscoveryError } from './discovery-error.ts'
import { registrationText, type InitialCluster } from './roster.ts'

/** What is asked of DNS. Both reject when there is no answer, or an empty one. */
export interface NameService {
  /** SRV records of a name such as `_etcd-server._tcp.example.com`. */
  services(name: string): Promise<readonly { readonly host: string; readonly port: number }[]>
  /** The address of a host, an IPv4 one where there is any. */
  address(host: string): Promise<string>
}

export interface SrvOptions {
  readonly names: NameService
  readonly logger: Logger
}

export interface SrvQuestion {
  readonly domain: string
  /** The member that asks, and the peer URLs that it advertises; undefined for a proxy. */
  readonly self: { readonly name: string; readonly peerURLs: readonly string[] } | undefined
}

const SERVICES = [
  ['etcd-server-ssl', 'https'],
  ['etcd-server', 'http'],
] as const

interface Found {
  /** `scheme://host:port` as the record has it. */
  readonly url: string
  /** `address:port` */
  readonly place: string
}

/**
 * The members that the SRV records of a domain name (etcd 2.3 discovery/srv.go). One's own records
 * carry one's name, the others are counted from `0`; priority and weight say nothing.
 * @throws DiscoveryError `SRV` without records, `NOT_A_MEMBER` when none is the asker's
 */
export async function srvCluster(
  { domain, self }: SrvQuestion,
  options: SrvOptions,
): Promise<InitialCluster> {
  const own = await Promise.all(
    (self?.peerURLs ?? []).map(async (url) => await ownPlace(url, options)),
  )
  const found = await findMembers(domain, options)
  const cluster = new Map<string, string[]>()
  let count = 0
  for (const { url, place } of found) {
    const isOwn = self !== undefined && own.includes(place)
    const name = isOwn ? self.name : String(count)
    if (!isOwn) count += 1
    cluster.set(name, [...(cluster.get(name) ?? []), url])
  }
  if (found.length === 0)
    throw new DiscoveryError('SRV', `no host in the SRV records of ${domain} has an address`)
  if (self === undefined) return cluster
  checkSelf(
    self,
    found.filter(({ place }) => own.includes(place)),
    own,
  )
  return cluster
}

/** @throws DiscoveryError `NOT_A_MEMBER` in the original's words (etcdmain/etcd.go, etcdserver/config.go) */
function checkSelf(
  { name, peerURLs }: NonNullable<SrvQuestion['self']>,
  found: readonly Found[],
  own: readonly string[],
): void {
  if (found.length === 0)
    throw new DiscoveryError(
      'NOT_A_MEMBER',
      `cannot find local etcd member ${JSON.stringify(name)} in SRV records`,
    )
  const wanted = peerURLs.map((url, at) => `${new URL(url).protocol}//${own[at] ?? ''}`)
  const got = found.map(({ url, place }) => `${new URL(url).protocol}//${place}`)
  if (wanted.toSorted().join() === got.toSorted().join()) return
  throw new DiscoveryError(
    'NOT_A_MEMBER',
    `--initial-cluster must include ${registrationText(name, peerURLs)} given --initial-advertise-peer-urls=${peerURLs.join(',')}`,
  )
}

async function ownPlace(url: string, { names, logger }: SrvOptions): Promise<string> {
  const { hostname, port } = new URL(url)
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  try {
    return joinPlace(await names.address(host), port)
  } catch (error) {
    logger.error(`discovery: couldn't resolve host ${url} during SRV discovery`)
    throw new DiscoveryError('SRV', `lookup ${host}: ${reasonOf(error)}`, { cause: error })
  }
}

/** Both services are asked; one of them may have no records. */
async function findMembers(domain: string, options: SrvOptions): Promise<readonly Found[]> {
  const { names, logger } = options
  const found: Found[] = []
  const problems: unknown[] = []
  for (const [service, scheme] of SERVICES) {
    try {
      const records = await names.services(`_${service}._tcp.${domain}`)
      for (const { host, port } of records) {
        const member = await resolve(`${scheme}://`, host, port, options)
        if (member === undefined) continue
        logger.info(`discovery: got bootstrap from DNS for ${service} at ${member.url}`)
        found.push(member)
      }
    } catch (error) {
      problems.push(error)
    }
  }
  const last = problems.at(-1)
  if (problems.length < SERVICES.length) return found
  for (const [at, [service]] of SERVICES.entries())
    logger.warn(
      `discovery: error querying DNS SRV records for _${service} ${reasonOf(problems[at])}`,
    )
  logger.error('discovery: SRV discovery failed: too many errors querying DNS SRV records')
  const name = `_etcd-server._tcp.${domain}`
  throw new DiscoveryError('SRV', `lookup ${name}: ${reasonOf(last)}`, { cause: last })
}

async function resolve(
  prefix: string,
  target: string,
  port: number,
  { names, logger }: SrvOptions,
): Promise<Found | undefined> {
  const host = target.replace(/\.$/, '')
  const url = `${prefix}${joinPlace(host, port)}`
  try {
    // A name that no URL can hold cannot be reached.
    if (host === '' || !URL.canParse(url)) throw new Error('invalid host name')
    return { url, place: joinPlace(await names.address(host), port) }
  } catch (error) {
    const reason = reasonOf(error)
    logger.warn(`discovery: couldn't resolve host ${joinPlace(host, port)} during SRV discovery`, {
      reason,
    })
    return undefined
  }
}

function joinPlace(host: string, port: number | string): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Go's words for what DNS answers most often. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const isNone = 'code' in error && (error.code === 'ENOTFOUND' || error.code === 'ENODATA')
  return isNone ? 'no such host' : error.message
}
