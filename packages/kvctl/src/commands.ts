import { parseCommand, parseExecWatch } from './args/options.ts'
import { COMMAND_OPTIONS as OPTIONS } from './args/specs.ts'
import type { Run } from './context.ts'
import type { CommandHelp, CommandLine } from './help.ts'

/** A command: what its help says, how its words are read, and the code, loaded when it is called. */
export interface Command extends CommandHelp {
  readonly parse: typeof parseCommand
  readonly load: () => Promise<Run>
}

/** `member`, `user`, `role` and `auth`: commands that have a command of their own as first word. */
export interface Group extends CommandLine {
  readonly commands: readonly Command[]
}

type Extra = Partial<Pick<Command, 'description' | 'options' | 'parse'>>

function command(
  [name, args, usage]: readonly [name: string, args: string, usage: string],
  load: () => Promise<Run>,
  extra: Extra = {},
): Command {
  return { name, args, usage, load, options: OPTIONS.none, parse: parseCommand, ...extra }
}

type KeyCommands = Omit<typeof import('./commands/keys.ts'), 'wantKey' | 'printResponse'>
type AuthCommands = Omit<
  typeof import('./commands/auth.ts'),
  'padRoles' | 'roleText' | 'canonicalPath'
>
type MemberCommands = Pick<
  typeof import('./commands/member.ts'),
  'memberAdd' | 'memberList' | 'memberRemove' | 'memberUpdate'
>
const key = (name: keyof KeyCommands) => async () => (await import('./commands/keys.ts'))[name]
const auth = (name: keyof AuthCommands) => async () => (await import('./commands/auth.ts'))[name]
const member = (name: keyof MemberCommands) => async () =>
  (await import('./commands/member.ts'))[name]

const SET_DESCRIPTION = [
  'Without <value> all of stdin is the value.',
  '',
  'A <value> that begins with - looks like an option. Write -- in front:',
  '',
  '$ set -- <key> <value>',
].join('\n')

const MEMBER: Group = {
  name: 'member',
  usage: 'list, add, remove and update members of the cluster',
  commands: [
    command(['list', '', 'show the members and which of them leads'], member('memberList')),
    command(
      ['add', '<name> <peerURL>', 'add a member and print its settings'],
      member('memberAdd'),
    ),
    command(['remove', '<memberID>', 'remove a member for good'], member('memberRemove')),
    command(['update', '<memberID> <peerURLs>', 'change peer URLs'], member('memberUpdate')),
  ],
}

const USER: Group = {
  name: 'user',
  usage: 'users and the roles they have',
  commands: [
    command(['add', '<user>[:<password>]', 'make a user'], auth('userAdd')),
    command(['get', '<user>', 'show the roles of a user'], auth('userGet')),
    command(['list', '', 'list the users'], auth('userList')),
    command(['remove', '<user>', 'remove a user'], auth('userRemove')),
    command(['grant', '<user>', 'give roles to a user'], auth('userGrant'), {
      options: OPTIONS.userRoles,
    }),
    command(['revoke', '<user>', 'take roles from a user'], auth('userRevoke'), {
      options: OPTIONS.userRoles,
    }),
    command(['passwd', '<user>', 'change a password'], auth('userPasswd')),
  ],
}

const ROLE: Group = {
  name: 'role',
  usage: 'roles and the paths they may use',
  commands: [
    command(['add', '<role>', 'make a role'], auth('roleAdd')),
    command(['get', '<role>', 'show the paths of a role'], auth('roleGet')),
    command(['list', '', 'list the roles'], auth('roleList')),
    command(['remove', '<role>', 'remove a role'], auth('roleRemove')),
    command(['grant', '<role>', 'allow a path'], auth('roleGrant'), { options: OPTIONS.roleGrant }),
    command(['revoke', '<role>', 'allow a path no more'], auth('roleRevoke'), {
      options: OPTIONS.roleRevoke,
    }),
  ],
}

const AUTH: Group = {
  name: 'auth',
  usage: 'switch authentication on and off',
  commands: [
    command(['enable', '', 'from now on users need rights'], auth('authEnable')),
    command(['disable', '', 'from now on everybody may do everything'], auth('authDisable')),
  ],
}

/** All commands, in the order of the help. */
export const COMMANDS: readonly (Command | Group)[] = [
  command(
    ['backup', '', 'copy a data directory'],
    async () => (await import('./commands/backup.ts')).backup,
    { options: OPTIONS.backup },
  ),
  command(
    ['cluster-health', '', 'ask every member how it is'],
    async () => (await import('./commands/health.ts')).clusterHealth,
    { options: OPTIONS.health },
  ),
  command(['mk', '<key> <value>', 'make a key that is not there yet'], key('mk'), {
    options: OPTIONS.mk,
  }),
  command(['mkdir', '<key>', 'make a directory that is not there yet'], key('mkdir'), {
    options: OPTIONS.dir,
  }),
  command(['rm', '<key>', 'remove a key or a directory'], key('rm'), { options: OPTIONS.rm }),
  command(['rmdir', '<key>', 'remove an empty directory or a key'], key('rmdir')),
  command(['get', '<key>', 'print the value of a key'], key('get'), { options: OPTIONS.get }),
  command(['ls', '[key]', 'list a directory'], key('ls'), { options: OPTIONS.ls }),
  command(['set', '<key> <value>', 'set a key, whether or not it is there'], key('set'), {
    options: OPTIONS.set,
    description: SET_DESCRIPTION,
  }),
  command(['setdir', '<key>', 'make a directory, in place of a key too'], key('setdir'), {
    options: OPTIONS.dir,
  }),
  command(['update', '<key> <value>', 'set a key that is there'], key('update'), {
    options: OPTIONS.dir,
  }),
  command(['updatedir', '<key>', 'set the ttl of a directory'], key('updatedir'), {
    options: OPTIONS.dir,
  }),
  command(
    ['watch', '<key>', 'wait for a change and print it'],
    async () => (await import('./commands/watch.ts')).watch,
    { options: OPTIONS.watch },
  ),
  command(
    ['exec-watch', '<key> -- <command> [args...]', 'run a command for every change'],
    async () => (await import('./commands/exec-watch.ts')).execWatch,
    { options: OPTIONS.execWatch, parse: parseExecWatch },
  ),
  MEMBER,
  command(
    ['export', '[key]', 'print a tree as JSON'],
    async () => (await import('./commands/export.ts')).exportTree,
    { options: OPTIONS.export },
  ),
  command(
    ['import', '', 'write the keys of an etcd 0.4 snapshot, or of an export'],
    async () => (await import('./commands/import.ts')).importSnapshot,
    { options: OPTIONS.import },
  ),
  USER,
  ROLE,
  AUTH,
]
