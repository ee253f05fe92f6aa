import { tmpdir } from 'node:os'
import { parseArgs } from 'node:util'
import { list, oneOf, refusing, whole } from '../arguments.ts'

const parts = ['get', 'qget', 'put', 'memory'] as const
const ways = ['leader', 'follower', 'all'] as const

/** One part of the bench. */
export type Part = (typeof parts)[number]

/** Whom the clients talk to: the leader, one follower, or all members evenly. */
export type Way = (typeof ways)[number]

/** The command line of `bench cluster`, checked. */
export interface Options {
  readonly only: readonly Part[]
  readonly through: readonly Way[]
  readonly connections: readonly number[]
  readonly rounds: number
  readonly seconds: number
  readonly dir: string
  readonly json: boolean
  readonly etcd: boolean
}

/** Text of `bench cluster --help`. */
export const usage = `usage: npm run bench -- cluster [options]

Drives three members of kvd and three of etcd (3.4 with its v2 API, where the machine has it) by turns with
the same load. All run on this machine.

  --rounds N          alternating rounds; figures are medians over them (5)
  --seconds N         length of one measurement (5)
  --connections LIST  connections of the load generator, at least 3 (64,256)
  --through LIST      whom the clients talk to, of ${ways.join(', ')} (all three)
  --only LIST         of ${parts.join(', ')} (all)
  --dir DIR           where the data directories are made; no tmpfs (${tmpdir()})
  --no-etcd           measure kvd alone
  --json              print everything measured, round by round, as JSON
  --help              print this

Exit status: 0 measured, all bars held; 1 an answer was wrong, a program failed or a bar was missed; 2 wrong usage.
`

/** Reads the command line; undefined when it asks for help. */
export function parseOptions(argv: readonly string[]): Options | undefined {
  const { values } = read(argv)
  if (values.help) return undefined
  return {
    only: list(values.only).map((word) => oneOf('--only', word, parts)),
    through: list(values.through).map((word) => oneOf('--through', word, ways)),
    connections: list(values.connections).map((text) => whole('--connections', text, 4096, 3)),
    rounds: whole('--rounds', values.rounds, 1000),
    seconds: whole('--seconds', values.seconds, 3600),
    dir: values.dir,
    json: values.json,
    etcd: !values['no-etcd'],
  }
}

function read(argv: readonly string[]) {
  return refusing(() =>
    parseArgs({
      args: [...argv],
      strict: true,
      allowPositionals: false,
      options: {
        rounds: { type: 'string', default: '5' },
        seconds: { type: 'string', default: '5' },
        connections: { type: 'string', default: '64,256' },
        through: { type: 'string', default: ways.join(',') },
        only: { type: 'string', default: parts.join(',') },
        dir: { type: 'string', default: tmpdir() },
        'no-etcd': { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }),
  )
}
