import { setMaxListeners } from 'node:events'
import { Agent, request as httpRequest, STATUS_CODES } from 'node:http'
import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { AgentOptions } from 'node:https'
import type { checkServerIdentity, ConnectionOptions } from 'node:tls'
import type { TlsOptions } from './types.ts'
import { errorCode, TransportError } from './errors.ts'
import type { Answer } from './wire.ts'

/** One HTTP request as it leaves, for hooks such as kvctl's `--debug`. */
export interface HttpTrace {
  readonly method: string
  readonly url: string
  /** The form or JSON sent; undefined for requests without a body. */
  readonly body?: string
}

export interface HttpRequest {
  readonly method: string
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | undefined
  readonly signal?: AbortSignal | undefined
  /** Time until the headers; 0: no limit. */
  readonly headerTimeoutMs: number
  readonly answerBytesMax: number
  /** A long poll: keeps its connection apart and alive. */
  readonly isPoll: boolean
  readonly onHeaders?: ((status: number, headers: IncomingHttpHeaders) => void) | undefined
  /** Called for every piece of the body, as it comes. */
  readonly onData?: (() => void) | undefined
}

/** The connections of a client: kept alive, closed together; requests in flight and later ones then reject. */
export interface Connections {
  send(request: HttpRequest): Promise<Answer>
  close(): void
}

// A node server drops a connection that was idle for 5 s. Dropping it earlier ourselves keeps a write
// from racing with that and ending with an unknown outcome.
const IDLE_MS = 4000
const FREE_SOCKETS_MAX = 8
const PROBE_AFTER_MS = 15_000

/**
 * Opens nothing yet; `close` ends every connection.
 * @param proxy an HTTP proxy that all requests go through
 */
export function createConnections(tls: TlsOptions = {}, proxy?: URL): Connections {
  const closing = new AbortController()
  setMaxListeners(0, closing.signal)
  let plain: Opener | Promise<Opener> | undefined
  // TLS takes a third of the start of a small program: it is loaded for the first https URL.
  let secure: Promise<Opener> | undefined
  return {
    async send(request) {
      const opener =
        request.url.protocol === 'https:'
          ? await (secure ??= openTls(tls, proxy))
          : await (plain ??= proxy === undefined ? openPlain() : openProxied(proxy))
      return exchange(request, [closing.signal, request.signal], opener.open)
    },
    close() {
      closing.abort(new Error('client: closed'))
      void closeOpener(plain)
      void closeOpener(secure)
    },
  }
}

async function closeOpener(opening: Opener | Promise<Opener> | undefined): Promise<void> {
  try {
    const opener = await opening
    opener?.close()
  } catch {
    // It never opened, which is what its requests were told.
  }
}

/** Opens requests of one scheme and owns their connections. */
interface Opener {
  readonly open: Open
  close(): void
}

const COMMON = { keepAlive: true, maxFreeSockets: FREE_SOCKETS_MAX }
const CALLS = { ...COMMON, timeout: IDLE_MS }

// Polls have agents of their own: the idle limit of the others would count their silence.

function openPlain(): Opener {
  return plainOpener(new Agent(CALLS), new Agent(COMMON))
}

/** http through a proxy: the request line has the whole URL. */
async function openProxied(proxy: URL): Promise<Opener> {
  const { HttpProxyAgent } = await import('http-proxy-agent')
  return plainOpener(new HttpProxyAgent(proxy, CALLS), new HttpProxyAgent(proxy, COMMON))
}

function plainOpener(calls: Agent, polls: Agent): Opener {
  return {
    open: (request, options, onAnswer) =>
      httpRequest(request.url, { ...options, agent: request.isPoll ? polls : calls }, onAnswer),
    close() {
      calls.destroy()
      polls.destroy()
    },
  }
}

/** https, through a proxy by CONNECT: it sees names and bytes, no requests. */
async function openTls(tls: TlsOptions, proxy?: URL): Promise<Opener> {
  const https = await import('node:https')
  const { checkServerIdentity } = await import('node:tls')
  const options = tlsAgentOptions(tls)
  const create = await agentMaker(proxy)
  const calls = create({ ...CALLS, ...options })
  const polls = create({ ...COMMON, ...options })
  return {
    open: (request, rest, onAnswer) => {
      const agent = request.isPoll ? polls : calls
      // A proxy's agent takes its own options for the way to the proxy, and these for what is behind.
      const behind =
        proxy === undefined ? {} : { ...options, ...identityOf(request.url, checkServerIdentity) }
      return https.request(request.url, { ...behind, ...rest, agent }, onAnswer)
    },
    close() {
      calls.destroy()
      polls.destroy()
    },
  }
}

/** Behind a proxy's agent Node has forgotten which address was asked for and checks for `localhost`. */
function identityOf(
  url: URL,
  check: typeof checkServerIdentity,
): Pick<ConnectionOptions, 'checkServerIdentity'> {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  return { checkServerIdentity: (_, certificate) => check(host, certificate) }
}

