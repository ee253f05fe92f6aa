import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http'
import type { Logger } from '@flotilla/daemon'
import { DialAgents } from '../tls/dial-agents.ts'
import { portOf } from '../tls/tls-config.ts'
import type { TlsIdentity } from '../tls/tls-identity.ts'
import type { Director } from './director.ts'
import { TIMER_MS_MAX, type Liveness } from './liveness.ts'
import type { ProxyMetrics } from './proxy-metrics.ts'

export interface ForwardOptions {
  readonly director: Director
  readonly logger: Logger
  readonly metrics: ProxyMetrics
  /** How members with https URLs are dialled. */
  readonly tls: TlsIdentity
  readonly nowMs: () => number
  /** Milliseconds until a connection is given up; 0 for no limit. */
  readonly dialMs: number
  /** Milliseconds until a request that is being written is given up; 0 for no limit. */
  readonly writeMs: number
  /** Milliseconds without a byte of the answer; 0 for no limit: watches may be silent for long. */
  readonly readMs: number
  /** Looks for the hosts of answers that are late. */
  readonly liveness: Liveness
}

/** They belong to one connection (RFC 2616 13.5.1), as in the original. */
const HOP_BY_HOP = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'trailers',
  'transfer-encoding',
  'upgrade',
]
/** May be sent twice: nothing is changed by them. */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])

/** What a member says that serves nobody since it does not hold what the others hold (http/message.ts). */
const DIVERGED = 'x-kvd-diverged'

/** How one attempt went. It may be repeated when no member has seen it, or when that does not matter. */
type Attempt = 'answered' | 'gone' | Failure

interface Failure {
  readonly mayRetry: boolean
  readonly wasSent: boolean
  /** The answer of a diverged member: nothing was carried out. Whoever gets it passes it back or destroys it. */
  readonly diverged: IncomingMessage | undefined
}

/** Passes requests on to members, and their answers back as they come. */
export class Forwarder {
  readonly #options: ForwardOptions
  readonly #agents: DialAgents

  constructor(options: ForwardOptions) {
    this.#options = options
    this.#agents = new DialAgents(options.tls)
  }

  /** @param body undefined when it was too large to be kept */
  async forward(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    body: Buffer | undefined,
  ): Promise<void> {
    try {
      await this.#forward(incoming, outgoing, body)
    } catch (error) {
      // What can be read cannot always be written: node:http sends no control characters on.
      this.#options.logger.debug('proxy: a request cannot be passed on', { error: String(error) })
      refuse(outgoing, 400, 'bad request')
    }
  }

  async #forward(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    body: Buffer | undefined,
  ): Promise<void> {
    const { director, nowMs, logger, metrics } = this.#options
    const method = incoming.method ?? 'GET'
    const beganMs = nowMs()
    metrics.received(method)
    if (body === undefined) {
      refuse(outgoing, 413, 'request body too large')
      return
    }
    const endpoints = director.available(nowMs())
    if (endpoints.length === 0) {
      metrics.dropped(method, 'zero_endpoints')
      refuse(outgoing, 503, 'zero endpoints currently available')
      return
    }
    let tried = 0
    let diverged = 0
    const answered = (): void =>
      metrics.answered(method, outgoing.statusCode, (nowMs() - beganMs) / 1000)
    for (const endpoint of endpoints) {
      tried += 1
      const attempt = await this.#attempt(endpoint, incoming, outgoing, body)
      if (attempt === 'answered') answered()
      if (attempt === 'answered' || attempt === 'gone') return
      director.markUnavailable(endpoint, nowMs())
      logger.warn(`proxy: marked endpoint ${endpoint} unavailable`)
      if (attempt.diverged !== undefined) {
        diverged += 1
        logger.warn(`proxy: ${endpoint} does not hold what the other members hold`)
        if (diverged === endpoints.length) {
          passBack(attempt.diverged, outgoing)
          answered()
          return
        }
        attempt.diverged.destroy()
      }
      metrics.dropped(
        method,
        attempt.wasSent ? 'failed_getting_response' : 'failed_sending_request',
      )
      // A write that a member may have seen is not sent to another: it could be carried out twice.
      if (!attempt.mayRetry) break
    }
    refuse(outgoing, 502, `unable to get response from ${tried} endpoint(s)`)
  }

  async #attempt(
    endpoint: string,
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    body: Buffer,
  ): Promise<Attempt> {
    const { dialMs, writeMs, readMs, liveness } = this.#options
    const url = new URL(endpoint)
    const method = incoming.method ?? 'GET'
    return await new Promise((resolve) => {
      let isConnected = false
      const upstream = this.#agents.request(url, {
        port: portOf(url),
        method,
        path: incoming.url ?? '/',
        headers: headersFor(incoming, body),
      })
      const stopLimiting = limitSending(upstream, { dialMs, writeMs })
      const stopWaiting = liveness.wait(url, () => {
        this.#agents.forget(url)
        upstream.destroy(new Error('host is gone'))
      })
      const leave = (): void => {
        upstream.destroy()
      }
      outgoing.once('close', leave)
      const settle = (attempt: Attempt): void => {
        stopLimiting()
        stopWaiting()
        resolve(attempt)
      }
      upstream.once('socket', (socket) => {
        if (upstream.reusedSocket || !socket.connecting) isConnected = true
        else
          socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
            isConnected = true
          })
      })
      upstream.once('response', (answer) => {
        if (readMs > 0) upstream.setTimeout(readMs, leave)
        if (answer.headers[DIVERGED] === 'true') {
          answer.once('close', () => outgoing.off('close', leave))
          settle({ mayRetry: true, wasSent: true, diverged: answer })
          return
        }
        passBack(answer, outgoing)
        settle('answered')
      })
      upstream.once('error', () => {
        outgoing.off('close', leave)
        if (outgoing.destroyed) settle('gone')
        else if (outgoing.headersSent) outgoing.destroy()
        else {
          const mayRetry = !isConnected || SAFE.has(method)
          settle({ mayRetry, wasSent: isConnected, diverged: undefined })
        }
      })
      upstream.end(body)
    })
  }

  close(): void {
    this.#agents.close()
  }
}

