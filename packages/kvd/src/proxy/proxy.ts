import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Logger } from '@flotilla/daemon'
import type { Config } from '../config.ts'
import { HttpPort } from '../http-port.ts'
import { Cors } from '../http/cors.ts'
import { Seldom } from '../seldom.ts'
import { readFdLimit, RESERVED_FDS } from '../listener.ts'
import type { TlsIdentity } from '../tls/tls-identity.ts'
import type { TlsSides } from '../tls/tls-sides.ts'
import { ClusterFile } from './cluster-file.ts'
import { Director } from './director.ts'
import { Forwarder } from './forward.ts'
import { inTurn, type Answer } from './in-turn.ts'
import { Liveness, TIMER_MS_MAX } from './liveness.ts'
import { fetchMembers } from './members.ts'
import { answerOddRequests } from './odd-requests.ts'
import { ProxyMetrics } from './proxy-metrics.ts'

/** While no endpoint is known they are looked for so often, unless the interval is short itself. */
const EAGER_MS = 1_000
const EAGER_FROM_MS = 30_000
const DRAIN_MS = 5_000
/** A request must be whole after this time, as at a member; its answer may take as long as it wants. */
const REQUEST_MS_MAX = 300_000
const SWEEP_MS = 50

export interface RunningProxy {
  /** Stops listening and ends what is under way after a while. */
  close(): Promise<void>
}

export interface ProxyStart {
  readonly tls: TlsSides
  /** Gives up looking for the cluster. */
  readonly signal: AbortSignal
  /** Peer URLs that discovery has found already. */
  readonly peerURLs?: readonly string[]
}

/**
 * Starts a proxy (kvd.md 11): no data of its own but the peer URLs of its cluster.
 * @throws ListenError, DiscoveryError
 */
export async function startProxy(
  config: Config,
  logger: Logger,
  { tls, ...start }: ProxyStart,
): Promise<RunningProxy> {
  const { proxy } = config
  const file = new ClusterFile(config.dataDir)
  const peerURLs = await findPeers(config, logger, { ...start, file })
  const director = new Director(proxy.failureWaitMs, Math.random)
  const refresh = new Refresher({
    director,
    file,
    logger,
    tls: tls.peers,
    peerURLs,
  })
  await refresh.once()
  const stopRefreshing = refresh.every(proxy.refreshMs)
  const metrics = new ProxyMetrics()
  const forwarder = new Forwarder({
    director,
    logger,
    metrics,
    tls: tls.peers,
    liveness: new Liveness(proxy.dialMs),
    nowMs: Date.now,
    ...proxy,
  })
  const isReadonly = proxy.mode === 'readonly'
  const cors = new Cors(config.corsOrigins)
  const answer = inTurn(answerer({ director, forwarder, metrics, isReadonly, cors }))
  // Each of them may need one to a member: without any left all members would seem to be away.
  const free = (readFdLimit() - RESERVED_FDS) / 2
  const connectionsMax = Math.max(1, Math.floor(free / config.listenClientURLs.length))
  const ports: HttpPort[] = []
  const close = async (): Promise<void> => {
    stopRefreshing()
    const ended = ports.map(async (port) => await port.close())
    // An answer that ends now leaves its connection idle.
    const sweep = setInterval(() => {
      for (const { server } of ports) server.closeIdleConnections()
    }, SWEEP_MS)
    const timer = setTimeout(() => {
      for (const port of ports) port.destroy()
    }, DRAIN_MS)
    await Promise.all(ended)
    clearInterval(sweep)
    clearTimeout(timer)
    forwarder.close()
  }
  try {
    for (const url of config.listenClientURLs) {
      const http = { keepAliveTimeout: 0, requestTimeout: REQUEST_MS_MAX, noDelay: true }
      const port = new HttpPort({ url, tls: tls.clients, logger, http, connectionsMax, answer })
      answerOddRequests(port.server, answer)
      ports.push(port)
      await port.listen()
      logger.info(`proxy: listening for client requests on ${url.origin}`)
    }
  } catch (error) {
    stopRefreshing()
    for (const port of ports) void port.close()
    throw error
  }
  return { close }
}

/** The cluster file wins; without one, where the flags say. */
async function findPeers(
  config: Config,
  logger: Logger,
  { file, signal, peerURLs }: Omit<ProxyStart, 'tls'> & { readonly file: ClusterFile },
): Promise<readonly string[]> {
  const { discovery } = config
  const known = file.read()
  if (known !== undefined) {
    if (discovery !== undefined) {
      const what = discovery.type === 'url' ? 'discovery token' : 'DNS SRV discovery'
      logger.warn(
        `proxy: ${what} ignored since the proxy has already been initialized. Valid cluster file found at ${JSON.stringify(file.path)}`,
      )
    }
    logger.info(`proxy: using peer urls [${known.join(' ')}] from cluster file ${file.path}`)
    return known
  }
  const found = peerURLs ?? (await discoverUrls(config, logger, signal))
  logger.info(`proxy: using peer urls [${found.join(' ')}]`)
  return found
}

