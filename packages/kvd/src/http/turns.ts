import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** Of requests that wait for their turn so much is kept, as of a connection on the lean way. */
const AHEAD_BYTES_MAX = 256 * 1024
/** What node:http keeps of a request besides its body, at the least. */
const REQUEST_BYTES = 1024

interface Waiting {
  readonly bytes: number
  readonly serve: () => void
}

/** The requests of one connection behind the one that is served. */
class Line {
  #waiting: Waiting[] = []
  #bytes = 0
  /** The answer under way ends when something happens, which may be never. */
  isStreaming = false

  get isTooLong(): boolean {
    return this.#bytes > AHEAD_BYTES_MAX
  }

  push(waiting: Waiting): void {
    this.#waiting.push(waiting)
    this.#bytes += waiting.bytes
  }

  shift(): Waiting | undefined {
    const waiting = this.#waiting.shift()
    this.#bytes -= waiting?.bytes ?? 0
    return waiting
  }

  clear(): void {
    this.#waiting = []
    this.#bytes = 0
  }
}

/**
 * One request of a connection at a time: node:http hands out pipelined requests all at once, and a
 * read behind a write would then overtake it.
 */
export class Turns {
  readonly #lines = new WeakMap<Duplex, Line>()
  readonly #ending = new WeakSet<Socket>()
  readonly #ended = new WeakSet<Socket>()

  /** True when an earlier request of the connection was its last; remembers that this one is. */
  isLast(socket: Socket, response: ServerResponse): boolean {
    if (this.#ending.has(socket)) return true
    if (!response.shouldKeepAlive) this.#ending.add(socket)
    return false
  }

  /** What stands behind a request that was not read to its end is not carried out. */
  endBehind(socket: Socket): void {
    this.#ending.add(socket)
  }

  /** A request of the connection is being answered. */
  isBusy(socket: Duplex): boolean {
    return this.#lines.has(socket)
  }

  /** An answer ends the connection: what waits behind it is dropped. */
  end(socket: Socket): void {
    this.#ended.add(socket)
    this.#lines.get(socket)?.clear()
    if (socket.isPaused()) socket.resume()
  }

  /** Calls `serve` when all requests before this one are answered. @param bytes of the body, which is whole */
  take(response: ServerResponse, socket: Socket, { bytes, serve }: Waiting): void {
    if (this.#ended.has(socket)) return
    const line = this.#lines.get(socket)
    response.once('close', () => this.#next(socket))
    if (line === undefined) {
      this.#lines.set(socket, new Line())
      serve()
      return
    }
    line.push({ bytes: bytes + REQUEST_BYTES, serve })
    this.#bound(socket, line)
  }

  /** The request whose turn it is waits for something to happen. */
  streams(socket: Socket): void {
    const line = this.#lines.get(socket)
    if (line === undefined) return
    line.isStreaming = true
    this.#bound(socket, line)
  }

  #bound(socket: Socket, line: Line): void {
    if (!line.isTooLong) return
    // A paused socket does not tell when its client is gone, and a long poll may wait for ever.
    if (line.isStreaming) socket.destroy()
    // Not before: node:http resumes it behind each request that it has read already.
    else
      setImmediate(() => {
        if (line.isTooLong && !socket.destroyed) socket.pause()
      })
  }

  #next(socket: Socket): void {
    const line = this.#lines.get(socket)
    if (line === undefined) return
    line.isStreaming = false
    // Nobody would hear the answers, and those that nobody hears do not end.
    const waiting = socket.destroyed ? undefined : line.shift()
    if (waiting === undefined) {
      this.#lines.delete(socket)
      return
    }
    if (socket.isPaused() && !line.isTooLong) socket.resume()
    waiting.serve()
  }
}
