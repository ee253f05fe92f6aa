import type { IncomingHttpHeaders } from 'node:http'
import type { MemberId } from '../raft/types.ts'

/** What a member says of itself when it dials another one. Names of headers are etcd 2.3's (rafthttp). */
export interface Greeting {
  readonly clusterId: string
  readonly from: MemberId
  readonly to: MemberId
  /** `major.minor.patch` of the speaker, and of the oldest one that it understands. */
  readonly version: string
  readonly minVersion: string
  readonly peerURLs: readonly string[]
  /** Grows with each start of the process. */
  readonly incarnation: number
}

/** What decides about a greeting. */
export interface Host {
  readonly clusterId: string
  readonly id: MemberId
  readonly version: string
  readonly minVersion: string
  isMember(id: MemberId): boolean
  isRemoved(id: MemberId): boolean
  /** The newest incarnation that was heard of; 0 for none. */
  incarnationOf(id: MemberId): number
}

/** Why somebody is not let in: an HTTP status and a text. */
export interface GreetingRefusal {
  readonly status: 400 | 404 | 409 | 410 | 412
  readonly text: string
}

/** The words, besides status 410, by which a member learns that it was removed. */
export const REMOVED = 'removed member'

const HEADERS = {
  clusterId: 'x-etcd-cluster-id',
  from: 'x-server-from',
  to: 'x-raft-to',
  version: 'x-server-version',
  minVersion: 'x-min-cluster-version',
  peerURLs: 'x-peerurls',
  incarnation: 'x-kvd-incarnation',
} as const

const ID = /^(?:0|[1-9a-f][0-9a-f]{0,15})$/
const VERSION = /^\d{1,6}\.\d{1,6}\.\d{1,6}$/

export function greetingHeaders(greeting: Greeting): Record<string, string> {
  return {
    [HEADERS.clusterId]: greeting.clusterId,
    [HEADERS.from]: greeting.from,
    [HEADERS.to]: greeting.to,
    [HEADERS.version]: greeting.version,
    [HEADERS.minVersion]: greeting.minVersion,
    [HEADERS.peerURLs]: greeting.peerURLs.join(','),
    [HEADERS.incarnation]: String(greeting.incarnation),
  }
}

/** Undefined when something is missing or is not what it should be. */
export function readGreeting(headers: IncomingHttpHeaders): Greeting | undefined {
  const read = (name: string): string => {
    const value = headers[name]
    return typeof value === 'string' ? value : ''
  }
  const ids = [read(HEADERS.clusterId), read(HEADERS.from), read(HEADERS.to)]
  const versions = [read(HEADERS.version), read(HEADERS.minVersion)]
  const incarnation = read(HEADERS.incarnation)
  const isWhole = ids.every((id) => ID.test(id)) && versions.every((text) => VERSION.test(text))
  if (!isWhole || !/^\d{1,15}$/.test(incarnation)) return undefined
  const [clusterId = '', from = '', to = ''] = ids
  const [version = '', minVersion = ''] = versions
  const peerURLs = read(HEADERS.peerURLs)
  return {
    clusterId,
    from,
    to,
    version,
    minVersion,
    peerURLs: peerURLs === '' ? [] : peerURLs.split(','),
    incarnation: Number(incarnation),
  }
}

/** Undefined: welcome. The texts are the original's where it has one. */
export function judgeGreeting(
  greeting: Greeting | undefined,
  host: Host,
): GreetingRefusal | undefined {
  if (greeting === undefined)
    return { status: 400, text: 'not a kvd peer: kvd and etcd cannot be members of one cluster' }
  const { from } = greeting
  if (greeting.clusterId !== host.clusterId) return { status: 412, text: 'cluster ID mismatch' }
  if (isOlder(greeting.version, host.minVersion) || isOlder(host.version, greeting.minVersion))
    return { status: 412, text: 'incompatible version' }
  if (greeting.to !== host.id) return { status: 412, text: 'to field mismatch' }
  if (host.isRemoved(from)) return { status: 410, text: REMOVED }
  if (!host.isMember(from)) return { status: 404, text: 'error sender not found' }
  if (greeting.incarnation < host.incarnationOf(from))
    return { status: 409, text: 'stale incarnation' }
  return undefined
}

function isOlder(version: string, than: string): boolean {
  const left = version.split('.').map(Number)
  const right = than.split('.').map(Number)
  for (const [at, part] of left.entries()) if (part !== right[at]) return part < (right[at] ?? 0)
  return false
}
