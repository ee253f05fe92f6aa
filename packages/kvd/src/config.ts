import {
  environmentLayer,
  FlagError,
  flagLayer,
  OptionError,
  Options,
  parseGoBool,
  parseGoFlags,
} from '@flotilla/daemon'
import { badValue, ConfigError } from './config-error.ts'
import { readExistingEngine, type ExistingEngine } from './existing-engine.ts'
import { shownUrl } from './discovery/shown-url.ts'
import { FLAGS } from './flags.ts'
import { shownValue } from './secrets.ts'
import { readTestHooks, TEST_HOOK_NAMES, testHookWarnings, type TestHooks } from './test-hooks.ts'
import {
  address,
  hasCertificate,
  readTlsConfig,
  tlsProblem,
  tlsWarnings,
  type TlsConfig,
} from './tls/tls-config.ts'

/** What kvd runs with, checked. */
export interface Config {
  readonly name: string
  readonly dataDir: string
  /** Directory of the database; `DATA-DIR/member` unless --wal-dir says otherwise. */
  readonly storageDir: string
  readonly snapshotCount: number
  readonly heartbeatMs: number
  readonly electionMs: number
  readonly listenPeerURLs: readonly URL[]
  readonly listenClientURLs: readonly URL[]
  readonly peerURLs: readonly string[]
  readonly clientURLs: readonly string[]
  /** The discovery URL where there is one, as in the original. */
  readonly clusterToken: string
  /** Peer URLs by name of the first members, or of all when the cluster exists. */
  readonly initialCluster: ReadonlyMap<string, readonly string[]>
  readonly clusterState: 'new' | 'existing'
  readonly forcesNewCluster: boolean
  /** Refuses changes that would leave too few started members. */
  readonly isReconfigStrict: boolean
  /** New members count at once, as in the original. */
  readonly addsVoters: boolean
  /** How a new cluster finds its members; undefined: by --initial-cluster. */
  readonly discovery: DiscoveryConfig | undefined
  /** Clients can get discovery tokens here. */
  readonly servesDiscovery: boolean
  readonly corsOrigins: readonly string[]
  readonly eventHistory: number
  readonly proxy: ProxyConfig
  /** Undefined unless the keys of an etcd v3 cluster are served. */
  readonly existingEngine: ExistingEngine | undefined
  /** Peer URLs of all members of --initial-cluster: where a proxy looks for its cluster. */
  readonly clusterPeerURLs: readonly string[]
  readonly clientTls: TlsConfig
  readonly peerTls: TlsConfig
  readonly isDebug: boolean
  readonly testHooks: TestHooks
  /** Text for the log: what is set, and by what. */
  readonly given: ReturnType<Options['given']>
  readonly warnings: readonly string[]
}

/** How requests are passed on. */
export interface ProxyConfig {
  readonly mode: 'off' | 'on' | 'readonly'
  readonly failureWaitMs: number
  readonly refreshMs: number
  readonly dialMs: number
  readonly writeMs: number
  readonly readMs: number
}

/** Where the first members are found. `fallback`: what becomes of one for whom there is no room. */
export type DiscoveryConfig =
  | {
      readonly type: 'url'
      readonly url: string
      /** URL of an HTTP proxy on the way there. */
      readonly proxy: string | undefined
      readonly fallback: 'proxy' | 'exit'
    }
  | { readonly type: 'srv'; readonly domain: string }

export type Invocation =
  | { readonly type: 'run'; readonly config: Config }
  | { readonly type: 'dump'; readonly config: Config; readonly source: 'image' | 'log' }
  | { readonly type: 'version' }
  | { readonly type: 'help' }

type Environment = Readonly<Record<string, string | undefined>>

/** Later names win nothing: what KVD_ says counts before what ETCD_ says. */
const PREFIXES = ['KVD_', 'ETCD_'] as const

