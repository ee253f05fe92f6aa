import { tmpdir } from 'node:os'
import { parseArgs } from 'node:util'
import { list, oneOf, refusing, whole } from '../arguments.ts'

/** What can be measured, in the order of the report. */
const parts = ['get', 'qget', 'put', 'mixed', 'watch', 'memory'] as const

/** One part of the bench. */
export type Part = (typeof parts)[number]

/** The command line of `bench kvd`, checked. */
export interface Options {
  readonly only: readonly Part[]
  readonly connections: readonly number[]
  readonly rounds: number
  readonly seconds: number
  readonly dir: string
  readonly json: boolean
  readonly etcd: boolean
}

/** Text of `bench kvd --help`. */
export const usage = `usage: npm run bench -- kvd [options]

Drives kvd and etcd (3.4 with its v2 API, where the machine has it) by turns with the same load.

  --rounds N          alternating rounds; figures are medians over them (5)
  --seconds N         length of one measurement (5)
  --connections LIST  connections of the load generator (1,16,64,256)
  --only LIST         of ${parts.join(', ')} (all)
  --dir DIR           where the data directories are made; no tmpfs (${tmpdir()})
  --no-etcd           measure kvd alone
  --json              print everything measured, round by round, as JSON
  --help              print this

Exit status: 0 measured; 1 an answer was wrong or a program failed; 2 wrong usage.
`

/** Reads the command line; undefined when it asks for help. */
export function parseOptions(argv: readonly string[]): Options | undefined {
  const { values } = read(argv)
  if (values.help) return undefined
  return {
    only: list(values.only).map((word) => oneOf('--only', word, parts)),
    connections: list(values.connections).map((text) => whole('--connections', text, 4096)),
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
        connections: { type: 'string', default: '1,16,64,256' },
        only: { type: 'string', default: parts.join(',') },
        dir: { type: 'string', default: tmpdir() },
        'no-etcd': { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }),
  )
}
