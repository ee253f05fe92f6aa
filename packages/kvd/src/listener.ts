import { readFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { createServer as createSecureServer } from 'node:tls'
import type { Logger } from '@flotilla/daemon'
import { Arrivals } from './http/arrivals.ts'
import type { FullServer } from './http/full.ts'
import { LeanConnection, type LeanHost } from './http/lean.ts'
import type { RawRequest, Responder } from './http/message.ts'
import { Seldom } from './seldom.ts'
import { HandshakeLog } from './tls/handshake-log.ts'
import { portOf } from './tls/tls-config.ts'
import type { TlsIdentity } from './tls/tls-identity.ts'

/** A socket cannot be opened. */
export class ListenError extends Error {
  override readonly name = 'ListenError'
  readonly code = 'LISTEN'
}

/** Keep-alive probes find clients whose machine is gone, so that their watches end. */
const SOCKET_OPTIONS = {
  noDelay: true,
  allowHalfOpen: true,
  keepAlive: true,
  keepAliveInitialDelay: 30_000,
}
/** A request that has begun to arrive must be whole after this time. */
const REQUEST_MS_MAX = 30_000
const SWEEP_MS = 5_000
/** Descriptors kept for everything that is no client (etcd 2.3 etcdmain/etcd.go). */
export const RESERVED_FDS = 150

/** So many answers are written without waiting for the end of the turn: what they need is still in the cache. */
const FLUSH_COUNT = 32

/** Soft limit of open files; Node raises it to the hard one when it starts. */
export function readFdLimit(): number {
  const line = /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))
  const limit = Number(line?.[1] ?? 'unlimited')
  return Number.isFinite(limit) ? limit : Number.MAX_SAFE_INTEGER
}

export interface ClientListenerOptions {
  readonly full: FullServer
  readonly route: (request: RawRequest, responder: Responder) => void
  readonly logger: Logger
  readonly fdLimit: number
  /** Needed for https URLs. */
  readonly tls: TlsIdentity | undefined
  /** Milliseconds that pass evenly, by which new connections wait for each other; the system's unless given. */
  readonly elapsedMs?: () => number
}

/** All sockets of the client port: the listeners and the lean connections behind them. */
export class ClientListener {
  readonly #options: ClientListenerOptions
  readonly #servers: Server[] = []
  readonly #connections = new Set<LeanConnection>()
  /** Connections of the system, whatever stands on them: also those whose handshake is under way. */
  readonly #sockets = new Set<Socket>()
  readonly #host: LeanHost
  readonly #timers: readonly NodeJS.Timeout[]
  readonly #arrivals: Arrivals<LeanConnection>
  #date = dateLine()
  #toFlush: LeanConnection[] = []
  /** Whoever opens more connections than there may be does so again and again. */
  readonly #problems = new Seldom()
  #isDraining = false

