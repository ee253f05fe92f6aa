import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Server } from '../servers.ts'

/** How a watcher listens. */
export type Transport = 'http' | 'websocket'

const timeoutMs = 30_000
const watchedKey = '/bench-watched'
const handshakeKey = 'dGhlIHNhbXBsZSBub25jZQ=='
/** What a watcher hears of one PUT must fit; an event of this bench has some 250 bytes. */
const heardBytes = 4 << 10

/** Frees memory now, while nothing is being measured: a pause of the client is not the server's. */
const collectGarbage = exposeCollector()

function exposeCollector(): () => void {
  setFlagsFromString('--expose-gc')
  const collector: unknown = runInNewContext('gc')
  if (typeof collector !== 'function') throw new Error('this Node hides its garbage collector')
  return () => void collector()
}

/**
 * Watchers of one key on as many connections, on bare sockets. Between a PUT and the last event the
 * client only notes times and bytes and allocates next to nothing: parsing and garbage collection
 * wait, so that the client does not hide what it measures.
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
    const put = putRequest(value)
    const heard = hear([...this.#watchers, this.#putter], (watcher) =>
      watcher === this.#putter ? '\n' : end,
    )
    collectGarbage()
    const sentMs = performance.now()
    this.#putter.send(put)
    await within(heard, () => this.#missing())
    return this.#watchers.map((watcher) => {
      if (!watcher.text.includes(`"value":"${value}"`))
        throw new Error(`${this.#server.name}: a watcher heard of another write: ${watcher.text}`)
      return watcher.firstMs - sentMs
    })
  }

  /** Ends all connections. */
  close(): void {
    for (const watcher of [...this.#watchers, this.#putter]) watcher.close()
  }

  /** Opens the long polls; the headers arrive when the server has the watcher. */
  async #startPolls(): Promise<void> {
    const request = Buffer.from(
      `GET /v2/keys${watchedKey}?wait=true HTTP/1.1\r\nHost: bench\r\n\r\n`,
    )
    const heads = hear(this.#watchers, () => '\r\n\r\n')
    for (const watcher of this.#watchers) watcher.send(request)
    await within(heads, () => this.#missing())
    for (const { text } of this.#watchers)
      if (!text.startsWith('HTTP/1.1 200')) throw new Error(`watch refused: ${text}`)
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
      const head = hear([watcher], () => '\r\n\r\n')
      watcher.send(Buffer.from(`${upgrade.join('\r\n')}\r\n\r\n`))
      await within(head, () => 'no answer to an upgrade to WebSocket')
      if (!watcher.text.startsWith('HTTP/1.1 101')) throw new Error(watcher.text)
      const started = hear([watcher], () => '"started"')
      watcher.send(order)
      await within(started, () => 'no answer to a watch over WebSocket')
    }
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

/** Resolves once each of the watchers has heard its text; from this call on. */
async function hear(
  watchers: readonly Watcher[],
  textOf: (watcher: Watcher) => string,
): Promise<void> {
  let missing = watchers.length
  await new Promise<void>((resolve, reject) => {
    const done = (error?: Error): void => {
      missing -= 1
      if (error !== undefined) reject(error)
      else if (missing === 0) resolve()
    }
    for (const watcher of watchers) watcher.expect(textOf(watcher), done)
  })
}

/** A socket that waits for one piece of text at a time and notes when its first bytes came. */
class Watcher {
  readonly #socket: Socket
  readonly #heard = Buffer.alloc(heardBytes)
  #length = 0
  #firstMs = 0
  #end = ''
  #done: ((error?: Error) => void) | undefined

  private constructor(port: number) {
    this.#socket = connect({
      host: '127.0.0.1',
      port,
      noDelay: true,
      onread: {
        buffer: Buffer.allocUnsafe(heardBytes),
        callback: (bytes, buffer) => {
          this.#read(bytes, buffer)
          return true
        },
      },
    })
    this.#socket.on('error', (error) => this.#done?.(error))
    this.#socket.on('close', () => this.#done?.(new Error('the server closed a connection')))
  }

  static async open(port: number): Promise<Watcher> {
    const watcher = new Watcher(port)
    await once(watcher.#socket, 'connect')
    return watcher
  }

  get isWaiting(): boolean {
    return this.#done !== undefined
  }

  /** When the first bytes of what was expected last came, on `performance`'s clock. */
  get firstMs(): number {
    return this.#firstMs
  }

  /** What was heard since `expect`. */
  get text(): string {
    return this.#heard.toString('latin1', 0, this.#length)
  }

  /** Calls `done` once what comes from now on holds `end`. */
  expect(end: string, done: (error?: Error) => void): void {
    this.#length = 0
    this.#end = end
    this.#done = done
  }

  send(bytes: Buffer): void {
    this.#socket.write(bytes)
  }

  close(): void {
    this.#done = undefined
    this.#socket.destroy()
  }

  #read(bytes: number, buffer: Uint8Array): void {
    if (this.#done === undefined) return
    if (this.#length === 0) this.#firstMs = performance.now()
    if (this.#length + bytes > heardBytes) throw new Error('a watcher heard more than fits')
    this.#heard.set(buffer.subarray(0, bytes), this.#length)
    this.#length += bytes
    const at = this.#heard.indexOf(this.#end, 0, 'latin1')
    if (at === -1 || at + this.#end.length > this.#length) return
    const done = this.#done
    this.#done = undefined
    done()
  }
}
