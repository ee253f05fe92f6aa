import type { Logger } from '@flotilla/daemon'
import type { Config, DiscoveryConfig } from './config.ts'
import { hasLog, prepareDataDir, roleOf } from './data-dir.ts'
import { EngineError } from './engine-etcd3/engine-error.ts'
import type { ExistingEngine } from './existing-engine.ts'
import { startServer, type RunningServer } from './server.ts'
import { openTlsSides } from './tls/tls-sides.ts'

/** A member or a proxy that serves. */
export interface Running extends RunningServer {
  /** Reads the certificates again. */
  readonly reload: () => Promise<void>
}

/**
 * Starts what the configuration asks for. A data directory stays what it was, member or proxy,
 * whatever the flags say.
 * @param signal ends the wait for others
 * @throws DiskError, ListenError, LimitError, BootstrapError, DataDirError, TlsError, DiscoveryError
 */
export async function start(config: Config, logger: Logger, signal: AbortSignal): Promise<Running> {
  if (config.existingEngine !== undefined)
    return await startFront(config, config.existingEngine, logger)
  // A directory of before has no other trace of a member whose log is elsewhere.
  const known = roleOf(config.dataDir)
  const role = known === 'none' && hasLog(config.storageDir) ? 'member' : known
  const isProxy = role === 'none' ? config.proxy.mode !== 'off' : role === 'proxy'
  if (role !== 'none' && isProxy !== (config.proxy.mode !== 'off'))
    logger.info(
      `etcdmain: the server is already initialized as ${role} before, starting as etcd ${role}...`,
    )
  if (isProxy) return await startAsProxy(config, logger, { signal })
  const { discovery } = config
  if (role === 'none' && discovery !== undefined)
    return await startDiscovered({ ...config, discovery }, logger, signal)
  if (discovery?.type === 'url')
    logger.warn(
      `etcdserver: discovery token ignored since a cluster has already been initialized. Valid log found at ${JSON.stringify(config.storageDir)}`,
    )
  return await startMember(config, logger)
}

async function startAsProxy(
  config: Config,
  logger: Logger,
  options: { readonly signal: AbortSignal; readonly peerURLs?: readonly string[] },
): Promise<Running> {
  const tls = await openTlsSides(config, logger)
  // A member needs none of it, nor what it brings along.
  const { startProxy } = await import('./proxy/proxy.ts')
  const proxy = await startProxy(config, logger, { ...options, tls })
  const ended = new Promise<never>(() => undefined)
  return { ended, close: async () => await proxy.close(), reload: tls.reload }
}

/** Begins the cluster that discovery finds, or serves it as a proxy when it has no room. */
async function startDiscovered(
  config: Config & { readonly discovery: DiscoveryConfig },
  logger: Logger,
  signal: AbortSignal,
): Promise<Running> {
  // A directory that cannot be used must not cost a place in the cluster.
  prepareDataDir(config.dataDir, config.dataDir)
  const { discoverCluster } = await import('./discovery/discover.ts')
  const found = await discoverCluster(config, { logger, signal })
  if ('full' in found) {
    logger.info('etcdmain: discovery cluster full, falling back to proxy')
    return await startAsProxy(config, logger, { signal, peerURLs: found.full })
  }
  const { initialCluster } = found
  // Ids are made of the URLs that all members have found.
  const peerURLs = initialCluster.get(config.name) ?? config.peerURLs
  return await startMember({ ...config, discovery: undefined, initialCluster, peerURLs }, logger)
}

async function startMember(config: Config, logger: Logger): Promise<Running> {
  const { unknown } = prepareDataDir(config.dataDir, config.storageDir)
  for (const entry of unknown)
    logger.warn(
      `etcdmain: found invalid file/dir ${entry} under data dir ${config.dataDir} (Ignore this if you are upgrading etcd)`,
    )
  const tls = await openTlsSides(config, logger)
  return { ...(await startServer(config, logger, tls)), reload: tls.reload }
}

/** The v2 API over somebody else's etcd: what speaks to it is loaded, and installed, for this alone. */
async function startFront(
  config: Config,
  existing: ExistingEngine,
  logger: Logger,
): Promise<Running> {
  const { startEngine } = await import('./engine-etcd3/engine.ts').catch((error: unknown) => {
    const isMissing = error instanceof Error && error.message.includes('@grpc/grpc-js')
    if (!isMissing) throw error
    throw new EngineError('flag -existing-engine: the package @grpc/grpc-js is not installed')
  })
  const tls = await openTlsSides(config, logger)
  const engine = await startEngine(config, existing, { logger, tls })
  const ended = new Promise<never>(() => undefined)
  return { ended, close: async () => await engine.close(), reload: tls.reload }
}
