import type { IncomingHttpHeaders } from 'node:http'
import { ClusterError, MemberError, TransportError } from './errors.ts'
import type { EndpointError } from './errors.ts'
import { statusText } from './http.ts'
import type { Connections, HttpTrace } from './http.ts'
import type { Answer } from './wire.ts'

/** A request that any endpoint may answer. */
export interface Call {
  readonly method: string
  /** Escaped, with the query. */
  readonly path: string
  readonly form?: string | undefined
  readonly json?: string | undefined
  /** A long poll has no header timeout. */
  readonly isPoll?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly onHeaders?: ((status: number, headers: IncomingHttpHeaders) => void) | undefined
  readonly onData?: (() => void) | undefined
}

export interface ClusterOptions {
  readonly endpoints: readonly string[]
  readonly connections: Connections
  readonly authorization: string | undefined
  readonly requestTimeoutMs: number
  readonly answerBytesMax: number
  readonly retryWrites: 'unsent' | 'always'
  readonly onRequest: ((trace: HttpTrace) => void) | undefined
  readonly random: () => number
}

/** An answer below 500 and the endpoint that gave it. */
export interface ClusterAnswer extends Answer {
  readonly endpoint: string
}

const REDIRECTS_MAX = 10

/**
 * The endpoints of a cluster. A call goes to the endpoint that worked last; a connection failure or a
 * 5xx sends it to the next one, each is asked once; an answer below 500 is final.
 */
export class Cluster {
  readonly #options: ClusterOptions
  #endpoints: readonly URL[] = []
  #pinned = 0

  constructor(options: ClusterOptions) {
    this.#options = options
    this.setEndpoints(options.endpoints)
  }

  get endpoints(): readonly string[] {
    return this.#endpoints.map(endpointText)
  }

  /** The endpoint the next call asks first. */
  get current(): string | undefined {
    return this.endpoints[this.#pinned]
  }

  /** Shuffles, so that many clients do not all ask the same member. Throws a TypeError for a bad URL. */
  setEndpoints(endpoints: readonly string[]): void {
    this.#endpoints = shuffle(
      endpoints.map((text) => parseEndpoint(text)),
      this.#options.random,
    )
    this.#pinned = 0
  }

  /** Makes the endpoint after `failed` the current one; does nothing when another is current already. */
  leave(failed: string | undefined): void {
    if (failed !== undefined && this.current === failed)
      this.#pinned = (this.#pinned + 1) % this.#endpoints.length
  }

  /** Rejects with a ClusterError when no endpoint answered, with the signal's reason when given up. */
  async call(call: Call): Promise<ClusterAnswer> {
    const endpoints = this.#endpoints
    const first = this.#pinned
    const errors: EndpointError[] = []
    for (let turn = 0; turn < endpoints.length; turn++) {
      const at = (first + turn) % endpoints.length
      const url = endpoints[at]
      if (url === undefined) break
      const endpoint = endpointText(url)
      const outcome = await this.#try(call, url)
      if (!(outcome instanceof Error)) {
        if (this.#endpoints === endpoints) this.#pinned = at
        return { ...outcome, endpoint }
      }
      errors.push({ endpoint, error: outcome })
      if (this.#isFinal(call, outcome)) throw new ClusterError('OUTCOME_UNKNOWN', errors)
    }
    throw new ClusterError(errors.length === 0 ? 'NO_ENDPOINTS' : 'UNAVAILABLE', errors)
  }

  async #try(call: Call, endpoint: URL): Promise<Answer | MemberError | TransportError> {
    try {
      const answer = await this.#follow(call, endpoint)
      if (answer.status < 500) return answer
      const { status, body } = answer
      return new MemberError(endpointText(endpoint), status, statusText(status), body)
    } catch (error) {
      if (call.signal?.aborted || !(error instanceof TransportError)) throw error
      return error
    }
  }

  /** A write that may have been applied must not be made again elsewhere; README.md has the rule. */
  #isFinal(call: Call, error: MemberError | TransportError): boolean {
    if (call.method === 'GET' || this.#options.retryWrites === 'always') return false
    return error instanceof MemberError ? error.status !== 503 : error.sent
  }

  async #follow(call: Call, endpoint: URL): Promise<Answer> {
    let url = new URL(endpoint.href.replace(/\/$/, '') + call.path)
    for (let hops = 0; hops <= REDIRECTS_MAX; hops++) {
      const answer = await this.#send(call, url)
      if (answer.status < 300 || answer.status > 399) return answer
      url = redirectTarget(url, answer.headers.location)
    }
    throw new TransportError('client: too many redirects', 'TOO_MANY_REDIRECTS', false)
  }

  #send(call: Call, url: URL): Promise<Answer> {
    const { connections, requestTimeoutMs, answerBytesMax, onRequest } = this.#options
    const body = call.form ?? call.json
    onRequest?.({
      method: call.method,
      url: url.href,
      ...(body === undefined ? {} : { body }),
    })
    return connections.send({
      method: call.method,
      url,
      headers: this.#headers(call, url),
      body,
      signal: call.signal,
      headerTimeoutMs: call.isPoll === true ? 0 : requestTimeoutMs,
      answerBytesMax,
      isPoll: call.isPoll === true,
      onHeaders: call.onHeaders,
      onData: call.onData,
    })
  }

  #headers(call: Call, url: URL): Record<string, string> {
    const { authorization } = this.#options
    // A redirect must not carry the password to a stranger.
    const isOurs = this.#endpoints.some((endpoint) => endpoint.origin === url.origin)
    return {
      ...(authorization !== undefined && isOurs ? { Authorization: authorization } : {}),
      ...(call.form === undefined ? {} : { 'Content-Type': 'application/x-www-form-urlencoded' }),
      ...(call.json === undefined ? {} : { 'Content-Type': 'application/json' }),
    }
  }
}

/** `127.0.0.1:2379` becomes `http://127.0.0.1:2379`; anything but http and https is a TypeError. */
export function parseEndpoint(endpoint: string, what: 'endpoint' | 'proxy' = 'endpoint'): URL {
  const text = endpoint.trim()
  const url = new URL(text.includes('://') ? text : `http://${text}`)
  if (url.protocol === 'http:' || url.protocol === 'https:') return url
  throw new TypeError(`client: ${what} ${text} is neither http nor https`)
}

function endpointText(url: URL): string {
  return url.pathname === '/' ? url.origin : url.href
}

function redirectTarget(from: URL, location: string | undefined): URL {
  if (location === undefined) {
    throw new TransportError('Location header not set', 'BAD_REDIRECT', false)
  }
  if (URL.canParse(location, from.href)) {
    const url = new URL(location, from.href)
    if (url.protocol === 'http:' || url.protocol === 'https:') return url
  }
  throw new TransportError(`Location header not valid URL: ${location}`, 'BAD_REDIRECT', false)
}

function shuffle<T>(items: readonly T[], random: () => number): T[] {
  const left = [...items]
  const mixed: T[] = []
  while (left.length > 0) mixed.push(...left.splice(Math.floor(random() * left.length), 1))
  return mixed
}

/** The value of a Basic Authorization header; undefined without a user. */
export function basicAuth(username: string | undefined, password = ''): string | undefined {
  if (username === undefined || username === '') return undefined
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}
