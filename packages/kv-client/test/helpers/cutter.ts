import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'

/** A TCP relay that cuts each connection after so many bytes of answers as `budget` says, or at once by `cut`. */
export class Cutter {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  port = 0
  /** Bytes that the next connection may bring; undefined: no limit. */
  budget: () => number | undefined = () => undefined
  cuts = 0

  constructor(targetPort: number) {
    this.#server = createServer((near) => {
      const far = connect(targetPort, '127.0.0.1')
      let left = this.budget()
      const end = (): void => {
        near.destroy()
        far.destroy()
      }
      for (const socket of [near, far]) {
        this.#sockets.add(socket)
        socket.on('error', end)
        socket.on('close', () => {
          this.#sockets.delete(socket)
          end()
        })
      }
      near.on('data', (chunk) => far.write(chunk))
      far.on('data', (chunk) => {
        if (left === undefined || chunk.length < left) {
          near.write(chunk)
          if (left !== undefined) left -= chunk.length
          return
        }
        this.cuts += 1
        near.write(chunk.subarray(0, left), end)
      })
    })
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    const address = this.#server.address()
    if (typeof address === 'object' && address !== null) this.port = address.port
    return this
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  async close(): Promise<void> {
    this.cut()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }
}
