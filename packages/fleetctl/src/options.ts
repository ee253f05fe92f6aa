/** Global options in the right types. */
export interface GlobalOptions {
  readonly driver: string
  readonly endpoint: string
  readonly etcdKeyPrefix: string
  readonly keyFile: string
  readonly certFile: string
  readonly caFile: string
  readonly tunnel: string
  readonly requestTimeoutSeconds: number
  readonly debug: boolean
}

/** A flag as the original spells it: long, with `--flag value` and `--flag=value`. */
export interface FlagSpec {
  readonly name: string
  /** One letter; the original takes it with two dashes, we with one as well. */
  readonly short?: string
  /** What the value is called in the help; none: a switch. */
  readonly value?: string
  readonly default?: string
  readonly usage: string
  readonly hidden?: boolean
}

/** Flags that every command takes; in the environment `FLEETCTL_` and the name in capitals. */
export const GLOBAL_FLAGS: readonly FlagSpec[] = [
  {
    name: 'driver',
    value: 'name',
    default: 'API',
    usage: 'Adapter used to execute fleetctl commands: API or etcd',
  },
  {
    name: 'endpoint',
    value: 'url',
    default: 'unix:///var/run/fleet.sock',
    usage: 'Location of the fleet API if --driver=API, else URLs of etcd',
  },
  {
    name: 'etcd-key-prefix',
    value: 'key',
    default: '/_coreos.com/fleet/',
    usage: 'Keyspace for fleet data in etcd',
  },
  { name: 'key-file', value: 'file', default: '', usage: 'Key of the TLS client certificate' },
  { name: 'cert-file', value: 'file', default: '', usage: 'TLS client certificate' },
  { name: 'ca-file', value: 'file', default: '', usage: 'Certificate authority of the server' },
  {
    name: 'known-hosts-file',
    value: 'file',
    default: '~/.fleetctl/known_hosts',
    usage: 'File with known SSH host keys',
  },
  {
    name: 'strict-host-key-checking',
    value: 'bool',
    default: 'true',
    usage: 'Verify host keys of SSH connections',
  },
  {
    name: 'ssh-timeout',
    value: 'seconds',
    default: '10.0',
    usage: 'Time to establish an SSH connection',
  },
  { name: 'ssh-username', value: 'name', default: 'core', usage: 'User of SSH connections' },
  {
    name: 'tunnel',
    value: 'host',
    default: '',
    usage: 'SSH host through which the cluster is reached',
  },
  {
    name: 'request-timeout',
    value: 'seconds',
    default: '3.0',
    usage: 'Time for one request of the etcd driver',
  },
  { name: 'debug', usage: 'Print debug information to stderr' },
  { name: 'experimental-api', value: 'bool', default: 'true', usage: 'deprecated', hidden: true },
  { name: 'etcd-keyfile', value: 'file', default: '', usage: 'deprecated', hidden: true },
  { name: 'etcd-certfile', value: 'file', default: '', usage: 'deprecated', hidden: true },
  { name: 'etcd-cafile', value: 'file', default: '', usage: 'deprecated', hidden: true },
]

const LIST_FLAGS: readonly FlagSpec[] = [
  { name: 'full', short: 'l', usage: 'Do not ellipsize fields on output' },
  { name: 'no-legend', usage: 'Do not print a legend (column headers)' },
]
const BLOCK_FLAGS: readonly FlagSpec[] = [
  {
    name: 'block-attempts',
    value: 'count',
    default: '0',
    usage: 'Rounds of two seconds to wait for the units, 0 for ever',
  },
  { name: 'no-block', usage: 'Do not wait until the units have reached their state' },
]
const CREATE_FLAGS: readonly FlagSpec[] = [
  { name: 'sign', usage: 'DEPRECATED - this option cannot be used', hidden: true },
  { name: 'replace', usage: 'Replace the units in the cluster if they differ' },
]

const fields = (value: string, known: string): FlagSpec => ({
  name: 'fields',
  value: 'list',
  default: value,
  usage: `Columns to print, known are ${known}`,
})

/** A command: what it is called with, what it is for, which flags it takes. */
export interface CommandSpec {
  readonly name: string
  readonly args: string
  readonly summary: string
  readonly flags: readonly FlagSpec[]
  readonly hidden?: boolean
}

