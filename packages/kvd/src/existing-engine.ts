import type { Options } from '@flotilla/daemon'
import { badValue, ConfigError } from './config-error.ts'

/** The etcd v3 cluster that holds all state. */
export interface ExistingEngine {
  readonly endpoints: readonly URL[]
  /** Begins with a slash and does not end in one. */
  readonly prefix: string
  readonly user: { readonly name: string; readonly password: string } | undefined
  /** Reads without `quorum` may be answered by a member that is behind. */
  readonly isSerializable: boolean
  readonly caFile: string | undefined
  readonly certFile: string | undefined
  readonly keyFile: string | undefined
  /** Proxies find this front at --listen-peer-urls. Not by default: etcd's own peer port is there. */
  readonly hasPeerPort: boolean
}

/** What is asked of a member by them would not be done, and nobody would know. */
const MEMBER_FLAGS = [
  'initial-cluster',
  'discovery',
  'discovery-srv',
  'discovery-service',
  'force-new-cluster',
  'strict-reconfig-check',
  'add-members-as-voters',
] as const

const PEER_PORT_FLAGS = ['listen-peer-urls', 'peer-bind-addr', 'peer-addr'] as const
const ADVERTISING_FLAGS = ['initial-advertise-peer-urls', 'peer-addr'] as const

/**
 * Undefined when no such cluster is named.
 * @throws ConfigError
 */
export function readExistingEngine(options: Options): ExistingEngine | undefined {
  if (!options.isSet('existing-engine')) return undefined
  if (options.string('proxy') !== 'off')
    throw new ConfigError(1, 'flag -existing-engine: a proxy has none, leave out -proxy')
  const idle = MEMBER_FLAGS.find((name) => options.isSet(name))
  if (idle !== undefined)
    throw new ConfigError(1, `flag -existing-engine: there is no member, leave out -${idle}`)
  const hasPeerPort = PEER_PORT_FLAGS.some((name) => options.isSet(name))
  // Its default may be etcd's own peer port, which would lead a proxy past the fronts.
  if (hasPeerPort && !ADVERTISING_FLAGS.some((name) => options.isSet(name)))
    throw new ConfigError(
      1,
      'flag -existing-engine: -listen-peer-urls needs -initial-advertise-peer-urls, where proxies find the fronts',
    )
  const [certFile, keyFile] = [
    textOf(options, 'existing-engine-cert-file'),
    textOf(options, 'existing-engine-key-file'),
  ]
  if ((certFile === undefined) !== (keyFile === undefined))
    throw new ConfigError(
      1,
      'flag -existing-engine-cert-file: it and -existing-engine-key-file go together',
    )
  const endpoints = options.list('existing-engine').map(parseEndpoint)
  if (endpoints.length === 0) throw badValue('existing-engine', '', 'no valid URLs given')
  return {
    endpoints,
    prefix: readPrefix(options.string('existing-engine-prefix')),
    user: readUser(options.string('existing-engine-user')),
    isSerializable: options.bool('existing-engine-serializable-reads'),
    caFile: textOf(options, 'existing-engine-ca-file'),
    certFile,
    keyFile,
    hasPeerPort,
  }
}

function textOf(options: Options, name: string): string | undefined {
  return options.string(name) || undefined
}

function parseEndpoint(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw badValue('existing-engine', text, `URL scheme must be http or https: ${text}`)
  if (url.pathname !== '/' || url.search !== '')
    throw badValue('existing-engine', text, `URL must not contain a path: ${text}`)
  return url
}

function readPrefix(text: string): string {
  const prefix = text.replace(/\/+$/, '')
  if (!/^(\/[^/]+)+$/.test(prefix))
    throw badValue('existing-engine-prefix', text, 'must begin with a slash and name a key')
  return prefix
}

function readUser(text: string): ExistingEngine['user'] {
  if (text === '') return undefined
  const colon = text.indexOf(':')
  if (colon < 1) throw badValue('existing-engine-user', '...', 'must be USER:PASSWORD')
  return { name: text.slice(0, colon), password: text.slice(colon + 1) }
}
