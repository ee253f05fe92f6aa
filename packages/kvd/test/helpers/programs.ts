import { command, type Command, type Operation } from '../../src/store/command.ts'
import type { Watcher } from '../../src/store/watcher-hub.ts'
import { NOW } from './commands.ts'
import { NaiveStore } from './naive-store.ts'
import type { Random } from './random.ts'

/** One step of a random program. */
export type Step =
  | { readonly type: 'command'; readonly command: Command }
  | { readonly type: 'watch'; readonly watch: WatchStep }
  /** The store is written out, thrown away, and loaded again. */
  | { readonly type: 'restart' }

export interface WatchStep {
  readonly key: string
  readonly recursive: boolean
  readonly mode: Watcher['mode']
  /** Counted from the index that comes next. */
  readonly ahead: number
}

const NAMES = ['a', 'b', '_h', 'ab', 'c', 'é'] as const
const VALUES = ['', '1', '2', 'x"<y'] as const
const WEIGHTS: readonly (readonly [weight: number, op: Operation])[] = [
  [30, 'set'],
  [14, 'create'],
  [6, 'createInOrder'],
  [14, 'update'],
  [10, 'compareAndSwap'],
  [12, 'delete'],
  [6, 'compareAndDelete'],
  [7, 'sync'],
  [1, 'noop'],
]
const OPERATIONS = WEIGHTS.flatMap(([weight, op]) => Array<Operation>(weight).fill(op))

/** A key of one to four of six names, or now and then the root. */
export function randomKey(random: Random): string {
  if (random.chance(0.03)) return '/'
  const depth = random.pick([1, 1, 1, 2, 2, 2, 3, 4] as const)
  return `/${Array.from({ length: depth }, () => random.pick(NAMES)).join('/')}`
}

/** A program of `length` steps. Conditions are often true, because a naive store runs along. */
export function randomProgram(random: Random, length: number): Step[] {
  const naive = new NaiveStore()
  let time = NOW
  return Array.from({ length }, (): Step => {
    if (random.chance(0.06))
      return {
        type: 'watch',
        watch: {
          key: randomKey(random),
          recursive: random.chance(0.5),
          mode: random.pick(['once', 'stream', 'resumable'] as const),
          ahead: random.chance(0.2) ? random.int(1, 9) : 0,
        },
      }
    if (random.chance(0.02)) return { type: 'restart' }
    time += random.int(0, 700)
    const entry = randomCommand(random, naive, time)
    naive.apply(entry)
    return { type: 'command', command: entry }
  })
}

function randomCommand(random: Random, naive: NaiveStore, time: number): Command {
  const op = random.pick(OPERATIONS)
  if (op === 'sync' || op === 'noop') return command({ op, time })
  const known = [...naive.nodes.keys()]
  const isKnown = known.length > 0 && random.chance(0.6)
  const path = isKnown ? random.pick(known) : `keys:${randomKey(random)}`
  const key = path.slice(path.indexOf(':') + 1)
  const space = path.startsWith('keys:') && !random.chance(0.02) ? 'keys' : 'auth'
  const isConditional = op === 'compareAndSwap' || op === 'compareAndDelete'
  const node = naive.node(space, key)
  const likely = (right: string, wrong: string): string =>
    random.pick([right, right, right, wrong, ''])
  return command({
    op,
    space,
    time,
    key,
    value: random.pick(VALUES),
    dir: random.chance(0.25),
    recursive: random.chance(0.4),
    refresh: op !== 'createInOrder' && op !== 'create' && random.chance(0.12),
    expireAt: random.pick([0, 0, 0, time + random.int(-900, 4000), Date.UTC(1970, 5, 1)]),
    ...(isConditional && {
      prevValue: likely(node?.value ?? '', '9'),
      prevIndex: likely(`${node?.modifiedIndex ?? 1}`, `${random.int(1, naive.index + 1)}`),
    }),
  })
}
