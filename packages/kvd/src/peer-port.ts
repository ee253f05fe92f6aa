import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Logger } from '@flotilla/daemon'
import type { Cluster } from './cluster.ts'
import { HttpPort } from './http-port.ts'
import { answerPeer, type PeerInfo } from './peer-info.ts'
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
    if (request.url === SNAPSHOT_PATH && request.method === 'POST')
      void peers.snapshots.take(request, response)
    else answerPeer(peers.isDamaged ? forgetful(cluster) : cluster, request, response)
  }

  close(): void {
    for (const port of this.#ports) {
      void port.close()
      port.destroy()
    }
  }
}

/** Whoever has lost what it knew would send others to members of before, or to itself: they ask the next one. */
function forgetful({ id, version }: Cluster): PeerInfo {
  return { id, version, members: () => [] }
}