/**
 * Reads flags and environment (flag > environment > default).
 * @throws ConfigError
 */
export function readInvocation(argv: readonly string[], env: Environment): Invocation {
  const parsed = readFlags(argv)
  if (parsed === 'help') return { type: 'help' }
  if (parseGoBool(parsed.values.get('version') ?? '') === true) return { type: 'version' }
  const [extra] = parsed.rest
  if (extra !== undefined) throw verifyError(`'${extra}' is not a valid flag.`)
  const { options, warnings } = readOptions(parsed.values, env)
  const testHooks = readTestHooks(env)
  const config = check(options, [...warnings, ...testHookWarnings(testHooks)], testHooks)
  const source = options.string('dump')
  if (source === '') return { type: 'run', config }
  if (source !== 'image' && source !== 'log') throw badValue('dump', source, 'must be image or log')
  return { type: 'dump', config, source }
}

function verifyError(problem: string): ConfigError {
  return new ConfigError(1, `error verifying flags, ${problem} See 'etcd --help'.`)
}

function readFlags(argv: readonly string[]): ReturnType<typeof parseGoFlags> | 'help' {
  try {
    return parseGoFlags(FLAGS, argv)
  } catch (error) {
    if (!(error instanceof FlagError)) throw error
    if (error.code === 'FLAG_HELP') return 'help'
    throw new ConfigError(2, error.message, true)
  }
}

function readOptions(
  flags: ReadonlyMap<string, string>,
  env: Environment,
): { options: Options; warnings: string[] } {
  try {
    const environment = environmentLayer(FLAGS, env, PREFIXES, flags)
    const options = new Options(FLAGS, [flagLayer(flags), environment])
    const warnings = [
      ...environment.unknown
        .filter((name) => !TEST_HOOK_NAMES.includes(name))
        .map((name) => `unrecognized environment variable ${name}`),
      ...environment.shadowed.map(
        ({ variable }) =>
          `recognized environment variable ${variable}, but unused: shadowed by corresponding flag`,
      ),
    ]
    for (const [name, spec] of Object.entries(FLAGS)) {
      if (!options.isSet(name)) continue
      if ('unsupported' in spec && spec.unsupported !== undefined)
        throw new ConfigError(
          name.startsWith('peers') ? 2 : 1,
          name.startsWith('peers') ? spec.unsupported : `flag -${name}: ${spec.unsupported}`,
        )
      if ('deprecated' in spec && spec.deprecated !== undefined)
        warnings.push(`flag "-${name}" is no longer supported - ignoring.`)
    }
    return { options, warnings }
  } catch (error) {
    if (error instanceof OptionError) throw new ConfigError(2, error.message, true)
    throw error
  }
}

