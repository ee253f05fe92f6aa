import { memberId } from '../cluster.ts'
import type { Config } from '../config.ts'
import { HttpPort } from '../http-port.ts'
import { answerPeer, type PeerInfo } from '../peer-info.ts'
import type { TlsIdentity } from '../tls/tls-identity.ts'
import type { Front } from './front.ts'

export interface PeerPortsOptions {
  readonly config: Config
  readonly tls: TlsIdentity
  /** The cluster version that is told. */
  readonly version: string
}

export interface PeerPorts {
  /** @throws ListenError */
  listen(): Promise<void>
  close(): void
}

/**
 * The peer ports of a front: where proxies read at which client URLs the v2 API is served. Etcd's own
 * peer ports would lead them past the fronts.
 */
export function createPeerPorts(
  { etcd, logger, name, clientURLs }: Front,
  { config, tls, version }: PeerPortsOptions,
): PeerPorts {
  const { peerURLs, listenPeerURLs } = config
  const member = { id: memberId(peerURLs, ''), name, peerURLs, clientURLs }
  const info: PeerInfo = {
    get id() {
      return etcd.header?.clusterId ?? '0'
    },
    version,
    members: () => [member],
  }
  const ports: HttpPort[] = []
  return {
    listen: async () => {
      for (const url of listenPeerURLs) {
        const port = new HttpPort({
          url,
          tls,
          logger,
          answer: (request, response) => answerPeer(info, request, response),
        })
        ports.push(port)
        await port.listen()
        logger.info(`etcdmain: listening for proxies on ${url.origin}`)
      }
    },
    close: () => {
      for (const port of ports) {
        void port.close()
        port.destroy()
      }
    },
  }
}