  constructor(options: ClientListenerOptions) {
    this.#options = options
    this.#arrivals = new Arrivals({
      elapsedMs: options.elapsedMs ?? (() => performance.now()),
      atTurnEnd: (callback) => setImmediate(callback),
    })
    this.#host = {
      route: options.route,
      handOver: (socket, rest) => handOver(options.full, socket, rest),
      dateLine: () => this.#date,
      nowMs: () => Math.floor(performance.now()) + 1,
      flushSoon: (connection) => this.#flushSoon(connection),
      closed: (connection) => this.#connections.delete(connection),
    }
    const clock = setInterval(() => {
      this.#date = dateLine()
    }, 500)
    this.#timers = [clock, setInterval(() => this.#sweep(), SWEEP_MS)]
  }

  /** @throws ListenError */
  async listen(url: URL): Promise<void> {
    const server = url.protocol === 'https:' ? this.#createSecureServer(url) : this.#createServer()
    await bind(server, url)
    this.#servers.push(server)
    if (this.#isDraining) server.close()
  }

  #createServer(): Server {
    return createServer({ ...SOCKET_OPTIONS, pauseOnConnect: true }, (socket) => {
      if (this.#isDraining) socket.destroy()
      else if (this.#mayStay(socket)) this.#arrivals.add(this.#serve(socket))
    })
  }

  #createSecureServer(url: URL): Server {
    const { tls, logger } = this.#options
    if (tls?.hasCertificate !== true)
      throw new ListenError(
        `cannot listen on TLS for ${url.origin}: KeyFile and CertFile are not presented`,
      )
    const options = { ...SOCKET_OPTIONS, ...tls.serverOptions(), allowHalfOpen: false }
    const server = createSecureServer(options, (socket) => {
      // Not before: who leaves in the middle of a handshake would be waited for.
      socket.allowHalfOpen = true
      if (this.#isDraining) socket.destroy()
      else this.#serve(socket)
    })
    server.on('connection', (socket: Socket) => this.#mayStay(socket))
    tls.follow(server)
    new HandshakeLog(logger, Date.now).watch(server)
    return server
  }

  /** Counts a connection, or ends it when there are too many. */
  #mayStay(socket: Socket): boolean {
    if (this.#sockets.size >= this.#options.fdLimit - RESERVED_FDS) {
      if (this.#problems.isNews('connections', 'too many', performance.now()))
        this.#options.logger.warn('http: too many connections, one was refused')
      socket.destroy()
      return false
    }
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    return true
  }

  #serve(socket: Socket): LeanConnection {
    const connection = new LeanConnection(socket, this.#host)
    this.#connections.add(connection)
    return connection
  }

  #flushSoon(connection: LeanConnection): void {
    if (this.#toFlush.length === 0) setImmediate(() => this.#flush())
    this.#toFlush.push(connection)
    if (this.#toFlush.length >= FLUSH_COUNT) this.#flush()
  }

  #flush(): void {
    const connections = this.#toFlush
    this.#toFlush = []
    for (const waiting of connections) waiting.flush()
  }

  /** Ends connections whose request does not come to an end. */
  #sweep(): void {
    const oldest = this.#host.nowMs() - REQUEST_MS_MAX
    for (const connection of this.#connections)
      if (connection.waitingSince !== 0 && connection.waitingSince < oldest) connection.destroy()
  }

  /** Stops listening and lets answers under way end; long polls end at once. */
  drain(): void {
    this.#isDraining = true
    for (const server of this.#servers) server.close()
    // What they have sent already is read first: few clients try a new connection again.
    const held = new Set(this.#arrivals.release())
    for (const connection of this.#connections) if (!held.has(connection)) connection.drain()
    setImmediate(() =>
      setImmediate(() => {
        // Of those that node:http serves by now the socket is no longer theirs.
        for (const connection of held) if (this.#connections.has(connection)) connection.drain()
      }),
    )
    this.#options.full.drain()
  }

  get isQuiet(): boolean {
    return this.#connections.size + this.#options.full.count === 0
  }

  /** Resolves when every connection has ended, or after `ms`. */
  async ended(ms: number): Promise<void> {
    const until = performance.now() + ms
    while (!this.isQuiet && performance.now() < until)
      await new Promise((resolve) => setTimeout(resolve, 10))
  }

  /** Ends what is left. */
  close(): void {
    for (const timer of this.#timers) clearInterval(timer)
    for (const connection of this.#connections) connection.destroy()
    this.#options.full.close()
    for (const socket of this.#sockets) socket.destroy()
  }
}

/** Gives a connection to node:http, with the bytes that were read but not used. */
function handOver(full: FullServer, socket: Socket, rest: Buffer): void {
  if (socket.readableEnded) {
    full.adopt(replay(socket, rest), rest)
    return
  }
  full.adopt(socket, rest)
  if (rest.length > 0) socket.unshift(rest)
  if (socket.isPaused()) socket.resume()
}

/** Stands for a socket whose client has said all: reads what it said, writes to it. */
function replay(socket: Socket, rest: Buffer): Duplex {
  const duplex = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      socket.write(chunk, done)
    },
    final: (done) => {
      socket.end(done)
    },
    destroy: (error, done) => {
      socket.destroy()
      done(error)
    },
  })
  socket.on('close', () => duplex.destroy())
  socket.on('error', () => duplex.destroy())
  duplex.push(rest)
  duplex.push(null)
  return duplex
}

function dateLine(): string {
  return `Date: ${new Date().toUTCString()}\r\n`
}

/**
 * Opens a listener on a URL's host and port. `localhost` means its IPv4 address, as Go prefers it.
 * @throws ListenError in the original's words
 */
export async function bind(server: Server, url: URL): Promise<void> {
  const host = url.hostname === 'localhost' ? '127.0.0.1' : url.hostname.replace(/^\[(.*)\]$/, '$1')
  const port = portOf(url)
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const reason = error.code === 'EADDRINUSE' ? 'bind: address already in use' : error.message
      reject(new ListenError(`listen tcp ${host}:${port}: ${reason}`))
    })
    server.listen({ host, port, backlog: 4096 }, () => resolve())
  })
  server.removeAllListeners('error')
}
