import { connect, type Socket } from 'node:net'
import { UnitManagerError } from '../manager.ts'
import type { Value } from './marshal.ts'
import type { Message } from './message.ts'
import {
  encodeMessage,
  ERROR,
  MessageSplitter,
  METHOD_CALL,
  METHOD_RETURN,
  SIGNAL,
} from './message.ts'

/** An error that the peer answered with. */
export class DBusError extends Error {
  override readonly name = 'DBusError'
  readonly code = 'DBUS_ERROR'
  /** E.g. `org.freedesktop.systemd1.NoSuchUnit`. */
  readonly errorName: string

  constructor(errorName: string, message: string) {
    super(message)
    this.errorName = errorName
  }
}

/** A method call. */
export interface Call {
  readonly destination: string
  readonly path: string
  readonly interface: string
  readonly member: string
  readonly signature?: string
  readonly body?: readonly Value[]
}

export interface ConnectionOptions {
  /** `unix:path=...` or `unix:abstract=...`; of several, separated by `;`, the first that answers. */
  readonly address: string
  /** False for a peer that is no bus, such as systemd's private socket: then there is no Hello. */
  readonly isBus: boolean
  readonly onSignal: (signal: Message) => void
  /** The connection is gone; all calls have failed. Not called after close(). */
  readonly onClose: () => void
  /** How long a call may take. Default 90 s, as systemd's own jobs. */
  readonly callTimeoutMs?: number
}

/** Calls without an answer: a bus allows 128 to a connection. */
export const CALLS_MAX = 64
const CALL_TIMEOUT_MS = 90_000
const HANDSHAKE_BYTES_MAX = 4096
const HANDSHAKE_TIMEOUT_MS = 10_000
const WAKE_MS = 20

interface Pending {
  readonly resolve: (message: Message) => void
  readonly reject: (error: Error) => void
  readonly timer: NodeJS.Timeout
}

/** Connects and authenticates as the process's user. Throws DISCONNECTED when no address answers. */
export async function connectBus(options: ConnectionOptions): Promise<Connection> {
  let cause: unknown
  for (const address of options.address.split(';')) {
    try {
      const socket = await openSocket(socketPath(address))
      const connection = new Connection(socket, await handshake(socket), options)
      return await greeted(connection, options.isBus)
    } catch (error) {
      cause = error
    }
  }
  throw new UnitManagerError('DISCONNECTED', `Failed to connect to bus at ${options.address}`, {
    cause,
  })
}

/** A connection whose greeting fails is of no use to anybody, so it does not stay open. */
async function greeted(connection: Connection, isBus: boolean): Promise<Connection> {
  try {
    await (isBus ? connection.hello() : connection.wake())
    return connection
  } catch (error) {
    connection.close()
    throw error
  }
}

/** The path of a unix address; `%xx` is unescaped (D-Bus specification, "Server Addresses"). */
export function socketPath(address: string): string {
  const [, transport, text = ''] = /^([a-z]+):(.*)$/.exec(address) ?? []
  const values = new Map(
    text.split(',').map((pair): [string, string] => {
      const equals = pair.indexOf('=')
      return [pair.slice(0, equals), decodeURIComponent(pair.slice(equals + 1))]
    }),
  )
  const path = values.get('path')
  const abstract = values.get('abstract')
  if (transport === 'unix' && path !== undefined) return path
  if (transport === 'unix' && abstract !== undefined) return `\0${abstract}`
  throw new UnitManagerError('INVALID_ARGUMENT', `Unsupported bus address "${address}"`)
}

async function openSocket(path: string): Promise<Socket> {
  const socket = connect(path)
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', () => {
      socket.off('error', reject)
      resolve()
    })
    socket.once('error', reject)
  })
  return socket
}

/** SASL EXTERNAL: the kernel tells the peer who we are. Returns the bytes that followed the answer. */
async function handshake(socket: Socket): Promise<Buffer> {
  const uid = Buffer.from(String(process.getuid?.() ?? 0)).toString('hex')
  socket.write(`\0AUTH EXTERNAL ${uid}\r\n`)
  const { line, rest } = await readLine(socket)
  if (!line.startsWith('OK ')) {
    socket.destroy()
    throw new Error(`authentication refused: ${line}`)
  }
  socket.write('BEGIN\r\n')
  return rest
}

