import { Agent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { ClientError } from './types.ts'

/** Where a fleetd answers: a base URL, or a unix socket. */
export type Endpoint =
  | { readonly type: 'url'; readonly url: URL; readonly tls?: TlsFiles }
  | { readonly type: 'socket'; readonly path: string }

/** PEM texts for https. */
export interface TlsFiles {
  readonly ca?: Buffer
  readonly cert?: Buffer
  readonly key?: Buffer
}

/** One request; `body` becomes JSON. */
export interface Call {
  readonly method: string
  readonly path: string
  readonly body?: unknown
}

/** Sends requests over kept-alive connections. */
export class Transport {
  readonly #endpoint: Endpoint
  readonly #agent = new Agent({ keepAlive: true })

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint
  }

  /** The answer's head; the caller reads or discards the body. Rejects with ClientError when there is none. */
  async send(call: Call): Promise<IncomingMessage> {
    const body = call.body === undefined ? undefined : JSON.stringify(call.body)
    const start = await this.#opener()
    return await new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { 'Content-Type': 'application/json' }
      const request = start(call.path, { method: call.method, headers }, resolve)
      request.once('error', (error) => {
        const verb = call.method[0] + call.method.slice(1).toLowerCase()
        reject(new ClientError(`${verb} ${this.#describe(call.path)}: ${error.message}`))
      })
      request.end(body)
    })
  }

  #describe(path: string): string {
    const base = this.#endpoint.type === 'socket' ? 'http://domain-sock' : this.#endpoint.url.origin
    return `${base}${path}`
  }

  async #opener(): Promise<(path: string, options: RequestOptions, onAnswer: OnAnswer) => Request> {
    const endpoint = this.#endpoint
    if (endpoint.type === 'socket') {
      const fixed = { socketPath: endpoint.path, host: 'domain-sock', agent: this.#agent }
      return (path, options, onAnswer) => httpRequest({ ...fixed, ...options, path }, onAnswer)
    }
    const base = `${endpoint.url.origin}${endpoint.url.pathname.replace(/\/+$/, '')}`
    if (endpoint.url.protocol === 'https:') {
      const { request } = await import('node:https')
      const { ca, cert, key } = endpoint.tls ?? {}
      // Without a client certificate the original does not verify the server either.
      const tls = { ca, cert, key, rejectUnauthorized: ca !== undefined }
      return (path, options, onAnswer) => request(base + path, { ...options, ...tls }, onAnswer)
    }
    return (path, options, onAnswer) =>
      httpRequest(base + path, { ...options, agent: this.#agent }, onAnswer)
  }

  close(): void {
    this.#agent.destroy()
  }
}

type OnAnswer = (answer: IncomingMessage) => void
type Request = ReturnType<typeof httpRequest>

/** The whole body as text. */
export async function readText(answer: IncomingMessage): Promise<string> {
  const pieces: string[] = []
  for await (const piece of textOf(answer)) pieces.push(piece)
  return pieces.join('')
}

/** The body piece by piece. */
export async function* textOf(answer: IncomingMessage): AsyncIterable<string> {
  answer.setEncoding('utf8')
  for await (const piece of answer) yield String(piece)
}
