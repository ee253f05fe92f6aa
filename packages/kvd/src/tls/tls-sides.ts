import type { Logger } from '@flotilla/daemon'
import type { Config } from '../config.ts'
import { ensureSelfSigned } from './self-signed.ts'
import { hasCertificate, hostOf, tlsText, type TlsConfig } from './tls-config.ts'
import { openTlsIdentity, type TlsIdentity } from './tls-identity.ts'

/** What kvd shows to and asks of its clients, and of its peers. */
export interface TlsSides {
  readonly clients: TlsIdentity
  readonly peers: TlsIdentity
  /** Reads all files again. Never rejects. */
  readonly reload: () => Promise<void>
  close(): void
}

/** Reads the certificates of both sides, makes those that are to be made. @throws TlsError */
export async function openTlsSides(config: Config, logger: Logger): Promise<TlsSides> {
  const { clientTls, peerTls, listenClientURLs, listenPeerURLs, clientURLs, peerURLs } = config
  const open = async (tls: TlsConfig, urls: readonly URL[]): Promise<TlsIdentity> => {
    if (tls.isSelfSigned)
      await ensureSelfSigned({ config: tls, hosts: urls.map(hostOf), nowMs: Date.now() })
    if (hasCertificate(tls)) logger.info(`etcdmain: ${tlsText(tls)}`)
    return await openTlsIdentity({ config: tls, logger, nowMs: Date.now })
  }
  const parse = (urls: readonly string[]): URL[] => urls.map((url) => new URL(url))
  const clients = await open(clientTls, [...listenClientURLs, ...parse(clientURLs)])
  const peers = await open(peerTls, [...listenPeerURLs, ...parse(peerURLs)])
  return {
    clients,
    peers,
    reload: async () => {
      await Promise.all([clients.reload(), peers.reload()])
    },
    close: () => {
      clients.close()
      peers.close()
    },
  }
}
