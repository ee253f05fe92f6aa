import { tmpdir } from 'node:os'
import { parseArgs } from 'node:util'
import { oneOf, refusing, whole } from '../arguments.ts'
import type { Name } from '../servers.ts'

const servers: readonly Name[] = ['kvd', 'etcd']

/** The command line of `bench catchup`, checked. */
export interface Options {
  readonly server: Name
  readonly entries: number
  readonly keys: number
  readonly rate: number
  readonly seconds: number
  readonly dir: string
  readonly json: boolean
}

/** Text of `bench catchup --help`. */
export const usage = `usage: npm run bench -- catchup [options]

One of three members is down while entries are written; then it comes back under a fixed load of PUTs on the
leader, gets a snapshot and catches up. All members run on this machine.

  --entries N     entries that the member misses (1000000)
  --keys N        keys that they write (100000)
  --rate N        PUTs of the fixed load, each second (500)
  --seconds N     length of the load before the member comes back, and after it has caught up (20)
  --server NAME   kvd or etcd (kvd)
  --dir DIR       where the data directories are made; no tmpfs (${tmpdir()})
  --json          print the report as JSON
  --help          print this

Exit status: 0 measured, all bars held; 1 something failed or a bar was missed; 2 wrong usage.
`

/** Reads the command line; undefined when it asks for help. */
export function parseOptions(argv: readonly string[]): Options | undefined {
  const { values } = read(argv)
  if (values.help) return undefined
  return {
    server: oneOf('--server', values.server, servers),
    entries: whole('--entries', values.entries, 100_000_000),
    keys: whole('--keys', values.keys, 1_000_000),
    rate: whole('--rate', values.rate, 10_000),
    seconds: whole('--seconds', values.seconds, 3600),
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
        server: { type: 'string', default: 'kvd' },
        entries: { type: 'string', default: '1000000' },
        keys: { type: 'string', default: '100000' },
        rate: { type: 'string', default: '500' },
        seconds: { type: 'string', default: '20' },
        dir: { type: 'string', default: tmpdir() },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }),
  )
}
