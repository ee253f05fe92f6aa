import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '@flotilla/daemon'
import { memberId } from '../cluster.ts'
import type { Config, DiscoveryConfig } from '../config.ts'
import { DiscoveryError } from './discovery-error.ts'
import { systemNames } from './names.ts'
import { checkUrls, clusterOf, registrationText, type InitialCluster } from './roster.ts'
import { shownUrl } from './shown-url.ts'
import { srvCluster, type NameService } from './srv.ts'
import { Token } from './token.ts'

const POLL_MS = 300_000

export interface DiscoverOptions {
  readonly logger: Logger
  /** Gives the search up, with the signal's reason. */
  readonly signal: AbortSignal
  /** The most members that a cluster may have; larger ones are refused before anything is registered. */
  readonly sizeMax?: number
  readonly names?: NameService
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>
  /** Milliseconds until a poll that brings nothing begins again. */
  readonly pollMs?: number
}

/** The members of a new cluster, or the peer URLs of one that has no room: be a proxy of it. */
export type Discovered =
  { readonly initialCluster: InitialCluster } | { readonly full: readonly string[] }

type Own = Pick<Config, 'name' | 'peerURLs' | 'clusterToken'> & {
  readonly discovery: DiscoveryConfig
}

/**
 * Finds the members of the cluster that this member is to begin (kvd.md 12): registers at a discovery
 * URL and waits for the others, or reads SRV records. Call it once, with an empty data directory.
 * @throws DiscoveryError; `FULL` only with `--discovery-fallback exit`
 */
export async function discoverCluster(config: Own, options: DiscoverOptions): Promise<Discovered> {
  const { discovery, name, peerURLs } = config
  const sizeMax = options.sizeMax ?? Number.MAX_SAFE_INTEGER
  if (discovery.type === 'srv') {
    const question = { domain: discovery.domain, self: { name, peerURLs } }
    const initialCluster = await srvCluster(question, withNames(options))
    checkUrls(initialCluster)
    if (initialCluster.size > sizeMax)
      throw new DiscoveryError(
        'TOO_MANY',
        `discovery: a cluster of ${initialCluster.size} members is too large`,
      )
    return { initialCluster }
  }
  const text = registrationText(name, peerURLs)
  // A name with these signs would be read as another one.
  if (name === '' || /[,=]/.test(name))
    throw new DiscoveryError(
      'INVALID_URL',
      `flag -name: ${JSON.stringify(name)} cannot be registered for discovery`,
    )
  return await withToken(discovery, { ...options, sizeMax }, async (token) => {
    const roster = await token.join(memberId(peerURLs, config.clusterToken), text)
    if (!roster.isFull) {
      const initialCluster = clusterOf(roster)
      const found = initialCluster.get(name) ?? []
      if (registrationText(name, found) !== text)
        throw new DiscoveryError(
          'NOT_A_MEMBER',
          `couldn't find local name ${JSON.stringify(name)} in the initial cluster configuration`,
        )
      return { initialCluster }
    }
    if (discovery.fallback === 'exit') throw new DiscoveryError('FULL')
    return { full: urlsOf(clusterOf(roster)) }
  })
}

/**
 * The peer URLs of the members of a cluster, for a proxy (etcd 2.3 GetCluster): waits until all are there.
 * @throws DiscoveryError
 */
export async function discoverPeers(
  discovery: DiscoveryConfig,
  options: DiscoverOptions,
): Promise<readonly string[]> {
  if (discovery.type === 'srv') {
    const question = { domain: discovery.domain, self: undefined }
    return urlsOf(await srvCluster(question, withNames(options)))
  }
  const sizeMax = options.sizeMax ?? Number.MAX_SAFE_INTEGER
  return await withToken(discovery, { ...options, sizeMax }, async (token) =>
    urlsOf(clusterOf(await token.watch())),
  )
}

async function withToken<T>(
  { url, proxy }: Extract<DiscoveryConfig, { type: 'url' }>,
  options: DiscoverOptions & { readonly sizeMax: number },
  work: (token: Token) => Promise<T>,
): Promise<T> {
  const { logger, signal, sizeMax, pollMs = POLL_MS } = options
  if (proxy !== undefined) logger.info(`discovery: using proxy ${JSON.stringify(shownUrl(proxy))}`)
  const timing = { pause: options.pause ?? pause, pollMs }
  const token = new Token({ url, proxy, logger, signal, sizeMax, ...timing })
  try {
    return await work(token)
  } finally {
    token.close()
  }
}

function withNames(options: DiscoverOptions): { names: NameService; logger: Logger } {
  return { logger: options.logger, names: options.names ?? systemNames() }
}

function urlsOf(cluster: InitialCluster): readonly string[] {
  return [...cluster.values()].flat().toSorted()
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal })
  } catch {
    signal.throwIfAborted()
  }
}