function check(options: Options, warnings: readonly string[], testHooks: TestHooks): Config {
  const proxy = readProxy(options)
  const clusterState = readState(options)
  const existingEngine = readExistingEngine(options)
  checkTimes(options)
  const name = options.string('name')
  const dataDir = options.string('data-dir') || `${name}.etcd`
  const clientTls = readTlsConfig(options, 'client', dataDir)
  const peerTls = readTlsConfig(options, 'peer', dataDir)
  const urls = (tls: TlsConfig, flag: string, ...old: readonly string[]): readonly URL[] =>
    readUrls(options, { name: flag, old, scheme: hasCertificate(tls) ? 'https' : 'http' })
  const listenClientURLs = urls(clientTls, 'listen-client-urls', 'bind-addr', 'addr')
  const listenPeerURLs = urls(peerTls, 'listen-peer-urls', 'peer-bind-addr', 'peer-addr')
  const discovery = readDiscovery(options)
  checkDiscovery(options, { discovery, proxy, clusterState })
  const tlsWarned = [
    ...checkTls(options, clientTls, listenClientURLs),
    ...checkTls(options, peerTls, listenPeerURLs),
  ]
  const peerURLs = urls(peerTls, 'initial-advertise-peer-urls', 'peer-addr').map(printUrl)
  const members = readInitialCluster(options)
  const initialCluster = members ?? new Map([[name, peerURLs]])
  checkCounts(options)
  return Object.freeze({
    name,
    dataDir,
    storageDir: options.string('wal-dir') || `${dataDir}/member`,
    snapshotCount: options.number('snapshot-count'),
    heartbeatMs: options.number('heartbeat-interval'),
    electionMs: options.number('election-timeout'),
    listenPeerURLs,
    listenClientURLs,
    peerURLs,
    clientURLs: urls(clientTls, 'advertise-client-urls', 'addr').map(printUrl),
    clusterToken:
      discovery?.type === 'url' ? discovery.url : options.string('initial-cluster-token'),
    discovery,
    initialCluster,
    clusterState,
    forcesNewCluster: options.bool('force-new-cluster'),
    isReconfigStrict: options.bool('strict-reconfig-check'),
    addsVoters: options.bool('add-members-as-voters'),
    servesDiscovery: options.bool('discovery-service'),
    corsOrigins: options.list('cors'),
    eventHistory: options.number('event-history'),
    proxy,
    existingEngine,
    clusterPeerURLs: [...initialCluster.values()].flat(),
    clientTls,
    peerTls,
    isDebug:
      options.bool('debug') || /=\s*(DEBUG|TRACE)\b/i.test(options.string('log-package-levels')),
    testHooks,
    given: options.given().map((one) => ({ ...one, value: shownValue(one.name, one.value) })),
    warnings: [...warnings, ...tlsWarned],
  })
}

const BOOTSTRAP_FLAGS = ['initial-cluster', 'discovery', 'discovery-srv'] as const

function readDiscovery(options: Options): DiscoveryConfig | undefined {
  if (BOOTSTRAP_FLAGS.filter((flag) => options.isSet(flag)).length > 1)
    throw verifyError(
      'multiple discovery or bootstrap flags are set. Choose one of "initial-cluster", "discovery" or "discovery-srv".',
    )
  const fallback = options.string('discovery-fallback')
  if (fallback !== 'proxy' && fallback !== 'exit')
    throw badValue('discovery-fallback', fallback, 'invalid value')
  const domain = options.string('discovery-srv')
  if (domain !== '') return { type: 'srv', domain }
  const url = options.string('discovery')
  if (url === '') return undefined
  checkWebUrl('discovery', url, url)
  const proxy = options.string('discovery-proxy')
  if (proxy === '') return { type: 'url', url, proxy: undefined, fallback }
  // etcd 2.3 discovery/discovery.go: a proxy without a scheme is one of HTTP.
  checkWebUrl('discovery-proxy', proxy, proxy.includes('://') ? proxy : `http://${proxy}`)
  return { type: 'url', url, proxy, fallback }
}

function checkWebUrl(name: string, value: string, text: string): void {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:')
    throw badValue(name, shownUrl(value), 'URL scheme must be http or https')
}

function readProxy(options: Options): ProxyConfig {
  const mode = options.string('proxy')
  if (mode !== 'off' && mode !== 'on' && mode !== 'readonly')
    throw badValue('proxy', mode, 'invalid value')
  return {
    mode,
    failureWaitMs: options.number('proxy-failure-wait'),
    refreshMs: options.number('proxy-refresh-interval'),
    dialMs: options.number('proxy-dial-timeout'),
    writeMs: options.number('proxy-write-timeout'),
    readMs: options.number('proxy-read-timeout'),
  }
}

function readState(options: Options): Config['clusterState'] {
  const state = options.string('initial-cluster-state')
  if (state !== 'new' && state !== 'existing')
    throw badValue('initial-cluster-state', state, 'invalid value')
  return state
}

