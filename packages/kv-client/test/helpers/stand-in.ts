// A stand-in for kvd and etcd: just enough of the v2 keys API and of the kvd-watch.1 protocol to test
// the client against, with a history as short as a test wants it. It is no reference for either.
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { WebSocketServer } from 'ws'
import type { WebSocket } from 'ws'

export interface StoredEvent {
  readonly action: string
  readonly node: {
    readonly key: string
    readonly value?: string
    readonly modifiedIndex: number
    readonly createdIndex: number
  }
}

export interface StandInOptions {
  /** kvd's watch; false: 404, as etcd. */
  readonly webSocket: boolean
  readonly historyMax?: number
  /** An answer to give instead of the store's. */
  readonly override?: (request: IncomingMessage, response: ServerResponse) => boolean
}

interface Waiter {
  readonly key: string
  readonly recursive: boolean
  readonly from: number
  readonly deliver: (event: StoredEvent) => void
}

export class StandIn {
  readonly #options: StandInOptions
  readonly #server: Server
  readonly #webSockets = new WebSocketServer({ noServer: true })
  readonly #sockets = new Set<Socket>()
  readonly #waiters = new Set<Waiter>()
  readonly values = new Map<string, { value: string; index: number }>()
  readonly requests: string[] = []
  history: StoredEvent[] = []
  index = 3
  port = 0
  onPing: () => void = () => undefined

