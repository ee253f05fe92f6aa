import { askPeer } from '../peer-request.ts'
import type { DialOptions } from '../tls/tls-identity.ts'

/** What a peer port says about its cluster. */
export interface Membership {
  readonly peerURLs: readonly string[]
  readonly clientURLs: readonly string[]
}

/** How to ask, and whom to tell of those that do not answer as they should. */
export interface MembersAsk {
  readonly tls: () => DialOptions
  readonly failed: (url: string, reason: string) => void
}

/** Asks one peer URL after the other for the members; undefined when nobody knows one that serves clients. */
export async function fetchMembers(
  peerURLs: readonly string[],
  ask: MembersAsk,
): Promise<Membership | undefined> {
  for (const url of peerURLs) {
    const found = await askOne(url, ask)
    if (found !== undefined) return found
  }
  return undefined
}

async function askOne(url: string, ask: MembersAsk): Promise<Membership | undefined> {
  try {
    const { text } = await askPeer(new URL('/members', url), ask.tls)
    const members = readMembers(JSON.parse(text))
    // One that has just been added knows nobody yet.
    const isKnowing = members !== undefined && members.clientURLs.length > 0
    if (members === undefined) ask.failed(url, 'the answer is no list of members')
    else if (!isKnowing) ask.failed(url, 'it knows no member that serves clients')
    return isKnowing ? members : undefined
  } catch (error) {
    ask.failed(url, error instanceof Error ? error.message : String(error))
    return undefined
  }
}

/** Undefined when it is no list of members; URLs that are none are left out. */
export function readMembers(document: unknown): Membership | undefined {
  if (!Array.isArray(document)) return undefined
  const members: readonly unknown[] = document
  return {
    peerURLs: members.flatMap((member) => urlsOf(member, 'peerURLs')),
    clientURLs: members.flatMap((member) => urlsOf(member, 'clientURLs')),
  }
}

function urlsOf(member: unknown, name: string): string[] {
  if (typeof member !== 'object' || member === null) return []
  const urls: unknown = Object.entries(member).find(([key]) => key === name)?.[1]
  return Array.isArray(urls) ? urls.filter(isWebUrl) : []
}

/** What cannot be dialled must not cost the requests that would go elsewhere. */
function isWebUrl(url: unknown): url is string {
  return typeof url === 'string' && URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)
}
