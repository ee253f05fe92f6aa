import type { OptionSpec } from './options.ts'

const DEFAULT_ENDPOINTS = 'http://127.0.0.1:2379,http://127.0.0.1:4001'

export const HELP: OptionSpec = { names: ['help', 'h'], kind: 'bool', help: 'show this help' }

/** Options before the command; README.md lists them with their variables. */
export const GLOBAL_OPTIONS: readonly OptionSpec[] = [
  { names: ['debug'], kind: 'bool', help: 'show every request as a curl command on stderr' },
  {
    names: ['no-sync'],
    kind: 'bool',
    help: 'use the endpoints as given, do not ask for the members',
  },
  {
    names: ['output', 'o'],
    kind: 'text',
    fallback: 'simple',
    help: 'how to print answers: simple, extended or json',
  },
  {
    names: ['discovery-srv', 'D'],
    kind: 'text',
    help: 'domain whose SRV records name the endpoints',
  },
  { names: ['peers', 'C'], kind: 'text', help: 'deprecated: use --endpoints' },
  { names: ['endpoint'], kind: 'text', help: 'deprecated: use --endpoints' },
  {
    names: ['endpoints'],
    kind: 'text',
    help: `client URLs, separated by commas (default: "${DEFAULT_ENDPOINTS}")`,
  },
  { names: ['cert-file'], kind: 'text', help: 'certificate to show to https endpoints' },
  { names: ['key-file'], kind: 'text', help: 'key of the certificate' },
  { names: ['ca-file'], kind: 'text', help: 'CA certificates that https endpoints must have' },
  { names: ['username', 'u'], kind: 'text', help: 'name[:password]; asks for a missing password' },
  {
    names: ['timeout'],
    kind: 'duration',
    fallback: '1s',
    help: 'wait for the answer of an endpoint',
  },
  {
    names: ['total-timeout'],
    kind: 'duration',
    fallback: '5s',
    help: 'wait for the whole command, except watches',
  },
  HELP,
  { names: ['version', 'v'], kind: 'bool', help: 'print the version' },
]

const TTL: OptionSpec = {
  names: ['ttl'],
  kind: 'int',
  fallback: '0',
  help: 'seconds to live; 0 for ever',
}
const SORT: OptionSpec = { names: ['sort'], kind: 'bool', help: 'sort the keys' }
const QUORUM: OptionSpec = { names: ['quorum'], kind: 'bool', help: 'read through the log' }
const AFTER: OptionSpec = {
  names: ['after-index'],
  kind: 'int',
  fallback: '0',
  help: 'begin with the changes after this index',
}
const RECURSIVE_WATCH: OptionSpec = {
  names: ['recursive'],
  kind: 'bool',
  help: 'watch all keys below, too',
}
const FOREVER: OptionSpec = { names: ['forever'], kind: 'bool', help: 'go on until Ctrl-C' }
const ROLES: OptionSpec = { names: ['roles'], kind: 'list', help: 'a role; may be repeated' }

function roleOptions(does: string): readonly OptionSpec[] {
  return [
    { names: ['path'], kind: 'text', help: `path to ${does}, or a prefix that ends in *` },
    { names: ['read'], kind: 'bool', help: `${does} reading` },
    { names: ['write'], kind: 'bool', help: `${does} writing` },
    { names: ['readwrite'], kind: 'bool', help: `${does} both` },
  ]
}

/** The options of each command. */
export const COMMAND_OPTIONS = {
  none: [],
  get: [SORT, QUORUM],
  set: [
    TTL,
    { names: ['swap-with-value'], kind: 'text', help: 'only if this is the value now' },
    {
      names: ['swap-with-index'],
      kind: 'int',
      fallback: '0',
      help: 'only if this is the modified index now',
    },
  ],
  mk: [{ names: ['in-order'], kind: 'bool', help: 'make a numbered key below the directory' }, TTL],
  dir: [TTL],
  ls: [
    SORT,
    { names: ['recursive'], kind: 'bool', help: 'list everything below' },
    { names: ['p'], kind: 'bool', help: 'mark directories with a slash' },
    QUORUM,
  ],
  rm: [
    { names: ['dir'], kind: 'bool', help: 'also remove an empty directory' },
    { names: ['recursive'], kind: 'bool', help: 'remove everything below, too' },
    { names: ['with-value'], kind: 'text', help: 'only if this is the value now' },
    {
      names: ['with-index'],
      kind: 'int',
      fallback: '0',
      help: 'only if this is the modified index now',
    },
  ],
  watch: [FOREVER, AFTER, RECURSIVE_WATCH],
  execWatch: [AFTER, RECURSIVE_WATCH],
  health: [FOREVER],
  backup: [
    { names: ['data-dir'], kind: 'text', help: 'data directory to copy' },
    { names: ['wal-dir'], kind: 'text', help: 'its log, where that is elsewhere' },
    { names: ['backup-dir'], kind: 'text', help: 'directory to make' },
    { names: ['backup-wal-dir'], kind: 'text', help: 'where to put its log' },
  ],
  import: [
    { names: ['snap'], kind: 'text', help: 'snapshot of etcd 0.4' },
    { names: ['json'], kind: 'text', help: 'tree that export wrote; - for stdin' },
    { names: ['hidden'], kind: 'list', help: 'a hidden key to import, too; may be repeated' },
    { names: ['c'], kind: 'int', fallback: '10', help: 'how many keys to write at a time' },
  ],
  export: [
    { names: ['hidden'], kind: 'list', help: 'a hidden key to export, too; may be repeated' },
  ],
  userRoles: [ROLES],
  roleGrant: roleOptions('grant'),
  roleRevoke: roleOptions('revoke'),
} as const satisfies Record<string, readonly OptionSpec[]>
