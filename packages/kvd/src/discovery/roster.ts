import type { KvNode } from '@flotilla/kv-client'
import { peerUrlProblem } from '../http/peer-urls.ts'
import { DiscoveryError } from './discovery-error.ts'

/** Peer URLs by the name of the member. */
export type InitialCluster = ReadonlyMap<string, readonly string[]>

/** Who has registered under a discovery URL, the first one first. */
export interface Roster {
  readonly size: number
  /** The members that count: those who came first, `size` of them at the most. */
  readonly members: readonly Registration[]
  /** All places are taken, and none by the asker. */
  readonly isFull: boolean
}

export interface Registration {
  /** Member id in hexadecimal, where nobody played tricks. */
  readonly id: string
  /** `NAME=URL,NAME=URL` */
  readonly text: string
}

/** Members of a new cluster. @throws DiscoveryError `BAD_SIZE` */
export function readSize(text: string): number {
  const size = /^\+?\d+$/.test(text) ? Number(text) : 0
  // The original takes 0 and less, and fails when nobody is a member.
  if (size < 1 || !Number.isSafeInteger(size)) throw new DiscoveryError('BAD_SIZE')
  return size
}

/**
 * Reads the directory of a token (etcd 2.3 checkCluster): whoever was created first counts, later
 * ones find the cluster full.
 * @param ownId undefined for one that only looks, as a proxy does
 */
export function readRoster(directory: KvNode, size: number, ownId: string | undefined): Roster {
  const all = (directory.nodes ?? [])
    .filter((node) => baseOf(node.key) !== '_config')
    .toSorted((left, right) => left.createdIndex - right.createdIndex)
    .map(({ key, value }): Registration => ({ id: baseOf(key), text: value ?? '' }))
  const members = all.slice(0, size)
  const isOwn = members.some(({ id }) => id === ownId)
  return { size, members, isFull: members.length === size && !isOwn }
}

function baseOf(key: string): string {
  return key.slice(key.lastIndexOf('/') + 1)
}

/** What a member registers: its name with each of its peer URLs, sorted. */
export function registrationText(name: string, peerURLs: readonly string[]): string {
  return peerURLs
    .map((url) => `${name}=${url}`)
    .toSorted()
    .join(',')
}

/**
 * The initial cluster that texts as in `--initial-cluster` stand for (etcd 2.3 pkg/types/urlsmap.go).
 * @throws DiscoveryError `INVALID_URL`
 */
export function parseMembers(texts: readonly string[]): InitialCluster {
  const cluster = new Map<string, string[]>()
  for (const entry of texts.join(',').split(',')) {
    const equals = entry.indexOf('=')
    const url = entry.slice(equals + 1).trim()
    if (equals < 1 || peerUrlProblem(url) !== undefined) throw new DiscoveryError('INVALID_URL')
    const name = entry.slice(0, equals)
    cluster.set(name, [...(cluster.get(name) ?? []), url].toSorted())
  }
  return cluster
}

/**
 * The initial cluster of a full roster.
 * @throws DiscoveryError `INVALID_URL`, `DUPLICATE_NAME`, `DUPLICATE_URL`
 */
export function clusterOf({ members, size }: Roster): InitialCluster {
  const cluster = parseMembers(members.map(({ text }) => text))
  if (cluster.size !== size) throw new DiscoveryError('DUPLICATE_NAME')
  checkUrls(cluster)
  return cluster
}

/** Two members cannot be reached at one place. @throws DiscoveryError `DUPLICATE_URL` */
export function checkUrls(cluster: InitialCluster): void {
  const urls = [...cluster.values()].flat()
  if (new Set(urls).size === urls.length) return
  const text = [...cluster].map(([name, own]) => registrationText(name, own)).join(',')
  throw new DiscoveryError('DUPLICATE_URL', `discovery cluster ${text} has duplicate url`)
}