async function readLine(socket: Socket): Promise<{ line: string; rest: Buffer }> {
  return new Promise((resolve, reject) => {
    let data = Buffer.alloc(0)
    const timer = setTimeout(
      () => settle(new Error('no answer to authentication')),
      HANDSHAKE_TIMEOUT_MS,
    )
    const settle = (result: Error | { line: string; rest: Buffer }): void => {
      clearTimeout(timer)
      socket.off('data', onData).off('error', settle).off('close', onClose).pause()
      if (!(result instanceof Error)) return resolve(result)
      socket.destroy()
      reject(result)
    }
    const onClose = (): void => settle(new Error('connection closed during authentication'))
    const onData = (chunk: Buffer): void => {
      data = Buffer.concat([data, chunk])
      const end = data.indexOf('\r\n')
      if (end !== -1)
        settle({ line: data.toString('latin1', 0, end), rest: data.subarray(end + 2) })
      else if (data.length > HANDSHAKE_BYTES_MAX)
        settle(new Error('answer to authentication too long'))
    }
    socket.on('data', onData).on('error', settle).on('close', onClose)
  })
}

/** An authenticated connection: calls out, signals in. */
export class Connection {
  readonly #socket: Socket
  readonly #options: ConnectionOptions
  readonly #splitter = new MessageSplitter()
  readonly #pending = new Map<number, Pending>()
  readonly #queue: (() => void)[] = []
  #serial = 0
  #isClosed = false

  constructor(socket: Socket, rest: Buffer, options: ConnectionOptions) {
    this.#socket = socket
    this.#options = options
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('error', (error) => this.#end(error))
    socket.on('close', () => this.#end(new Error('connection closed')))
    if (rest.length > 0) this.#read(rest)
    socket.resume()
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** The first call on a bus: it gives the connection its name. */
  async hello(): Promise<void> {
    await this.call({
      destination: 'org.freedesktop.DBus',
      path: '/org/freedesktop/DBus',
      interface: 'org.freedesktop.DBus',
      member: 'Hello',
    })
  }

  /**
   * The first call on a socket without a bus. systemd (252) leaves what it has read together with the end of the
   * handshake until more arrives, so calls go out until one is answered.
   */
  async wake(): Promise<void> {
    const ping = async (): Promise<unknown> =>
      this.call({
        destination: 'org.freedesktop.systemd1',
        path: '/org/freedesktop/systemd1',
        interface: 'org.freedesktop.DBus.Peer',
        member: 'Ping',
      })
    const first = ping()
    const again = setInterval(() => void ping().catch(() => undefined), WAKE_MS)
    await first.finally(() => clearInterval(again))
  }

  /** Calls and returns the answer's values. Throws DBusError, or DISCONNECTED when no answer can come. */
  async call(call: Call): Promise<readonly Value[]> {
    if (this.#pending.size >= CALLS_MAX)
      await new Promise<void>((resolve) => this.#queue.push(resolve))
    if (this.#isClosed) throw disconnected('connection closed')
    this.#serial = (this.#serial % 0xffffffff) + 1
    const serial = this.#serial
    const bytes = encodeMessage({ ...call, type: METHOD_CALL, serial })
    try {
      const answer = await new Promise<Message>((resolve, reject) => {
        const timer = setTimeout(
          () => reject(disconnected(`no answer to ${call.member}`)),
          this.#options.callTimeoutMs ?? CALL_TIMEOUT_MS,
        )
        this.#pending.set(serial, { resolve, reject, timer })
        this.#socket.write(bytes)
      })
      return answer.body()
    } finally {
      clearTimeout(this.#pending.get(serial)?.timer)
      this.#pending.delete(serial)
      this.#queue.shift()?.()
    }
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#failAll(disconnected('connection closed'))
    this.#socket.destroy()
  }

  #read(chunk: Buffer): void {
    try {
      for (const message of this.#splitter.push(chunk)) this.#take(message)
    } catch (error) {
      // The stream has lost its rhythm: only a new connection helps.
      this.#end(error)
    }
  }

  #take(message: Message): void {
    if (message.type === SIGNAL) this.#options.onSignal(message)
    if (message.type === METHOD_RETURN) this.#pending.get(message.replySerial)?.resolve(message)
    if (message.type === ERROR) this.#pending.get(message.replySerial)?.reject(errorOf(message))
  }

  #end(cause: unknown): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#socket.destroy()
    this.#failAll(disconnected('connection to the bus is gone', cause))
    this.#options.onClose()
  }

  #failAll(error: Error): void {
    for (const { reject } of this.#pending.values()) reject(error)
    for (const release of this.#queue.splice(0)) release()
  }
}

function errorOf(message: Message): DBusError {
  const [text] = message.signature.startsWith('s') ? message.body() : []
  return new DBusError(message.errorName, typeof text === 'string' ? text : message.errorName)
}

function disconnected(reason: string, cause?: unknown): UnitManagerError {
  return new UnitManagerError('DISCONNECTED', `Lost systemd: ${reason}.`, { cause })
}