function checkDiscovery(
  options: Options,
  { discovery, proxy, clusterState }: Pick<Config, 'discovery' | 'proxy' | 'clusterState'>,
): void {
  if (clusterState === 'existing' && discovery?.type === 'url')
    throw new ConfigError(
      1,
      'discovery URL should not be set when joining existing initial cluster',
    )
  const isAdvertised = options.isSet('advertise-client-urls') || options.isSet('addr')
  const mayBeProxy =
    proxy.mode !== 'off' || (discovery?.type === 'url' && discovery.fallback === 'proxy')
  if (options.isSet('listen-client-urls') && !isAdvertised && !mayBeProxy)
    throw verifyError(
      '-advertise-client-urls is required when -listen-client-urls is set explicitly.',
    )
}

function checkCounts(options: Options): void {
  if (options.number('event-history') < 1)
    throw new ConfigError(1, 'flag -event-history: at least 1 event must be kept')
  if (options.number('snapshot-count') < 1)
    throw new ConfigError(1, 'flag -snapshot-count: must be at least 1')
}

function checkTimes(options: Options): void {
  const heartbeat = options.number('heartbeat-interval')
  const election = options.number('election-timeout')
  if (5 * heartbeat > election)
    throw new ConfigError(
      1,
      `-election-timeout[${election}ms] should be at least as 5 times as -heartbeat-interval[${heartbeat}ms]`,
    )
  if (election > 50_000)
    throw new ConfigError(
      1,
      `-election-timeout[${election}ms] is too long, and should be set less than 50000ms`,
    )
}

/** What is to be warned of. @throws ConfigError */
function checkTls(options: Options, tls: TlsConfig, listenURLs: readonly URL[]): string[] {
  const problem = tlsProblem(tls, listenURLs)
  if (problem !== undefined) throw new ConfigError(1, problem)
  const isAutoGiven = options.bool(tls.side === 'peer' ? 'peer-auto-tls' : 'auto-tls')
  return tlsWarnings(tls, listenURLs, isAutoGiven)
}

interface UrlFlag {
  readonly name: string
  /** Flags of 0.4 (IP:PORT) for the same. */
  readonly old: readonly string[]
  /** What those of 0.4 mean. */
  readonly scheme: 'http' | 'https'
}

/** URLs of a flag, or of the first 0.4 flag that is given instead. */
function readUrls(options: Options, { name, old, scheme }: UrlFlag): readonly URL[] {
  const legacy = old.find((flag) => options.isSet(flag))
  if (!options.isSet(name) && legacy !== undefined)
    return [parseUrl(legacy, `${scheme}://${options.string(legacy)}`)]
  const urls = options.list(name).map((text) => parseUrl(name, text))
  if (urls.length === 0) throw badValue(name, options.string(name), 'no valid URLs given')
  return urls
}

function parseUrl(name: string, text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw badValue(name, text, `URL scheme must be http or https: ${text}`)
  if (!/:\d+\/?$/.test(text))
    throw badValue(name, text, `URL address does not have the form "host:port": ${text}`)
  if (url.pathname !== '/' || url.search !== '')
    throw badValue(name, text, `URL must not contain a path: ${text}`)
  return url
}

/** As the original prints it: no final slash, the port even when it is the default one. */
function printUrl(url: URL): string {
  return `${url.protocol}//${address(url)}`
}

/** Peer URLs by the name of the member; undefined when the flag is not set. */
function readInitialCluster(options: Options): ReadonlyMap<string, readonly string[]> | undefined {
  if (!options.isSet('initial-cluster')) return undefined
  const members = new Map<string, string[]>()
  for (const entry of options.list('initial-cluster')) {
    const equals = entry.indexOf('=')
    if (equals < 1) throw badValue('initial-cluster', entry, 'must be NAME=URL')
    const member = entry.slice(0, equals)
    const url = printUrl(parseUrl('initial-cluster', entry.slice(equals + 1)))
    members.set(member, [...(members.get(member) ?? []), url])
  }
  return members
}
