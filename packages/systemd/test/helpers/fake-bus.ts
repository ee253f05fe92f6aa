import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Value } from '../../src/dbus/marshal.ts'
import type { Message, Outgoing } from '../../src/dbus/message.ts'
import { encodeMessage, ERROR, MessageSplitter, METHOD_RETURN } from '../../src/dbus/message.ts'

/** What a call is answered with; undefined: nothing, ever. */
export type Answer =
  | { readonly signature?: string; readonly body?: readonly Value[] }
  | { readonly error: string; readonly text: string }
  | undefined

/** A peer that speaks D-Bus over a unix socket and answers as the test says. */
export class FakeBus {
  readonly address: string
  /** Calls that arrived, as `member`. */
  readonly calls: string[] = []
  readonly #directory: string
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #deserted: (() => void)[] = []
  readonly #answer: (call: Message) => Answer | Promise<Answer>
  #serial = 0

  constructor(directory: string, answer: (call: Message) => Answer | Promise<Answer>) {
    this.#directory = directory
    this.#answer = answer
    this.address = `unix:path=${join(directory, 'bus')}`
    this.#server = createServer((socket) => this.#serve(socket))
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.listen(join(this.#directory, 'bus'), resolve)
    })
  }

  /** Ends all connections, as a bus daemon that is stopped. */
  drop(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Resolves when all who had connected have closed their side. */
  async untilDeserted(): Promise<void> {
    if (this.#sockets.size > 0) await new Promise<void>((resolve) => this.#deserted.push(resolve))
  }

  sendAll(bytes: Buffer): void {
    for (const socket of this.#sockets) socket.write(bytes)
  }

  signal(message: Omit<Outgoing, 'type' | 'serial'>): void {
    this.#serial += 1
    this.sendAll(encodeMessage({ ...message, type: 4, serial: this.#serial }))
  }

  async close(): Promise<void> {
    this.drop()
    await new Promise((resolve) => this.#server.close(resolve))
    await rm(this.#directory, { recursive: true, force: true })
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('close', () => {
      this.#sockets.delete(socket)
      if (this.#sockets.size === 0) for (const resolve of this.#deserted.splice(0)) resolve()
    })
    socket.on('error', () => this.#sockets.delete(socket))
    const splitter = new MessageSplitter()
    let text: Buffer | undefined = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      let rest = chunk
      if (text !== undefined) {
        text = Buffer.concat([text, chunk])
        const begin = text.indexOf('BEGIN\r\n')
        const spoken = text.toString('latin1', 0, begin === -1 ? undefined : begin)
        if (begin === -1 && !spoken.endsWith('\n')) return
        for (const line of spoken.split('\r\n').slice(0, -1)) socket.write(greet(line))
        rest = begin === -1 ? Buffer.alloc(0) : text.subarray(begin + 'BEGIN\r\n'.length)
        text = begin === -1 ? Buffer.alloc(0) : undefined
      }
      for (const call of text === undefined ? splitter.push(rest) : [])
        void this.#take(socket, call)
    })
  }

  async #take(socket: Socket, call: Message): Promise<void> {
    this.calls.push(call.member)
    const answer =
      call.member === 'Hello' ? { signature: 's', body: [':1.1'] } : await this.#answer(call)
    if (answer === undefined || socket.destroyed) return
    this.#serial += 1
    const common = {
      serial: this.#serial,
      replySerial: call.serial,
      sender: 'org.freedesktop.DBus',
    }
    const isError = 'error' in answer
    socket.write(
      encodeMessage(
        isError
          ? { ...common, type: ERROR, errorName: answer.error, signature: 's', body: [answer.text] }
          : { ...common, ...answer, type: METHOD_RETURN },
      ),
    )
  }
}

/** The server's side of SASL EXTERNAL. */
function greet(line: string): string {
  const words = line.replace('\0', '')
  if (words === 'AUTH EXTERNAL') return 'DATA\r\n'
  if (words.startsWith('AUTH EXTERNAL ') || words === 'DATA')
    return 'OK 0123456789abcdef0123456789abcdef\r\n'
  if (words === 'NEGOTIATE_UNIX_FD') return 'AGREE_UNIX_FD\r\n'
  return 'ERROR\r\n'
}

export async function fakeBus(
  answer: (call: Message) => Answer | Promise<Answer>,
): Promise<FakeBus> {
  const bus = new FakeBus(await mkdtemp(join(tmpdir(), 'fake-bus-')), answer)
  await bus.listen()
  return bus
}
