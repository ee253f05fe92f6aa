import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { SERVER_VERSION, type Cluster } from './cluster.ts'
import { bind } from './listener.ts'
import type { Peers } from './peers.ts'
import { SNAPSHOT_PATH } from './transport/snapshot-sender.ts'

/** The peer port: what proxies and joining members read (kvd.md 8), and the other members' ways in. */
export class PeerPort {
  readonly #cluster: Cluster
  readonly #peers: Peers
  readonly #servers: Server[] = []

  constructor(cluster: Cluster, peers: Peers) {
    this.#cluster = cluster
    this.#peers = peers
  }

  /** @throws ListenError */
  async listen(url: URL): Promise<void> {
    // A snapshot may take longer than any request does; it has a limit of its own.
    const server = createServer({ requestTimeout: 0 }, (request, response) =>
      this.#answer(request, response),
    )
    server.on('upgrade', (request, socket, head) => {
      if (!this.#peers.acceptor.upgrade(request, socket, head)) socket.destroy()
    })
    await bind(server, url)
    this.#servers.push(server)
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? '/'
    if (path === SNAPSHOT_PATH && request.method === 'POST') {
      void this.#peers.snapshots.take(request, response)
      return
    }
    response.setHeader('X-Etcd-Cluster-Id', this.#cluster.id)
    if (path === '/members' || path === '/members/') {
      response.setHeader('Content-Type', 'application/json')
      response.end(`${this.#membersJson()}\n`)
    } else if (path === '/version') {
      response.setHeader('Content-Type', 'application/json')
      const etcdcluster = this.#cluster.version ?? 'not_decided'
      response.end(JSON.stringify({ etcdserver: SERVER_VERSION, etcdcluster }))
    } else {
      response.statusCode = 404
      response.setHeader('Content-Type', 'text/plain; charset=utf-8')
      response.end('404 page not found\n')
    }
  }

  /** Ids are 64-bit JSON numbers here, which JSON.stringify cannot write. */
  #membersJson(): string {
    const members = this.#cluster.members().map((member) => {
      const id = BigInt(`0x${member.id}`).toString()
      const { peerURLs, name, clientURLs } = member
      return `{"id":${id},"peerURLs":${JSON.stringify(peerURLs)},"name":${JSON.stringify(name)},"clientURLs":${JSON.stringify(clientURLs)}}`
    })
    return `[${members.join(',')}]`
  }

  close(): void {
    for (const server of this.#servers) {
      server.close()
      server.closeAllConnections()
    }
  }
}
