import { createServer, type Server, type ServerResponse } from 'node:http'
import { SERVER_VERSION, type Cluster } from './cluster.ts'
import { bind } from './listener.ts'
import type { Acceptor } from './transport/acceptor.ts'

/** The peer port: what proxies and joining members read (kvd.md 8), and the other members' ways in. */
export class PeerPort {
  readonly #cluster: Cluster
  readonly #acceptor: Acceptor
  readonly #servers: Server[] = []

  constructor(cluster: Cluster, acceptor: Acceptor) {
    this.#cluster = cluster
    this.#acceptor = acceptor
  }

  /** @throws ListenError */
  async listen(url: URL): Promise<void> {
    const server = createServer((request, response) => this.#answer(request.url ?? '/', response))
    server.on('upgrade', (request, socket, head) => {
      if (!this.#acceptor.upgrade(request, socket, head)) socket.destroy()
    })
    await bind(server, url)
    this.#servers.push(server)
  }

  #answer(path: string, response: ServerResponse): void {
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