/** Gives a request up that finds no host, or cannot be written, in time. Returns how to stop. */
function limitSending(
  upstream: ClientRequest,
  { dialMs, writeMs }: Pick<ForwardOptions, 'dialMs' | 'writeMs'>,
): () => void {
  let timer: NodeJS.Timeout | undefined
  const limit = (ms: number): void => {
    clearTimeout(timer)
    const late = (): void => {
      upstream.destroy(new Error('too slow'))
    }
    timer = ms === 0 ? undefined : setTimeout(late, Math.min(ms, TIMER_MS_MAX))
  }
  limit(dialMs)
  const dialled = (): void => limit(writeMs)
  upstream.once('socket', (socket) => {
    if (socket.connecting) socket.once('connect', dialled)
    else dialled()
  })
  const stop = (): void => clearTimeout(timer)
  // Such an event of a connection that is being made would be no proof that anything was written.
  upstream.once('finish', () => {
    if (upstream.socket?.connecting === false) stop()
  })
  return stop
}

function headersFor(incoming: IncomingMessage, body: Buffer): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {}
  const named = (incoming.headers.connection ?? '').toLowerCase().split(/\s*,\s*/)
  for (const [name, value] of Object.entries(incoming.headers))
    if (value !== undefined && !HOP_BY_HOP.includes(name) && !named.includes(name))
      headers[name] = value
  const client = incoming.socket.remoteAddress
  if (client !== undefined) {
    const before = incoming.headers['x-forwarded-for']
    headers['x-forwarded-for'] = before === undefined ? client : `${String(before)}, ${client}`
  }
  if (body.length > 0 || incoming.headers['content-length'] !== undefined)
    headers['content-length'] = String(body.length)
  return headers
}

/** Headers at once and each piece as it comes: whoever watches through a proxy waits for nothing else. */
function passBack(answer: IncomingMessage, outgoing: ServerResponse): void {
  outgoing.statusCode = answer.statusCode ?? 502
  // Names as the member wrote them: scripts look for X-Etcd-Index.
  const names = answer.rawHeaders.filter((_, at) => at % 2 === 0)
  const spelling = new Map(names.map((name) => [name.toLowerCase(), name]))
  for (const [name, values] of Object.entries(answer.headersDistinct))
    if (values !== undefined && !HOP_BY_HOP.includes(name) && !outgoing.hasHeader(name))
      outgoing.setHeader(spelling.get(name) ?? name, values)
  outgoing.flushHeaders()
  answer.on('error', () => outgoing.destroy())
  answer.on('aborted', () => outgoing.destroy())
  answer.pipe(outgoing)
}

/** The original's words for what went wrong in the proxy itself. */
function refuse(outgoing: ServerResponse, status: number, problem: string): void {
  if (outgoing.destroyed || outgoing.headersSent) return
  outgoing.writeHead(status, { 'Content-Type': 'application/json' })
  outgoing.end(JSON.stringify({ message: `proxy: ${problem}` }))
}
