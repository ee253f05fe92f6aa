import {
  environmentLayer,
  fileLayer,
  Options,
  type FlagTable,
  type OptionLayer,
} from '@flotilla/daemon'
import { DEFAULT_KEY_PREFIX } from '@flotilla/fleet-registry'
import { parseDurationMs, parseMetadata, parseStringList } from './config-values.ts'

/**
 * Every key of fleet.conf; in the environment it is `FLEET_` and the key in capitals. The last group is ours.
 * @public read by the check that the manual page has them all
 */
export const CONFIG_KEYS = {
  verbosity: { type: 'int', default: 0, usage: 'above 0: debug log' },
  etcd_servers: {
    type: 'string',
    default: 'http://127.0.0.1:2379,http://127.0.0.1:4001',
    usage: 'URLs of the store',
  },
  etcd_username: { type: 'string', default: '', usage: 'user for basic authentication' },
  etcd_password: { type: 'string', default: '', usage: 'password for basic authentication' },
  etcd_keyfile: { type: 'string', default: '', usage: 'key of the client certificate' },
  etcd_certfile: { type: 'string', default: '', usage: 'client certificate' },
  etcd_cafile: { type: 'string', default: '', usage: 'certificate authority of the store' },
  etcd_key_prefix: { type: 'string', default: DEFAULT_KEY_PREFIX, usage: 'where the registry is' },
  etcd_request_timeout: { type: 'string', default: '1.0', usage: 'seconds until an answer begins' },
  engine_reconcile_interval: { type: 'string', default: '2.0', usage: 'seconds between passes' },
  public_ip: { type: 'string', default: '', usage: 'address that other machines use' },
  metadata: { type: 'string', default: '', usage: 'k=v,k2=v2' },
  agent_ttl: { type: 'string', default: '30s', usage: 'how long this machine may be silent' },
  units_directory: { type: 'string', default: '/run/fleet/units/', usage: 'where unit files go' },
  systemd_user: { type: 'bool', default: false, usage: 'use the user instance of systemd' },
  token_limit: { type: 'uint', default: 100, usage: 'items of a page' },
  disable_engine: { type: 'bool', default: false, usage: 'never schedule' },
  disable_watches: { type: 'bool', default: false, usage: 'look at fixed intervals only' },
  enable_grpc: { type: 'bool', default: false, usage: 'accepted, see Differences' },
  verify_units: { type: 'string', default: '', usage: 'no longer supported' },
  authorized_keys_file: { type: 'string', default: '', usage: 'no longer supported' },
  machine_id: { type: 'string', default: '', usage: 'instead of /etc/machine-id' },
  unit_manager: { type: 'string', default: 'systemd', usage: 'systemd or embedded' },
  state_directory: { type: 'string', default: '/run/fleet/embedded', usage: 'embedded manager' },
  embedded_tie: { type: 'bool', default: false, usage: 'units end with this fleetd' },
  listen: { type: 'string', default: '', usage: 'http://host:port or unix:///path, comma list' },
  listen_file: { type: 'string', default: '', usage: 'file that gets the URLs listened on' },
} as const satisfies FlagTable

/** The configuration in the right types. Times are milliseconds unless the name says otherwise. */
export interface Config {
  readonly verbosity: number
  readonly store: StoreConfig
  readonly keyPrefix: string
  readonly engineIntervalMs: number
  readonly agentTTLSeconds: number
  readonly publicIP: string
  readonly metadata: ReadonlyMap<string, string>
  readonly unitsDirectory: string
  readonly systemdUser: boolean
  readonly tokenLimit: number
  readonly disableEngine: boolean
  readonly disableWatches: boolean
  readonly machineID: string
  readonly unitManager: 'systemd' | 'embedded'
  readonly stateDirectory: string
  readonly embeddedTie: boolean
  readonly listen: readonly string[]
  readonly listenFile: string
}

/** How the store is reached. */
export interface StoreConfig {
  readonly endpoints: readonly string[]
  readonly username: string
  readonly password: string
  readonly keyFile: string
  readonly certFile: string
  readonly caFile: string
  readonly requestTimeoutMs: number
}

/** A value that fleetd cannot work with. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly code = 'CONFIG'
}

/** Text of a configuration file and its name for messages. */
export interface ConfigFile {
  readonly name: string
  readonly text: string
}

/**
 * Environment over file over default. Unknown keys are ignored, as the original ignores them. Throws ConfigError, or
 * OptionError of `@flotilla/daemon` for a line or value that cannot be read.
 */
export function readConfig(
  env: Readonly<Record<string, string | undefined>>,
  file?: ConfigFile,
): { readonly config: Config; readonly options: Options } {
  const layers: OptionLayer[] = [environmentLayer(CONFIG_KEYS, env, ['FLEET_'], new Map())]
  if (file !== undefined) layers.push(fileLayer(CONFIG_KEYS, file.text, file.name))
  const options = new Options(CONFIG_KEYS, layers)
  return { config: toConfig(options), options }
}

/** Keys that fleet 1.0 no longer knows but still complains about. */
export const RETIRED_KEYS = ['verify_units', 'authorized_keys_file'] as const

function toConfig(options: Options): Config {
  return Object.freeze({
    verbosity: options.number('verbosity'),
    store: {
      endpoints: parseStringList(options.string('etcd_servers')).filter((url) => url !== ''),
      username: options.string('etcd_username'),
      password: options.string('etcd_password'),
      keyFile: options.string('etcd_keyfile'),
      certFile: options.string('etcd_certfile'),
      caFile: options.string('etcd_cafile'),
      requestTimeoutMs: seconds(options, 'etcd_request_timeout') * 1000,
    },
    keyPrefix: options.string('etcd_key_prefix'),
    engineIntervalMs: seconds(options, 'engine_reconcile_interval') * 1000,
    agentTTLSeconds: ttlSeconds(options),
    publicIP: options.string('public_ip'),
    metadata: parseMetadata(options.string('metadata')),
    unitsDirectory: options.string('units_directory'),
    systemdUser: options.bool('systemd_user'),
    tokenLimit: tokenLimit(options),
    disableEngine: options.bool('disable_engine'),
    disableWatches: options.bool('disable_watches'),
    machineID: options.string('machine_id'),
    unitManager: unitManager(options),
    stateDirectory: options.string('state_directory'),
    embeddedTie: options.bool('embedded_tie'),
    listen: options.list('listen'),
    listenFile: options.string('listen_file'),
  })
}

function seconds(options: Options, name: string): number {
  const value = options.number(name)
  if (value > 0 && Number.isFinite(value)) return value
  throw new ConfigError(`${name} must be a positive number of seconds`)
}

/** TTLs in the store are whole seconds; the next higher one keeps the promise. */
function ttlSeconds(options: Options): number {
  const ms = parseDurationMs(options.string('agent_ttl'))
  if (ms === undefined || ms <= 0) throw new ConfigError('agent_ttl must be a duration such as 30s')
  return Math.ceil(ms / 1000)
}

const TOKEN_LIMIT_MAX = 0xffff

function tokenLimit(options: Options): number {
  const value = options.number('token_limit')
  if (value >= 1 && value <= TOKEN_LIMIT_MAX) return value
  throw new ConfigError(`token_limit must be between 1 and ${TOKEN_LIMIT_MAX}`)
}

function unitManager(options: Options): 'systemd' | 'embedded' {
  const value = options.string('unit_manager')
  if (value === 'systemd' || value === 'embedded') return value
  throw new ConfigError('unit_manager must be systemd or embedded')
}
