import type { IncomingMessage, ServerResponse } from 'node:http'
import { SERVER_VERSION } from './cluster.ts'

/** A member as proxies and those who join are told of it. */
interface ToldMember {
  /** Hexadecimal. */
  readonly id: string
  readonly name: string
  readonly peerURLs: readonly string[]
  readonly clientURLs: readonly string[]
}

/** What a peer port tells of its cluster. */
export interface PeerInfo {
  readonly id: string
  /** Undefined before the members have agreed on one. */
  readonly version: string | undefined
  members(): readonly ToldMember[]
}

/** Answers /members and /version at a peer port (kvd.md 8), and everything else with 404. */
export function answerPeer(
  info: PeerInfo,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const path = request.url ?? '/'
  // Nothing here has a body, and one that trickles would hold its connection.
  response.shouldKeepAlive &&= !hasBody(request)
  response.setHeader('X-Etcd-Cluster-Id', info.id)
  if (path === '/members' || path === '/members/') {
    response.setHeader('Content-Type', 'application/json')
    response.end(`${membersJson(info.members())}\n`)
  } else if (path === '/version') {
    response.setHeader('Content-Type', 'application/json')
    const etcdcluster = info.version ?? 'not_decided'
    response.end(JSON.stringify({ etcdserver: SERVER_VERSION, etcdcluster }))
  } else {
    response.statusCode = 404
    response.setHeader('Content-Type', 'text/plain; charset=utf-8')
    response.end('404 page not found\n')
  }
}

/** Ids are 64-bit JSON numbers here, which JSON.stringify cannot write. */
function membersJson(members: readonly ToldMember[]): string {
  const texts = members.map((member) => {
    const id = BigInt(`0x${member.id}`).toString()
    const { peerURLs, name, clientURLs } = member
    return `{"id":${id},"peerURLs":${JSON.stringify(peerURLs)},"name":${JSON.stringify(name)},"clientURLs":${JSON.stringify(clientURLs)}}`
  })
  return `[${texts.join(',')}]`
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined
}
