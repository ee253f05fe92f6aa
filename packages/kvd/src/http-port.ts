import { createServer, type RequestListener, type Server, type ServerOptions } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Logger } from '@flotilla/daemon'
import { bind } from './listener.ts'
import { HandshakeLog } from './tls/handshake-log.ts'
import type { TlsIdentity } from './tls/tls-identity.ts'

export interface HttpPortOptions {
  readonly url: URL
  /** Asked only when the URL is an https one. */
  readonly tls: TlsIdentity
  readonly logger: Logger
  readonly http?: ServerOptions
  readonly answer: RequestListener
}

/** A server of node:http behind one URL, with TLS when the URL says so. */
export class HttpPort {
  readonly server: Server
  readonly #url: URL
  readonly #sockets = new Set<Socket>()

  constructor({ url, tls, logger, http = {}, answer }: HttpPortOptions) {
    this.#url = url
    if (url.protocol === 'https:') {
      const server = createSecureServer({ ...http, ...tls.serverOptions() }, answer)
      tls.follow(server)
      new HandshakeLog(logger, Date.now).watch(server)
      this.server = server
    } else this.server = createServer(http, answer)
    // Those in the middle of a handshake are unknown to node:http.
    this.server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
  }

  /** @throws ListenError */
  async listen(): Promise<void> {
    await bind(this.server, this.#url)
  }

  /** Stops listening. Resolves when the last connection has ended. */
  async close(): Promise<void> {
    await new Promise((resolve) => this.server.close(resolve))
  }

  /** Ends every connection. */
  destroy(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}