async function agentMaker(proxy?: URL): Promise<(options: AgentOptions) => Agent> {
  if (proxy === undefined) {
    const https = await import('node:https')
    return (options) => new https.Agent(options)
  }
  const { HttpsProxyAgent } = await import('https-proxy-agent')
  return (options) => new HttpsProxyAgent(proxy, options)
}

/** The options of `node:tls` for a client's connections; only those that are given. */
export function tlsAgentOptions(tls: TlsOptions): {
  ca?: string | Buffer | (string | Buffer)[]
  cert?: string | Buffer
  key?: string | Buffer
  rejectUnauthorized?: boolean
} {
  const { ca, cert, key, rejectUnauthorized } = tls
  return {
    ...(ca === undefined
      ? {}
      : { ca: typeof ca === 'string' || Buffer.isBuffer(ca) ? ca : [...ca] }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
  }
}

interface OpenOptions {
  readonly method: string
  readonly headers: Record<string, string>
}
type Open = (
  request: HttpRequest,
  options: OpenOptions,
  onAnswer: (answer: IncomingMessage) => void,
) => ClientRequest

/** One request and its whole answer. Rejects with a TransportError, or with the reason of a signal. */
function exchange(
  request: HttpRequest,
  signals: readonly (AbortSignal | undefined)[],
  open: Open,
): Promise<Answer> {
  const { headerTimeoutMs, body } = request
  return new Promise((resolve, reject) => {
    const headers = { ...request.headers }
    if (body !== undefined) headers['Content-Length'] = String(Buffer.byteLength(body))
    let hasConnection = false
    let timer: NodeJS.Timeout | undefined
    const settle = (how: () => void): void => {
      clearTimeout(timer)
      forget()
      how()
    }
    const fail = (error: unknown): void =>
      settle(() => reject(asTransportError(error, hasConnection)))
    const aborted = signals.find((signal) => signal?.aborted)
    if (aborted !== undefined) return reject(asError(aborted.reason))

    const call = open(request, { method: request.method, headers }, (message) => {
      clearTimeout(timer)
      const { statusCode: status = 0 } = message
      request.onHeaders?.(status, message.headers)
      collect(message, request).then(
        (text) => settle(() => resolve({ status, headers: message.headers, body: text })),
        fail,
      )
    })
    const forget = onAbort(signals, (reason) => {
      settle(() => reject(asError(reason)))
      call.destroy()
    })
    call.on('error', fail)
    watchConnection(call, () => (hasConnection = true))
    call.end(body)
    if (headerTimeoutMs > 0) timer = setTimeout(onTimeout, headerTimeoutMs)

    function onTimeout(): void {
      const text = `client: endpoint ${request.url.origin} exceeded header timeout`
      fail(new TransportError(text, 'HEADER_TIMEOUT', hasConnection))
      call.destroy()
    }
  })
}

/** Calls `then` once, for the first signal that is aborted; the function returned takes that back. */
function onAbort(
  signals: readonly (AbortSignal | undefined)[],
  then: (reason: unknown) => void,
): () => void {
  const undo: (() => void)[] = []
  for (const signal of signals) {
    if (signal === undefined) continue
    // One signal for all calls of a daemon is normal use, not the leak that Node warns of.
    setMaxListeners(0, signal)
    const listener = (): void => then(signal.reason)
    signal.addEventListener('abort', listener, { once: true })
    undo.push(() => signal.removeEventListener('abort', listener))
  }
  return () => undo.forEach((step) => step())
}

/** Tells when the request has a connection, handshake included: from then on it may have been read. */
function watchConnection(call: ClientRequest, onConnected: () => void): void {
  call.once('socket', (socket) => {
    socket.setKeepAlive(true, PROBE_AFTER_MS)
    if (call.reusedSocket || (!socket.connecting && !('encrypted' in socket))) onConnected()
    else socket.once('encrypted' in socket ? 'secureConnect' : 'connect', onConnected)
  })
}

async function collect(
  message: IncomingMessage,
  { answerBytesMax, onData }: HttpRequest,
): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of message) {
    if (!Buffer.isBuffer(chunk)) continue
    onData?.()
    size += chunk.length
    if (size > answerBytesMax) {
      const text = `client: answer is longer than ${answerBytesMax} bytes`
      throw new TransportError(text, 'ANSWER_TOO_LARGE', true)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, size).toString('utf8')
}

function asTransportError(error: unknown, sent: boolean): TransportError {
  if (error instanceof TransportError) return error
  // Several addresses of one name were tried: the first failure is the one to show.
  const cause = asError(error instanceof AggregateError ? error.errors[0] : error)
  return new TransportError(cause.message, errorCode(cause), sent, cause)
}

export function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason))
}

/** `Bad Gateway` for 502; '' for a status nobody knows. */
export function statusText(status: number): string {
  return STATUS_CODES[status] ?? ''
}
