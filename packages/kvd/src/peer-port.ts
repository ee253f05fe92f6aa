import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Logger } from '@flotilla/daemon'
import { SERVER_VERSION, type Cluster } from './cluster.ts'
import { HttpPort } from './http-port.ts'
import type { Peers } from './peers.ts'
import type { TlsIdentity } from './tls/tls-identity.ts'
import { SNAPSHOT_PATH } from './transport/snapshot-sender.ts'

/** Who connects and asks for nothing is dropped (rafthttp ConnReadTimeout). */
const HEAD_MS_MAX = 5_000

export interface PeerPortOptions {
  readonly cluster: Cluster
  readonly peers: Peers
  readonly tls: TlsIdentity
  readonly logger: Logger
  /** Default 5 s. */
  readonly headMs?: number
}

/** The peer port: what proxies and joining members read (kvd.md 8), and the other members' ways in. */
export class PeerPort {
  readonly #options: PeerPortOptions
  readonly #ports: HttpPort[] = []

  constructor(options: PeerPortOptions) {
    this.#options = options
  }

  /** @throws ListenError */
  async listen(url: URL): Promise<void> {
    const { tls, logger, peers, headMs = HEAD_MS_MAX } = this.#options
    const port = new HttpPort({
      url,
      tls,
      logger,
      // A snapshot may take longer than any request does; it has a limit of its own.
      http: { requestTimeout: 0 },
      headMs,
      answer: (request, response) => this.#answer(request, response),
    })
    port.server.on('upgrade', (request, socket, head) => {
      if (!peers.acceptor.upgrade(request, socket, head)) socket.destroy()
    })
    await port.listen()
    this.#ports.push(port)
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { cluster, peers } = this.#options
    const path = request.url ?? '/'
    if (path === SNAPSHOT_PATH && request.method === 'POST') {
      void peers.snapshots.take(request, response)
      return
    }
    // Nothing else has a body, and one that trickles would hold its connection.
    response.shouldKeepAlive &&= !hasBody(request)
    response.setHeader('X-Etcd-Cluster-Id', cluster.id)
    if (path === '/members' || path === '/members/') {
      response.setHeader('Content-Type', 'application/json')
      response.end(`${this.#membersJson()}\n`)
    } else if (path === '/version') {
      response.setHeader('Content-Type', 'application/json')
      const etcdcluster = cluster.version ?? 'not_decided'
      response.end(JSON.stringify({ etcdserver: SERVER_VERSION, etcdcluster }))
    } else {
      response.statusCode = 404
      response.setHeader('Content-Type', 'text/plain; charset=utf-8')
      response.end('404 page not found\n')
    }
  }

  /** Ids are 64-bit JSON numbers here, which JSON.stringify cannot write. */
  #membersJson(): string {
    const members = this.#options.cluster.members().map((member) => {
      const id = BigInt(`0x${member.id}`).toString()
      const { peerURLs, name, clientURLs } = member
      return `{"id":${id},"peerURLs":${JSON.stringify(peerURLs)},"name":${JSON.stringify(name)},"clientURLs":${JSON.stringify(clientURLs)}}`
    })
    return `[${members.join(',')}]`
  }

  close(): void {
    for (const port of this.#ports) {
      void port.close()
      port.destroy()
    }
  }
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined
}
