import { parseArgs } from 'node:util'
import { FAULT_KINDS, type FaultKind } from './faults.ts'

/** The command line of the harness. */
export interface Options {
  readonly program: 'etcd' | 'kvd'
  readonly members: number
  readonly seconds: number
  readonly seed: number
  readonly faults: readonly FaultKind[]
  readonly clients: number
  readonly watchers: number
  readonly readsLocal: boolean
  /** File for the history; none: it is written only when the run fails. */
  readonly history: string | undefined
  /** Judge this history and do nothing else. */
  readonly check: string | undefined
}

/** Wrong usage; the message names the flag. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
  readonly code = 'USAGE'
}

export const USAGE = `usage: node main.js [flags]
  --program etcd|kvd   program under test (kvd)
  --members N          members, 1 to 9 (3)
  --seconds S          length of the load (60)
  --seed X             replays the choices of a run (a new one)
  --faults A,B         of ${FAULT_KINDS.join(', ')}; none; all that fit (the default)
  --clients N          clients with one request at a time each (8)
  --watchers N         watching clients (12)
  --reads quorum|local local: judge reads of one member as if they went through the log (quorum)
  --history FILE       where to keep the history; without it only that of a failed run is kept
  --check FILE         judge the history in FILE and do nothing else
`

/** Reads the command line; `drawSeed` gives a seed when none is asked for. @throws UsageError */
export function parseOptions(argv: readonly string[], drawSeed: () => number): Options {
  const { values } = parse(argv)
  const number = (name: string, text: string | undefined, usual: number, low: number): number => {
    if (text === undefined) return usual
    const value = Number(text)
    if (!Number.isInteger(value) || value < low)
      throw new UsageError(`--${name} ${text}: not a whole number from ${low} up`)
    return value
  }
  const oneOf = <T extends string>(name: string, text: string, list: readonly T[]): T => {
    const found = list.find((word) => word === text)
    if (found === undefined)
      throw new UsageError(`--${name} ${text}: not one of ${list.join(', ')}`)
    return found
  }
  const members = number('members', values.members, 3, 1)
  if (members > 9) throw new UsageError(`--members ${members}: more than 9`)
  const program = oneOf('program', values.program ?? 'kvd', ['etcd', 'kvd'])
  const faults =
    values.faults === undefined
      ? usualFaults(program, members)
      : values.faults === 'none'
        ? []
        : values.faults.split(',').map((word) => oneOf('faults', word, FAULT_KINDS))
  if (members === 1 && faults.includes('partition'))
    throw new UsageError('--faults partition: one member has nobody to be parted from')
  if (members < 3 && faults.includes('membership'))
    throw new UsageError('--faults membership: fewer than 3 members cannot do without one')
  return {
    program,
    members,
    faults,
    seconds: number('seconds', values.seconds, 60, 1),
    seed: number('seed', values.seed, drawSeed(), 0),
    clients: number('clients', values.clients, 8, 1),
    watchers: number('watchers', values.watchers, 12, 0),
    readsLocal: oneOf('reads', values.reads ?? 'quorum', ['quorum', 'local']) === 'local',
    history: values.history,
    check: values.check,
  }
}

function parse(argv: readonly string[]) {
  const text = { type: 'string' } as const
  try {
    return parseArgs({
      args: [...argv],
      options: {
        program: text,
        members: text,
        seconds: text,
        seed: text,
        faults: text,
        clients: text,
        watchers: text,
        reads: text,
        history: text,
        check: text,
      },
    })
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

/**
 * What every program can be made to suffer. Clocks and slow disks need the help that kvd gives;
 * changes of members go by name only, they leave a cluster short of one for a while.
 */
function usualFaults(program: 'etcd' | 'kvd', members: number): FaultKind[] {
  const kinds: readonly FaultKind[] = [
    'crash',
    'pause',
    'partition',
    'clock',
    'disk-full',
    'slow-disk',
    'combined',
  ]
  // etcd ends when its disk is full, which is no fault of a cluster's order.
  const ofKvd: readonly FaultKind[] = ['clock', 'disk-full', 'slow-disk']
  return kinds.filter((kind) => {
    if (kind === 'partition') return members > 1
    return program === 'kvd' || !ofKvd.includes(kind)
  })
}