  constructor(options: StandInOptions) {
    this.#options = options
    this.#server = createServer((request, response) => this.#answer(request, response))
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => this.#sockets.delete(socket))
    })
    this.#server.on('upgrade', (request, socket, head) => {
      this.requests.push(`UPGRADE ${request.url}`)
      if (!options.webSocket) {
        socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
        return
      }
      this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => this.#serve(webSocket))
    })
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  get watching(): number {
    return this.#waiters.size
  }

  async listen(port = 0): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve))
    const address = this.#server.address()
    if (isAddress(address)) this.port = address.port
    return this
  }

  /** Drops every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  async close(): Promise<void> {
    this.cut()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  write(key: string, value: string): StoredEvent {
    const modifiedIndex = ++this.index
    this.values.set(key, { value, index: modifiedIndex })
    return this.#publish({
      action: 'set',
      node: { key, value, modifiedIndex, createdIndex: modifiedIndex },
    })
  }

  remove(key: string): StoredEvent {
    const createdIndex = this.values.get(key)?.index ?? 0
    this.values.delete(key)
    return this.#publish({
      action: 'delete',
      node: { key, modifiedIndex: ++this.index, createdIndex },
    })
  }

  #publish(event: StoredEvent): StoredEvent {
    this.history.push(event)
    this.history = this.history.slice(-(this.#options.historyMax ?? 1000))
    for (const waiter of this.#waiters) {
      if (isHeard(waiter, event)) waiter.deliver(event)
    }
    return event
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    this.requests.push(`${request.method} ${request.url}`)
    if (this.#options.override?.(request, response) === true) return
    const url = new URL(request.url ?? '/', 'http://x')
    const key = decodeURIComponent(url.pathname.replace(/^\/v2\/keys/, '')) || '/'
    if (!url.pathname.startsWith('/v2/keys')) return reply(response, 404, 0, undefined)
    if (request.method !== 'GET') return this.#write(request, response, key)
    if (url.searchParams.get('wait') === 'true') return this.#wait(response, key, url.searchParams)
    const found = this.read(key)
    if (found === undefined) {
      const error = { errorCode: 100, message: 'Key not found', cause: key, index: this.index }
      return reply(response, 404, this.index, error)
    }
    reply(response, 200, this.index, { action: 'get', node: found })
  }

  read(key: string): Record<string, unknown> | undefined {
    const own = this.values.get(key)
    if (own !== undefined) return nodeOf(key, own)
    const below = [...this.values].filter(([path]) => key === '/' || path.startsWith(`${key}/`))
    if (below.length === 0 && key !== '/') return undefined
    return { key, dir: true, nodes: below.map(([path, stored]) => nodeOf(path, stored)) }
  }

  #write(request: IncomingMessage, response: ServerResponse, key: string): void {
    let body = ''
    request.setEncoding('utf8')
    request.on('data', (chunk: string) => (body += chunk))
    request.on('end', () => {
      const value = new URLSearchParams(body).get('value') ?? ''
      const event = request.method === 'DELETE' ? this.remove(key) : this.write(key, value)
      reply(response, 200, this.index, event)
    })
  }

  #wait(response: ServerResponse, key: string, query: URLSearchParams): void {
    const from = Number(query.get('waitIndex')) || this.index + 1
    const oldest = this.history[0]?.node.modifiedIndex ?? 0
    if (from < oldest) {
      reply(response, 400, this.index, this.#gone(oldest, from))
      return
    }
    response.writeHead(200, { 'X-Etcd-Index': this.index, 'Content-Type': 'application/json' })
    response.flushHeaders()
    const waiter: Waiter = {
      key,
      recursive: query.get('recursive') === 'true',
      from,
      deliver: (event) => {
        this.#waiters.delete(waiter)
        response.end(`${JSON.stringify(event)}\n`)
      },
    }
    const past = this.history.find((event) => isHeard(waiter, event))
    if (past !== undefined) return waiter.deliver(past)
    this.#waiters.add(waiter)
    response.on('close', () => this.#waiters.delete(waiter))
  }

  #gone(oldest: number, asked: number): Record<string, unknown> {
    return {
      errorCode: 401,
      message: 'The event in requested index is outdated and cleared',
      cause: `the requested history has been cleared [${oldest}/${asked}]`,
      index: this.index,
    }
  }

  #serve(socket: WebSocket): void {
    const own = new Map<number, Waiter>()
    const drop = (id: number): void => {
      const waiter = own.get(id)
      own.delete(id)
      if (waiter !== undefined) this.#waiters.delete(waiter)
    }
    const say = (frame: object): void => socket.send(JSON.stringify(frame))
    socket.on('error', () => undefined)
    socket.on('ping', () => this.onPing())
    socket.on('close', () => [...own.keys()].forEach(drop))
    socket.on('message', (data) => {
      const { op, id, key, recursive, after }: Asked = JSON.parse(
        Buffer.isBuffer(data) ? data.toString() : '',
      )
      if (op === 'cancel') {
        drop(id)
        return say({ id, type: 'cancelled' })
      }
      const oldest = this.history[0]?.node.modifiedIndex ?? 0
      if (after !== undefined && after + 1 < oldest) {
        return say({ id, type: 'gone', ...this.#gone(oldest, after + 1), oldest })
      }
      const deliver = (event: StoredEvent): void => say({ id, type: 'event', event })
      const from = (after ?? this.index) + 1
      const waiter: Waiter = { key, recursive: recursive === true, from, deliver }
      say({ id, type: 'started', index: this.index, oldest })
      this.history.filter((event) => isHeard(waiter, event)).forEach(deliver)
      own.set(id, waiter)
      this.#waiters.add(waiter)
    })
  }

  /** What kvd does about every 10 s on quiet watches. */
  progress(): void {
    for (const socket of this.#webSockets.clients) {
      socket.send(JSON.stringify({ id: 1, type: 'progress', index: this.index }))
    }
  }

  /** Text to every watch connection. */
  say(text: string): void {
    for (const socket of this.#webSockets.clients) socket.send(text)
  }

  /** A closing handshake with this code. */
  hangUp(code: number): void {
    for (const socket of this.#webSockets.clients) socket.close(code)
  }
}

interface Asked {
  readonly op: string
  readonly id: number
  readonly key: string
  readonly recursive?: boolean
  readonly after?: number
}

function isHeard(waiter: Waiter, event: StoredEvent): boolean {
  const { key, modifiedIndex } = event.node
  if (modifiedIndex < waiter.from) return false
  const prefix = waiter.key === '/' ? '/' : `${waiter.key}/`
  return key === waiter.key || (waiter.recursive && key.startsWith(prefix))
}

function nodeOf(key: string, stored: { value: string; index: number }): Record<string, unknown> {
  return { key, value: stored.value, modifiedIndex: stored.index, createdIndex: stored.index }
}

function reply(response: ServerResponse, status: number, index: number, body: unknown): void {
  response.writeHead(status, { 'X-Etcd-Index': index, 'Content-Type': 'application/json' })
  response.end(body === undefined ? '' : `${JSON.stringify(body)}\n`)
}

function isAddress(address: AddressInfo | string | null): address is AddressInfo {
  return typeof address === 'object' && address !== null
}