/** All commands by the names of the original. */
export const COMMANDS: readonly CommandSpec[] = [
  { name: 'cat', args: 'UNIT', summary: 'Output the contents of a submitted unit', flags: [] },
  {
    name: 'destroy',
    args: 'UNIT...',
    summary: 'Destroy one or more units in the cluster',
    flags: [
      { name: 'no-block', usage: 'Accepted; the removal is complete when the command returns' },
    ],
  },
  {
    name: 'fd-forward',
    args: 'SOCKET',
    summary: 'Proxy stdin and stdout to a unix domain socket',
    flags: [],
  },
  {
    name: 'journal',
    args: 'UNIT',
    summary: 'Print the journal of a unit in the cluster to stdout',
    flags: [
      { name: 'lines', value: 'count', default: '10', usage: 'Number of recent log lines' },
      { name: 'follow', short: 'f', usage: 'Continuously print new entries' },
      { name: 'sudo', usage: 'Read the journal as root' },
      { name: 'output', value: 'mode', default: 'short', usage: 'Output mode of journalctl' },
      { name: 'ssh-port', value: 'port', default: '22', usage: 'Port of SSH connections' },
    ],
  },
  {
    name: 'list-machines',
    args: '',
    summary: 'Enumerate the current hosts in the cluster',
    flags: [...LIST_FLAGS, fields('machine,ip,metadata', 'machine,ip,metadata')],
  },
  {
    name: 'list-unit-files',
    args: '',
    summary: 'List the units that exist in the cluster',
    flags: [
      { name: 'full', usage: 'Do not ellipsize fields on output' },
      ...LIST_FLAGS.slice(1),
      fields('unit,hash,dstate,state,target', 'desc,dstate,global,hash,state,target,unit'),
    ],
  },
  {
    name: 'list-units',
    args: '',
    summary: 'List the current state of units in the cluster',
    flags: [...LIST_FLAGS, fields('unit,machine,active,sub', 'active,hash,load,machine,sub,unit')],
  },
  {
    name: 'load',
    args: 'UNIT...',
    summary: 'Schedule one or more units in the cluster, first submitting them if necessary',
    flags: [...CREATE_FLAGS, ...BLOCK_FLAGS],
  },
  {
    name: 'restart',
    args: 'UNIT...',
    summary: 'Stop and start one or more units again',
    flags: BLOCK_FLAGS,
  },
  {
    name: 'ssh',
    args: '[-A|--forward-agent] [--ssh-port=N] [--machine|--unit] {MACHINE|UNIT} [COMMAND...]',
    summary: 'Open interactive shell on a machine in the cluster',
    flags: [
      { name: 'machine', value: 'id', default: '', usage: 'Open the connection to this machine' },
      {
        name: 'unit',
        value: 'name',
        default: '',
        usage: "Open the connection to the unit's machine",
      },
      { name: 'forward-agent', short: 'A', usage: 'Forward the local SSH agent' },
      { name: 'ssh-port', value: 'port', default: '22', usage: 'Port of SSH connections' },
    ],
  },
  {
    name: 'start',
    args: 'UNIT...',
    summary:
      'Instruct systemd to start one or more units in the cluster, first submitting and loading if necessary',
    flags: [...CREATE_FLAGS, ...BLOCK_FLAGS],
  },
  {
    name: 'status',
    args: 'UNIT...',
    summary: 'Output the status of one or more units in the cluster',
    flags: [{ name: 'ssh-port', value: 'port', default: '22', usage: 'Port of SSH connections' }],
  },
  {
    name: 'stop',
    args: 'UNIT...',
    summary: 'Instruct systemd to stop one or more units in the cluster',
    flags: BLOCK_FLAGS,
  },
  {
    name: 'submit',
    args: 'UNIT...',
    summary: 'Upload one or more units to the cluster without starting them',
    flags: [...CREATE_FLAGS, ...BLOCK_FLAGS],
  },
  {
    name: 'unload',
    args: 'UNIT...',
    summary: 'Unschedule one or more units in the cluster',
    flags: BLOCK_FLAGS,
  },
  {
    name: 'verify',
    args: 'UNIT',
    summary: 'DEPRECATED - No longer works',
    flags: [],
    hidden: true,
  },
  { name: 'version', args: '', summary: 'Print the version and exit', flags: [] },
]

/** Environment variable of a global flag. */
export function variableName(flag: string): string {
  return `FLEETCTL_${flag.toUpperCase().replaceAll('-', '_')}`
}
