import { createServer, type RequestListener, type Server, type ServerOptions } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Logger } from '@flotilla/daemon'
import { bind } from './listener.ts'
import { Seldom } from './seldom.ts'
import { HandshakeLog } from './tls/handshake-log.ts'
import type { TlsIdentity } from './tls/tls-identity.ts'

/** A request's head must be whole after this time, as at the client port of a member. */
const HEAD_MS_MAX = 30_000

export interface HttpPortOptions {
  readonly url: URL
  /** Asked only when the URL is an https one. */
  readonly tls: TlsIdentity
  readonly logger: Logger
  readonly http?: ServerOptions
  /** Default 30 s. node:http waits for ever where a request has no limit of its own. */
  readonly headMs?: number
  /** More are refused; default: no limit but the system's. */
  readonly connectionsMax?: number
  readonly answer: RequestListener
}

/** A server of node:http behind one URL, with TLS when the URL says so. */
export class HttpPort {
  readonly server: Server
  readonly #url: URL
  readonly #sockets = new Set<Socket>()

  constructor(options: HttpPortOptions) {
    const { url, tls, logger, http = {}, headMs = HEAD_MS_MAX, answer } = options
    this.#url = url
    const limits = { headersTimeout: headMs, connectionsCheckingInterval: headMs / 5 }
    if (url.protocol === 'https:') {
      const server = createSecureServer({ ...limits, ...http, ...tls.serverOptions() }, answer)
      tls.follow(server)
      new HandshakeLog(logger, Date.now).watch(server)
      this.server = server
    } else this.server = createServer({ ...limits, ...http }, answer)
    if (options.connectionsMax !== undefined) this.#limit(options.connectionsMax, logger)
    // Those in the middle of a handshake are unknown to node:http.
    this.server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
  }

  #limit(connectionsMax: number, logger: Logger): void {
    const problems = new Seldom()
    this.server.maxConnections = connectionsMax
    this.server.on('drop', () => {
      if (problems.isNews('connections', 'too many', performance.now()))
        logger.warn('http: too many connections, one was refused')
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
