import { UnitManagerError } from '../manager.ts'
import { type Call, connectBus, type Connection, DBusError } from './connection.ts'
import type { Value } from './marshal.ts'
import type { Message } from './message.ts'

/** Where systemd may be reached. */
export interface BusAddress {
  readonly address: string
  /** False for systemd's private socket, which has no bus daemon in between. */
  readonly isBus: boolean
}

export interface BusOptions {
  /** Tried in this order at each connection. */
  readonly addresses: readonly BusAddress[]
  readonly onSignal: (signal: Message) => void
  /** Signals were missed: a connection was made again, or systemd came back. */
  readonly onGap: () => void
}

const SYSTEMD = 'org.freedesktop.systemd1'
const MANAGER_PATH = '/org/freedesktop/systemd1'
const MANAGER = 'org.freedesktop.systemd1.Manager'
const DAEMON = 'org.freedesktop.DBus'

const RETRY_MS_MIN = 100
const RETRY_MS_MAX = 5000

/** A connection to systemd's manager that is made again when it breaks. */
export class Bus {
  readonly #options: BusOptions
  #connecting: Promise<Connection> | undefined
  #connection: Connection | undefined
  #retryTimer: NodeJS.Timeout | undefined
  #retryMs = RETRY_MS_MIN
  #isClosed = false

  constructor(options: BusOptions) {
    this.#options = options
  }

  /** Connects if there is no connection. Throws DISCONNECTED. */
  async connect(): Promise<Connection> {
    if (this.#isClosed) throw new UnitManagerError('CLOSED', 'The unit manager is closed.')
    if (this.#connection !== undefined) return this.#connection
    this.#connecting ??= this.#open().finally(() => {
      this.#connecting = undefined
    })
    return this.#connecting
  }

  /** Calls a method of systemd's manager. Throws DBusError or DISCONNECTED; nothing is tried twice. */
  async manager(
    member: string,
    signature = '',
    body: readonly Value[] = [],
  ): Promise<readonly Value[]> {
    const call = {
      destination: SYSTEMD,
      path: MANAGER_PATH,
      interface: MANAGER,
      member,
      signature,
      body,
    }
    return (await this.connect()).call(call)
  }

  /** All properties of an interface of one of systemd's objects, as [name, variant] pairs. */
  async properties(path: string, ofInterface: string): Promise<readonly Value[]> {
    const connection = await this.connect()
    const [entries] = await connection.call({
      destination: SYSTEMD,
      path,
      interface: 'org.freedesktop.DBus.Properties',
      member: 'GetAll',
      signature: 's',
      body: [ofInterface],
    })
    return Array.isArray(entries) ? entries : []
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#retryTimer)
    this.#connection?.close()
    this.#connection = undefined
  }

  async #open(): Promise<Connection> {
    let cause: unknown
    for (const { address, isBus } of this.#options.addresses) {
      let connection: Connection | undefined
      try {
        connection = await connectBus({
          address,
          isBus,
          onSignal: (signal) => this.#take(signal),
          onClose: () => this.#lost(),
        })
        await this.#subscribe(connection, isBus)
        return this.#adopt(connection)
      } catch (error) {
        // A bus without systemd is met at each attempt: what it leaves open would pile up and tell signals twice.
        connection?.close()
        cause = error
      }
    }
    throw new UnitManagerError('DISCONNECTED', 'Failed to connect to systemd.', { cause })
  }

  #adopt(connection: Connection): Connection {
    if (this.#isClosed || connection.isClosed) {
      connection.close()
      throw new UnitManagerError('DISCONNECTED', 'Lost systemd: connection closed.')
    }
    this.#connection = connection
    this.#retryMs = RETRY_MS_MIN
    return connection
  }

  async #subscribe(connection: Connection, isBus: boolean): Promise<void> {
    if (isBus) {
      await addMatch(connection, `type='signal',sender='${SYSTEMD}'`)
      const owner = `type='signal',sender='${DAEMON}',member='NameOwnerChanged',arg0='${SYSTEMD}'`
      await addMatch(connection, owner)
    }
    await subscribe(connection)
  }

  #take(signal: Message): void {
    if (signal.member !== 'NameOwnerChanged') return this.#options.onSignal(signal)
    const [, , newOwner] = signal.body()
    const connection = this.#connection
    if (newOwner === '' || connection === undefined) return
    // systemd forgot its subscribers when it left the bus. If it fails again, that ends the connection or comes back here.
    subscribe(connection).then(this.#options.onGap, () => undefined)
  }

  #lost(): void {
    this.#connection = undefined
    this.#retry()
  }

  #retry(): void {
    if (this.#isClosed) return
    clearTimeout(this.#retryTimer)
    this.#retryTimer = setTimeout(() => {
      this.connect().then(this.#options.onGap, () => this.#retry())
    }, this.#retryMs)
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MS_MAX)
  }
}

async function addMatch(connection: Connection, rule: string): Promise<void> {
  const call = { destination: DAEMON, path: '/org/freedesktop/DBus', interface: DAEMON }
  await connection.call({ ...call, member: 'AddMatch', signature: 's', body: [rule] })
}

async function subscribe(connection: Connection): Promise<void> {
  const call: Call = {
    destination: SYSTEMD,
    path: MANAGER_PATH,
    interface: MANAGER,
    member: 'Subscribe',
  }
  try {
    await connection.call(call)
  } catch (error) {
    const isDone = error instanceof DBusError && error.errorName === `${SYSTEMD}.AlreadySubscribed`
    if (!isDone) throw error
  }
}
