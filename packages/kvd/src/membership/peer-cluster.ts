import { askPeer } from '../peer-request.ts'
import type { MemberId } from '../raft/types.ts'
import type { DialOptions } from '../tls/tls-identity.ts'

/** A member as another one's peer port describes it. */
export interface PeerMember {
  readonly id: MemberId
  readonly name: string
  readonly peerURLs: readonly string[]
  readonly clientURLs: readonly string[]
}

/** A running cluster, as one of its members sees it. */
export interface PeerCluster {
  readonly clusterId: string
  readonly members: readonly PeerMember[]
}

/** How peers are asked. */
export interface PeerAsk {
  /** How to dial an https URL. */
  readonly tls: () => DialOptions
  readonly answerMs: number
  /** Hears why one does not answer as it should. */
  readonly failed: (url: string, reason: string) => void
}

/** Asks one peer URL after the other for its cluster; undefined when nobody knows its members. */
export async function fetchCluster(
  peerURLs: readonly string[],
  ask: PeerAsk,
): Promise<PeerCluster | undefined> {
  for (const url of peerURLs) {
    const found = await askOne(url, ask)
    if (found !== undefined) return found
  }
  return undefined
}

/** 64 bits as ids are printed; 0 is nobody's. */
const ID = /^[1-9a-f][0-9a-f]{0,15}$/

async function askOne(url: string, ask: PeerAsk): Promise<PeerCluster | undefined> {
  try {
    const { text, clusterId } = await askPeer(new URL('/members', url), ask.tls, ask.answerMs)
    const members = readPeerMembers(text)
    if (members === undefined) ask.failed(url, 'the answer is no list of members')
    else if (!ID.test(clusterId)) ask.failed(url, 'the answer names no cluster')
    // One that has just been added itself.
    else if (members.length === 0) ask.failed(url, 'it knows no members yet')
    else return { clusterId, members }
  } catch (error) {
    ask.failed(url, error instanceof Error ? error.message : String(error))
  }
  return undefined
}

/** Ids are 64-bit numbers, more than JSON.parse keeps. Undefined when the text is no list of members. */
export function readPeerMembers(text: string): readonly PeerMember[] | undefined {
  let document: unknown
  try {
    document = JSON.parse(text.replace(/"id"\s*:\s*(\d{1,20})(?=\s*[,}])/g, '"id":"$1"'))
  } catch {
    return undefined
  }
  if (!Array.isArray(document)) return undefined
  const members: PeerMember[] = []
  for (const one of document) {
    const member = readMember(one)
    if (member === undefined) return undefined
    members.push(member)
  }
  return members
}

function readMember(value: unknown): PeerMember | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const fields = new Map<string, unknown>(Object.entries(value))
  const id = fields.get('id')
  const name = fields.get('name') ?? ''
  if (typeof id !== 'string' || !/^\d+$/.test(id) || typeof name !== 'string') return undefined
  const printed = BigInt(id).toString(16)
  if (!ID.test(printed)) return undefined
  return {
    id: printed,
    name,
    peerURLs: urlsOf(fields.get('peerURLs')),
    clientURLs: urlsOf(fields.get('clientURLs')),
  }
}

function urlsOf(urls: unknown): string[] {
  return Array.isArray(urls) ? urls.filter((url): url is string => typeof url === 'string') : []
}
