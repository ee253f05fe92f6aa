import { rename, writeFile } from 'node:fs/promises'
import type { Server } from 'node:http'
import type { ListenFd, Logger } from '@flotilla/daemon'
import type { UnitManager } from '@flotilla/systemd'
import type { Extension } from './api/extension.ts'
import type { ApiRequest, ApiResponse } from './api/http.ts'
import { failure } from './api/http.ts'
import { handle } from './api/router.ts'
import { createApiServer } from './api/server.ts'
import type { Config, StoreConfig } from './config.ts'
import { dumpState } from './dump.ts'
import { forward } from './forward.ts'
import { announcedURL, listen, parseListeners } from './listeners.ts'
import { errorText } from './loop.ts'
import { Metrics } from './metrics.ts'
import { Session } from './session.ts'
import { openStore, type Store } from './store.ts'

/** What a fleetd is made of besides its configuration. */
export interface ServerOptions {
  readonly machineID: string
  readonly manager: UnitManager
  readonly log: Logger
  readonly listenFds: readonly ListenFd[]
  /** Opens the store that the configuration names; for tests, which have one in memory. */
  readonly openStore?: (config: StoreConfig) => Promise<Store>
}

/** One fleetd: listeners and units stay, sessions come and go with the configuration. */
export class FleetServer {
  readonly #options: ServerOptions
  readonly #metrics = new Metrics()
  readonly #servers: Server[] = []
  readonly #urls: string[] = []
  #config: Config
  #session: Session | undefined
  /** While a reload goes from one session to the next neither may be stopped. */
  #switching: Promise<unknown> = Promise.resolve()
  #isStopping = false

  constructor(config: Config, options: ServerOptions) {
    this.#config = config
    this.#options = options
  }

  /** Where the API answers. */
  get urls(): readonly string[] {
    return this.#urls
  }

  /** Opens the listeners; from here on the API answers, with 503 until the machine is registered. */
  async listen(): Promise<void> {
    const { log, listenFds } = this.#options
    for (const listener of parseListeners(this.#config.listen, listenFds)) {
      const server = createApiServer(
        (request) => this.#answer(request),
        (error) => log.warn('api: connection failed', { error: errorText(error) }),
      )
      this.#servers.push(server)
      const url = await listen(server, listener)
      this.#urls.push(url)
      log.info('api: listening', { url })
    }
    const { listenFile } = this.#config
    if (listenFile === '') return
    // Whole or not at all: a launcher that sees the file can read it.
    await writeFile(`${listenFile}.tmp`, this.#urls.map((url) => `${url}\n`).join(''))
    await rename(`${listenFile}.tmp`, listenFile)
  }

  /** Joins the cluster. Resolves when the machine is registered or the server stops; until then it keeps trying. */
  async start(): Promise<void> {
    const client = await this.#openStore(this.#config)
    if (this.#isStopping) return client.close()
    this.#session = this.#newSession(client, false)
    await this.#join(this.#session)
  }

  async #openStore(config: Config): Promise<Store> {
    return await (this.#options.openStore ?? openStore)(config.store)
  }

  #newSession(client: Store, isReload: boolean): Session {
    const { machineID, manager, log } = this.#options
    return new Session({
      config: this.#config,
      machineID,
      client,
      manager,
      metrics: this.#metrics,
      log,
      apiURL: (publicIP) => announcedURL(this.#urls, publicIP),
      isReload,
    })
  }

  async #join(session: Session): Promise<void> {
    await session.start()
    const { log, machineID } = this.#options
    if (session.isReady) log.info('server: registered', { machine: machineID })
  }

  /**
   * Works on with another configuration; units and the API stay up. Listeners and unit manager stay as they are. Resolves
   * when the new session tries to join, so that a wrong address of the store can be corrected by another reload. Rejects,
   * and leaves everything as it was, when the store cannot be opened.
   */
  async reload(config: Config): Promise<void> {
    const client = await this.#openStore(config)
    const old = this.#session
    if (this.#isStopping || old === undefined) {
      this.#config = config
      return client.close()
    }
    this.#config = config
    const switching = this.#switch(old, client)
    this.#switching = switching
    this.#join(await switching).catch((error: unknown) => {
      this.#options.log.error('server: cannot join', { error: errorText(error) })
    })
  }

  async #switch(old: Session, client: Store): Promise<Session> {
    // A session that still waits for the machine ID to be free has no record of its own.
    const isReload = old.isReady
    await old.stop(false)
    const session = this.#newSession(client, isReload)
    this.#session = session
    return session
  }

  /** Takes the machine out of the cluster and closes everything. */
  async stop(): Promise<void> {
    this.#isStopping = true
    await this.#switching
    const session = this.#session
    this.#session = undefined
    await session?.stop(true)
    await Promise.all(this.#servers.map(closeServer))
    await this.#options.manager.close()
  }

  /** One line of JSON about units and their published states. */
  dump(): string {
    const session = this.#session
    return dumpState(session?.agent.units() ?? new Map(), session?.publisher.states() ?? new Map())
  }

  async #answer(request: ApiRequest): Promise<ApiResponse> {
    const session = this.#session
    if (session === undefined) return failure(503, 'fleet server unable to communicate with etcd')
    return await handle(request, {
      registry: session.units,
      tokenLimit: this.#config.tokenLimit,
      isReady: () => session.isReady,
      metrics: () => this.#metrics.text(),
      extension: this.#extension(session),
      onError: (error) =>
        this.#options.log.error('api: request failed', {
          method: request.method,
          path: request.path,
          error: errorText(error),
        }),
    })
  }

  #extension(session: Session): Extension {
    const { manager } = this.#options
    const { snapshot } = session.cache
    return {
      place: (name, wanted) => {
        const job = snapshot.job(name)
        if (job === undefined) return undefined
        const own = session.machineID
        const target = job.requirements.global ? own : job.target
        const machineID = wanted === '' ? target : wanted
        const apiURL = machineID === own ? undefined : snapshot.apiURL(machineID)
        return { machineID, isLocal: machineID === own, apiURL }
      },
      status: (name) => manager.status(name),
      journal: (name, options) => manager.journal(name, options),
      forward,
    }
  }
}

const CLOSE_MS = 1000

/** Requests in flight may end; connections that stay open after that are cut. */
async function closeServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve())
  })
  server.closeIdleConnections()
  const timer = setTimeout(() => server.closeAllConnections(), CLOSE_MS)
  await closed
  clearTimeout(timer)
}
