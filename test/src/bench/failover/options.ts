import { tmpdir } from 'node:os'
import { parseArgs } from 'node:util'
import { list, oneOf, refusing, whole } from '../arguments.ts'
import type { Name } from '../servers.ts'

const servers: readonly Name[] = ['kvd', 'etcd']
const parts = ['kill', 'stop', 'replace'] as const

/** What happens to a member: the leader is killed, the leader is stopped, a dead follower is replaced. */
export type Part = (typeof parts)[number]

/** The command line of `bench failover`, checked. */
export interface Options {
  readonly server: Name
  readonly only: readonly Part[]
  readonly kills: number
  readonly stops: number
  readonly replacements: number
  readonly dir: string
  readonly json: boolean
}

/** Text of `bench failover --help`. */
export const usage = `usage: npm run bench -- failover [options]

Three members under a load of writes lose their leader, again and again: by SIGKILL, by SIGTERM (which hands
over). Then followers die and are replaced through /v2/members. All members run on this machine.

  --kills N         how often the leader is killed (50)
  --stops N         how often the leader is stopped (50)
  --replacements N  how often a dead follower is replaced (5)
  --only LIST       of ${parts.join(', ')} (all)
  --server NAME     kvd or etcd (kvd)
  --dir DIR         where the data directories are made; no tmpfs (${tmpdir()})
  --json            print everything measured as JSON
  --help            print this

Exit status: 0 measured, all bars held; 1 something failed or a bar was missed; 2 wrong usage.
`

/** Reads the command line; undefined when it asks for help. */
export function parseOptions(argv: readonly string[]): Options | undefined {
  const { values } = read(argv)
  if (values.help) return undefined
  return {
    server: oneOf('--server', values.server, servers),
    only: list(values.only).map((word) => oneOf('--only', word, parts)),
    kills: whole('--kills', values.kills, 10_000),
    stops: whole('--stops', values.stops, 10_000),
    replacements: whole('--replacements', values.replacements, 1000),
    dir: values.dir,
    json: values.json,
  }
}

function read(argv: readonly string[]) {
  return refusing(() =>
    parseArgs({
      args: [...argv],
      strict: true,
      allowPositionals: false,
      options: {
        kills: { type: 'string', default: '50' },
        stops: { type: 'string', default: '50' },
        replacements: { type: 'string', default: '5' },
        only: { type: 'string', default: parts.join(',') },
        server: { type: 'string', default: 'kvd' },
        dir: { type: 'string', default: tmpdir() },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }),
  )
}
