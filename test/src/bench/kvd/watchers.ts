import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Server } from '../servers.ts'

/** How a watcher listens. */
export type Transport = 'http' | 'websocket'

/** What a watcher saw of one PUT: when, in milliseconds after it was sent, and the bytes. */
interface Sight {
  readonly ms: number
  readonly text: string
}

const timeoutMs = 30_000
const watchedKey = '/bench-watched'
const handshakeKey = 'dGhlIHNhbXBsZSBub25jZQ=='
/** The server's frame must fit into one read; an event of this bench has some 250 bytes. */
const readBytes = 16 << 10

/**
 * Watchers of one key on as many connections, on bare sockets: parsing waits until all have heard, so
 * that the client does not hide what it measures.
 */
export class Watchers {
  readonly #server: Server
  readonly #transport: Transport
  readonly #watchers: Watcher[]
  readonly #putter: Watcher
  #shots = 0

  private constructor(server: Server, transport: Transport, watchers: Watcher[], putter: Watcher) {
    this.#server = server
    this.#transport = transport
    this.#watchers = watchers
    this.#putter = putter
  }

  /** Connects `count` watchers; WebSockets are watching when this resolves. */
  static async open(server: Server, transport: Transport, count: number): Promise<Watchers> {
    const watchers: Watcher[] = []
    // One after the other: a burst of a thousand connections would measure the listen queue.
    for (let n = 0; n < count; n += 1) watchers.push(await Watcher.open(server.port))
    const self = new Watchers(server, transport, watchers, await Watcher.open(server.port))
    if (transport === 'websocket') await self.#startWebSockets()
    return self
  }

  /** Sends one PUT; gives for each watcher the milliseconds from then until the event was there. */
  async shoot(): Promise<number[]> {
    if (this.#transport === 'http') await this.#startPolls()
    this.#shots += 1
    const value = `shot-${this.#shots}`
    const end = this.#transport === 'http' ? '\r\n0\r\n\r\n' : `"value":"${value}"`
    const sights = this.#watchers.map((watcher) => watcher.until(end))
    const sentMs = performance.now()
    const answer = this.#putter.until('\n')
    this.#putter.send(putRequest(value))
    const all = await within(Promise.all(sights), () => this.#missing())
    await answer
    return all.map((sight) => this.#check(sight, value) - sentMs)
  }

  /** Ends all connections. */
  close(): void {
    for (const watcher of [...this.#watchers, this.#putter]) watcher.close()
  }

  /** Opens the long polls; the headers arrive when the server has the watcher. */
  async #startPolls(): Promise<void> {
    const request = `GET /v2/keys${watchedKey}?wait=true HTTP/1.1\r\nHost: bench\r\n\r\n`
    const heads = this.#watchers.map((watcher) => watcher.until('\r\n\r\n'))
    for (const watcher of this.#watchers) watcher.send(Buffer.from(request))
    const all = await within(Promise.all(heads), () => this.#missing())
    for (const head of all)
      if (!head.text.startsWith('HTTP/1.1 200')) throw new Error(`watch refused: ${head.text}`)
  }

  async #startWebSockets(): Promise<void> {
    const upgrade = [
      'GET /kvd/v1/watch HTTP/1.1',
      'Host: bench',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${handshakeKey}`,
      'Sec-WebSocket-Protocol: kvd-watch.1',
    ]
    const order = maskedFrame(JSON.stringify({ op: 'watch', id: 1, key: watchedKey }))
    for (const watcher of this.#watchers) {
      const head = watcher.until('\r\n\r\n')
      watcher.send(Buffer.from(`${upgrade.join('\r\n')}\r\n\r\n`))
      if (!(await head).text.startsWith('HTTP/1.1 101')) throw new Error((await head).text)
      const started = watcher.until('"started"')
      watcher.send(order)
      await within(started, () => 'no answer to a watch over WebSocket')
    }
  }

  #check(sight: Sight, value: string): number {
    if (!sight.text.includes(`"value":"${value}"`))
      throw new Error(`${this.#server.name}: a watcher heard of another write: ${sight.text}`)
    return sight.ms
  }

  #missing(): string {
    const waiting = this.#watchers.filter((watcher) => watcher.isWaiting).length
    return `${this.#server.name}: ${waiting} of ${this.#watchers.length} watchers heard nothing`
  }
}

function putRequest(value: string): Buffer {
  const form = `value=${value}`
  return Buffer.from(
    `PUT /v2/keys${watchedKey} HTTP/1.1\r\nHost: bench\r\n` +
      `Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ${form.length}\r\n\r\n${form}`,
  )
}

/** One short text frame as a client must send it (RFC 6455 5.2); the mask is zero, which masks nothing. */
export function maskedFrame(text: string): Buffer {
  const payload = Buffer.from(text)
  if (payload.length > 125) throw new RangeError('a frame of this bench has at most 125 bytes')
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload])
}

async function within<T>(wait: Promise<T>, why: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(why()))
    }, timeoutMs)
  })
  try {
    return await Promise.race([wait, late])
  } finally {
    clearTimeout(timer)
  }
}

/** A socket that waits for one piece of text at a time and notes when its first bytes came. */
class Watcher {
  readonly #socket: Socket
  #text = ''
  #firstMs = 0
  #end = ''
  #resolve: ((sight: Sight) => void) | undefined
  #reject: ((error: Error) => void) | undefined

  private constructor(port: number) {
    this.#socket = connect({
      host: '127.0.0.1',
      port,
      noDelay: true,
      onread: {
        buffer: Buffer.allocUnsafe(readBytes),
        callback: (bytes, buffer) => {
          this.#read(Buffer.from(buffer.buffer, buffer.byteOffset, bytes))
          return true
        },
      },
    })
    this.#socket.on('error', (error) => this.#reject?.(error))
    this.#socket.on('close', () => this.#reject?.(new Error('the server closed a connection')))
  }

  static async open(port: number): Promise<Watcher> {
    const watcher = new Watcher(port)
    await once(watcher.#socket, 'connect')
    return watcher
  }

  get isWaiting(): boolean {
    return this.#resolve !== undefined
  }

  /** Resolves once what came since this call holds `end`; the time is that of the first bytes. */
  until(end: string): Promise<Sight> {
    this.#text = ''
    this.#end = end
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  send(bytes: Buffer): void {
    this.#socket.write(bytes)
  }

  close(): void {
    this.#reject = undefined
    this.#socket.destroy()
  }

  #read(bytes: Buffer): void {
    if (this.#resolve === undefined) return
    if (this.#text === '') this.#firstMs = performance.now()
    this.#text += bytes.toString('latin1')
    if (!this.#text.includes(this.#end)) return
    const resolve = this.#resolve
    this.#resolve = undefined
    resolve({ ms: this.#firstMs, text: this.#text })
  }
}
