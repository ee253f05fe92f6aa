import type { Cluster } from '../cluster.ts'
import { connectWatch } from './socket.ts'
import type { SocketOptions, WatchConnection } from './socket.ts'

interface Current {
  readonly endpoint: string
  readonly connection: Promise<WatchConnection | undefined>
}

/** The one watch connection of a client, made when a watch needs it. */
export class WatchSockets {
  readonly #cluster: Pick<Cluster, 'current' | 'leave'>
  readonly #options: SocketOptions
  readonly #without = new Set<string>()
  #current: Current | undefined
  #isClosed = false

  constructor(cluster: Pick<Cluster, 'current' | 'leave'>, options: SocketOptions) {
    this.#cluster = cluster
    this.#options = options
  }

  /** undefined: the endpoint in use has no such watch. Rejects when it cannot be reached; the next one is then in use. */
  async connection(): Promise<WatchConnection | undefined> {
    const kept = await this.#kept()
    if (kept !== undefined) return kept
    const endpoint = this.#cluster.current
    if (endpoint === undefined || this.#without.has(endpoint)) return undefined
    if (this.#current?.endpoint !== endpoint) {
      this.#current = { endpoint, connection: connectWatch(endpoint, this.#options) }
    }
    return this.#settle(this.#current)
  }

  /** After a long poll has failed: the member may come back as something else. */
  forget(): void {
    this.#without.clear()
  }

  close(): void {
    this.#isClosed = true
    this.#current?.connection.then(
      (connection) => connection?.close(),
      () => undefined,
    )
    this.#current = undefined
  }

  async #kept(): Promise<WatchConnection | undefined> {
    const current = this.#current
    if (current === undefined) return undefined
    const connection = await this.#settle(current)
    if (connection?.isOpen === true) return connection
    if (this.#current === current) {
      this.#current = undefined
      if (connection?.isLost === true) this.#cluster.leave(current.endpoint)
    }
    return undefined
  }

  async #settle(current: Current): Promise<WatchConnection | undefined> {
    try {
      const connection = await current.connection
      if (this.#isClosed) connection?.close()
      if (connection === undefined && this.#current === current) {
        this.#current = undefined
        this.#without.add(current.endpoint)
      }
      return connection
    } catch (error) {
      if (this.#current === current) {
        this.#current = undefined
        this.#cluster.leave(current.endpoint)
      }
      throw error
    }
  }
}
