import type { Server, TLSSocket } from 'node:tls'
import type { Logger } from '@flotilla/daemon'

/** One line a second at the most: what strangers do must not fill the log. */
const QUIET_MS = 1_000

/** Ends connections whose handshake failed, and says why. */
export class HandshakeLog {
  readonly #logger: Logger
  readonly #nowMs: () => number
  #saidMs = -Infinity
  #unsaid = 0

  constructor(logger: Logger, nowMs: () => number) {
    this.#logger = logger
    this.#nowMs = nowMs
  }

  watch(server: Server): void {
    server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
      this.failed(error, socket)
      // Node leaves one open whose handshake only took too long.
      socket.destroy()
    })
  }

  failed(error: Error, socket: Pick<TLSSocket, 'authorizationError' | 'remoteAddress'>): void {
    const { authorizationError } = socket
    const reason = authorizationError ? String(authorizationError) : reasonOf(error)
    const now = this.#nowMs()
    if (now - this.#saidMs < QUIET_MS) {
      this.#unsaid += 1
      return
    }
    this.#logger.warn('http: TLS handshake error', {
      from: socket.remoteAddress,
      reason,
      more: this.#unsaid === 0 ? undefined : this.#unsaid,
    })
    this.#saidMs = now
    this.#unsaid = 0
  }
}

/** OpenSSL's short reason (`http request`, `unsupported protocol`), without its place in the source. */
function reasonOf(error: Error): string {
  return 'reason' in error && typeof error.reason === 'string' ? error.reason : error.message
}
