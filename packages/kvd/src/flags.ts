import type { FlagSpec, FlagTable } from '@flotilla/daemon'

const NOT_FOR_KVD = 'it belongs to the v3 API, which kvd does not serve'

function text(value: string, usage: string): FlagSpec {
  return { type: 'string', default: value, usage }
}

function count(value: number, usage: string): FlagSpec {
  return { type: 'uint', default: value, usage }
}

function flag(usage: string): FlagSpec {
  return { type: 'bool', default: false, usage }
}

function refused(type: FlagSpec['type'], why: string, usage: string): FlagSpec {
  const byType = { bool: false, string: '', int: 0, uint: 0 } as const
  return { type, default: byType[type], usage, unsupported: why }
}

function ignored(type: FlagSpec['type'] = 'string'): FlagSpec {
  const usage = 'ignored, as in the original'
  return { type, default: type === 'bool' ? false : '', usage, deprecated: usage, hidden: true }
}

/** Every flag of etcd 2.3 (kvd.md 13.1) and our own; the environment has them as ETCD_... and KVD_... */
export const FLAGS = {
  name: text('default', 'human-readable name of this member'),
  'data-dir': text('', 'directory of the data; default NAME.etcd in the working directory'),
  'wal-dir': text('', 'directory of the log and the store; default DATA-DIR/member'),
  'snapshot-count': count(10_000, 'log entries after which the log is compacted'),
  'heartbeat-interval': count(100, 'milliseconds between heartbeats'),
  'election-timeout': count(1000, 'milliseconds until an election'),
  'listen-peer-urls': text('http://localhost:2380,http://localhost:7001', 'URLs for peers'),
  'listen-client-urls': text('http://localhost:2379,http://localhost:4001', 'URLs for clients'),
  'max-snapshots': count(5, 'accepted for compatibility: there are no snapshot files'),
  'max-wals': count(5, 'accepted for compatibility: there are no log segments'),
  cors: text('', 'origins allowed by CORS, or *'),
  'initial-advertise-peer-urls': text(
    'http://localhost:2380,http://localhost:7001',
    'peer URLs of this member told to the cluster',
  ),
  'initial-cluster': text('', 'NAME=URL of the first members; default this one alone'),
  'initial-cluster-state': text('new', 'new, or existing to join a cluster that runs'),
  'initial-cluster-token': text('etcd-cluster', 'token that keeps clusters apart'),
  'advertise-client-urls': text(
    'http://localhost:2379,http://localhost:4001',
    'client URLs of this member told to clients',
  ),
  'event-history': count(1000, 'events kept for watches that resume (kvd only)'),
  debug: { type: 'bool', default: false, usage: 'log everything' },
  'log-package-levels': text('', 'PACKAGE=LEVEL,...: the lowest of the levels counts for all'),
  dump: text('', 'print the tree as JSON lines and exit: image (as a start loads it) or log'),
  version: { type: 'bool', default: false, usage: 'print the version and exit' },
  discovery: text('', 'discovery URL where the first members register'),
  'discovery-srv': text('', 'DNS domain whose SRV records name the first members'),
  'discovery-proxy': text('', 'HTTP proxy on the way to the discovery URL'),
  'discovery-fallback': text('proxy', 'what to do when the cluster is full: proxy or exit'),
  'discovery-service': flag(
    'serve /new and /TOKEN to clients, as discovery.etcd.io did (kvd only)',
  ),
  'strict-reconfig-check': flag('refuse changes that would lose quorum'),
  'force-new-cluster': flag('make a cluster of one out of this data'),
  'add-members-as-voters': flag('new members count before they have caught up (kvd only)'),
  proxy: text('off', 'off; on or readonly: pass requests on to the members'),
  'proxy-failure-wait': count(5_000, 'milliseconds a failed endpoint is left alone'),
  'proxy-refresh-interval': count(30_000, 'milliseconds between looks at the members'),
  'proxy-dial-timeout': count(1_000, 'milliseconds until a connection fails'),
  'proxy-write-timeout': count(5_000, 'milliseconds until a write fails'),
  'proxy-read-timeout': count(0, 'milliseconds without an answer; 0 for no limit, as watches need'),
  'existing-engine': text(
    '',
    'URLs of an etcd v3 cluster: serve its keys, keep no data (kvd only)',
  ),
  'existing-engine-prefix': text('/__kvd', 'where the tree lies in the keys of etcd'),
  'existing-engine-user': text('', 'USER:PASSWORD for etcd'),
  'existing-engine-serializable-reads': {
    type: 'bool',
    default: false,
    usage: 'let one member of etcd answer reads, which may be behind, unless quorum=true',
  },
  'existing-engine-ca-file': text('', 'CA of the certificates of etcd'),
  'existing-engine-cert-file': text('', 'certificate shown to etcd'),
  'existing-engine-key-file': text('', 'key of the certificate shown to etcd'),
  'cert-file': text('', 'certificate shown to clients (PEM)'),
  'key-file': text('', 'key of the certificate shown to clients'),
  'ca-file': text('', 'deprecated: --trusted-ca-file and --client-cert-auth'),
  'trusted-ca-file': text('', 'CAs of the certificates that clients show'),
  'client-cert-auth': flag('clients must show a certificate'),
  'auto-tls': flag('make a certificate for clients that nobody has signed'),
  'peer-cert-file': text('', 'certificate shown to peers (PEM)'),
  'peer-key-file': text('', 'key of the certificate shown to peers'),
  'peer-ca-file': text('', 'deprecated: --peer-trusted-ca-file and --peer-client-cert-auth'),
  'peer-trusted-ca-file': text('', 'CAs of the certificates of peers'),
  'peer-client-cert-auth': flag('peers must show a certificate'),
  'peer-auto-tls': flag('make a certificate for peers that nobody has signed'),
  'enable-pprof': refused('bool', 'Node has no pprof', 'profiles over HTTP'),
  'experimental-v3demo': refused('bool', NOT_FOR_KVD, 'v3 API'),
  'experimental-gRPC-addr': refused('string', NOT_FOR_KVD, 'address of the v3 API'),
  'experimental-auto-compaction-retention': refused('int', NOT_FOR_KVD, 'v3 compaction'),
  addr: { ...text('', '0.4 name: IP:PORT told to clients'), hidden: true },
  'bind-addr': { ...text('', '0.4 name: IP:PORT for clients'), hidden: true },
  'peer-addr': { ...text('', '0.4 name: IP:PORT told to peers'), hidden: true },
  'peer-bind-addr': { ...text('', '0.4 name: IP:PORT for peers'), hidden: true },
  peers: { ...refused('string', 'flag "-peers" is no longer supported.', ''), hidden: true },
  'peers-file': {
    ...refused('string', 'flag "-peers-file" is no longer supported.', ''),
    hidden: true,
  },
  'cluster-active-size': ignored(),
  'cluster-remove-delay': ignored(),
  'cluster-sync-interval': ignored(),
  config: ignored(),
  force: ignored('bool'),
  'max-result-buffer': ignored(),
  'max-retry-attempts': ignored(),
  'peer-heartbeat-interval': ignored(),
  'peer-election-timeout': ignored(),
  'retry-interval': ignored(),
  snapshot: ignored('bool'),
  v: ignored('bool'),
  vv: ignored('bool'),
} as const satisfies FlagTable