async function discoverUrls(
  { discovery, clusterPeerURLs }: Config,
  logger: Logger,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (discovery === undefined) return clusterPeerURLs
  // Most proxies need none of it.
  const { discoverPeers } = await import('../discovery/discover.ts')
  return await discoverPeers(discovery, { logger, signal })
}

interface RefresherOptions {
  readonly director: Director
  readonly file: ClusterFile
  readonly logger: Logger
  readonly tls: TlsIdentity
  readonly peerURLs: readonly string[]
}

/** Keeps the endpoints those of the cluster. */
class Refresher {
  readonly #options: RefresherOptions
  #peerURLs: readonly string[]
  /** The same peers may be away for a day. */
  readonly #problems = new Seldom()
  #told = ''
  #kept = ''

  constructor(options: RefresherOptions) {
    this.#options = options
    this.#peerURLs = options.peerURLs
  }

  async once(): Promise<void> {
    const { director, logger, tls } = this.#options
    const warn = (about: string, problem: string): void => {
      if (this.#problems.isNews(about, problem, performance.now())) logger.warn(`proxy: ${problem}`)
    }
    const found = await fetchMembers(this.#peerURLs, {
      tls: () => tls.dialOptions(),
      failed: (url, reason) => warn(url, `could not get cluster response from ${url}: ${reason}`),
    })
    if (found === undefined) {
      warn('cluster', 'could not retrieve cluster information from the given urls')
      return
    }
    this.#problems.forget('cluster')
    if (found.peerURLs.length > 0 && found.peerURLs.join() !== this.#peerURLs.join()) {
      this.#peerURLs = found.peerURLs
      logger.info(`proxy: updated peer urls to [${found.peerURLs.join(' ')}]`)
    }
    this.#keep(found.peerURLs)
    // A new order each time, or all requests would stay with one member (etcd 2.3 proxy/director.go).
    director.update(found.clientURLs)
    const text = JSON.stringify(found.clientURLs.toSorted())
    if (text === this.#told && director.urls.length > 0) return
    this.#told = text
    logger.info(`proxy: endpoints found ${JSON.stringify(director.urls)}`)
  }

  /** The file is written when it has to say something else. Requests go on without it. */
  #keep(peerURLs: readonly string[]): void {
    const { file, logger } = this.#options
    const text = peerURLs.join()
    if (text === '' || text === this.#kept) return
    try {
      file.write(peerURLs)
      this.#kept = text
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      if (this.#problems.isNews(file.path, reason, performance.now()))
        logger.error(`proxy: cannot write ${file.path}: ${reason}`)
    }
  }

  /** Returns how to stop. */
  every(intervalMs: number): () => void {
    let timer: NodeJS.Timeout
    let isStopped = false
    const next = (): void => {
      const isEager = this.#options.director.urls.length === 0 && intervalMs >= EAGER_FROM_MS
      timer = setTimeout(() => void turn(), isEager ? EAGER_MS : Math.min(intervalMs, TIMER_MS_MAX))
    }
    const turn = async (): Promise<void> => {
      await this.once()
      if (!isStopped) next()
    }
    next()
    return () => {
      isStopped = true
      clearTimeout(timer)
    }
  }
}

interface AnswererOptions {
  readonly director: Director
  readonly forwarder: Forwarder
  readonly metrics: ProxyMetrics
  readonly isReadonly: boolean
  readonly cors: Cors
}

function answerer(options: AnswererOptions): Answer {
  const { director, forwarder, metrics, isReadonly, cors } = options
  return (incoming, outgoing, body) => {
    const [path] = (incoming.url ?? '/').split('?')
    if (isReadonly && incoming.method !== 'GET') outgoing.writeHead(501).end()
    else if (path === '/metrics') void answerMetrics(metrics, outgoing)
    else {
      for (const [name, value] of cors.headers(incoming.headers.origin) ?? [])
        outgoing.setHeader(name, value)
      if (incoming.method === 'OPTIONS') outgoing.writeHead(200).end()
      else if (path === '/v2/config/local/proxy') answerConfig(director, incoming, outgoing)
      else void forwarder.forward(incoming, outgoing, body)
    }
  }
}

async function answerMetrics(metrics: ProxyMetrics, outgoing: ServerResponse): Promise<void> {
  const text = await metrics.text()
  outgoing.writeHead(200, { 'Content-Type': metrics.type }).end(text)
}

function answerConfig(
  director: Director,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): void {
  outgoing.setHeader('Content-Type', 'text/plain; charset=utf-8')
  if (incoming.method === 'GET') {
    outgoing.end(`${JSON.stringify({ endpoints: director.urls })}\n`)
    return
  }
  outgoing.setHeader('Allow', 'GET')
  outgoing.setHeader('X-Content-Type-Options', 'nosniff')
  outgoing.statusCode = 405
  outgoing.end('Method Not Allowed\n')
}
