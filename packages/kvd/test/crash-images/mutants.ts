import { join } from 'node:path'
import { withPatchedCopy, type CodePatch } from '../helpers/patched-copy.ts'
import { runProgram } from './program.ts'

/** A fault planted into the disk thread. */
export interface Mutant {
  readonly what: string
  readonly patches: readonly CodePatch[]
  /** The recording alone has to show it; else images alone. */
  readonly isOutOfOrder: boolean
  /** Of the plan: the fewer, the more of the images are those of starts. */
  readonly steps: number
}

const STEPS = 40
const STEPS_OF_STARTS = 12

function mutant(
  what: string,
  isOutOfOrder: boolean,
  ...patches: readonly (readonly [file: string, find: string, replace: string])[]
): Mutant {
  return {
    what,
    isOutOfOrder,
    steps: STEPS,
    patches: patches.map(([file, find, replace]) => ({
      file: `storage/${file}`,
      find,
      replace,
    })),
  }
}

const SYNCHRONOUS = "db.pragma('synchronous = FULL');"
const NO_CHECK = ['schema.js', 'simple: true }) !== 2', 'simple: true }) === -1'] as const

export const mutants: readonly Mutant[] = [
  mutant(
    'synchronous is left as the build of SQLite has it',
    true,
    ['schema.js', SYNCHRONOUS, ''],
    NO_CHECK,
  ),
  mutant(
    'synchronous is NORMAL',
    false,
    ['schema.js', SYNCHRONOUS, "db.pragma('synchronous = NORMAL');"],
    NO_CHECK,
  ),
  mutant(
    'synchronous is OFF',
    false,
    ['schema.js', SYNCHRONOUS, "db.pragma('synchronous = OFF');"],
    NO_CHECK,
  ),
  mutant('a batch is answered before it is committed', true, [
    'disk-worker.js',
    'bytes = this.#database.write(batch, (kept) => this.#lowerMark(kept));',
    "this.#post({ type: 'persisted', seq: batch.seq, commitMs: 0 }); bytes = this.#database.write(batch); return;",
  ]),
  mutant('a vote is answered before the mark is synced', true, [
    'disk-worker.js',
    'if (hard !== undefined)\n            this.#mark.sync();',
    '',
  ]),
  mutant(
    'the mark is written before the commit',
    false,
    [
      'disk-worker.js',
      'bytes = this.#database.write(batch, (kept) => this.#lowerMark(kept));',
      'this.#database.early = () => this.#writeMark(batch); bytes = this.#database.write(batch);',
    ],
    [
      'log-database.js',
      'this.#commit.run();\n            this.#last = last;',
      'this.#last = last; this.early(); this.#commit.run();',
    ],
  ),
  mutant('the mark stays above entries that are replaced', false, [
    'disk-worker.js',
    'bytes = this.#database.write(batch, (kept) => this.#lowerMark(kept));',
    'bytes = this.#database.write(batch);',
  ]),
  mutant('a start does not count', false, [
    'log-database.js',
    'row.incarnation + (isStart ? 1 : 0)',
    'row.incarnation',
  ]),
  mutant('checkpoints do not sync the database', false, [
    'log-database.js',
    'this.#db.pragma(`wal_checkpoint(',
    "this.#db.pragma('synchronous = OFF'); setImmediate(() => this.#db.open && this.#db.pragma('synchronous = FULL')); this.#db.pragma(`wal_checkpoint(",
  ]),
  mutant('term and vote are committed before the entries', false, [
    'log-database.js',
    'this.#begin.run();',
    'if (batch.hard !== undefined) this.#writeHard(batch.hard); this.#begin.run();',
  ]),
  mutant('the image is committed after the entries', false, [
    'log-database.js',
    'const bytes = this.#images.write(',
    'this.#commit.run(); this.#begin.run(); const bytes = this.#images.write(',
  ]),
  mutant('the log is cut before the image that replaces it', false, [
    'log-database.js',
    'this.#begin.run();',
    'if (batch.compactTo > 0) this.#log.compact(batch.compactTo); this.#begin.run();',
  ]),
  {
    ...mutant('a database that is rebuilt is gone for a moment', false, [
      'rebuild.js',
      'renameSync(fresh, file);',
      'rmSync(file); renameSync(fresh, file);',
    ]),
    steps: STEPS_OF_STARTS,
  },
]

const PARTS = ['src', 'test/crash-images', 'test/helpers']

/** What crash images say of a mutant; undefined: nothing was found. */
export async function tryMutant(
  { patches, isOutOfOrder, steps }: Mutant,
  { seed, images }: { seed: number; images: number },
): Promise<string | undefined> {
  const order = isOutOfOrder ? 'checked' : 'unchecked'
  return await withPatchedCopy(patches, PARTS, async (copy) => {
    const program = join(copy, 'test/crash-images/main.js')
    const { problem } = await runProgram(['images', seed, images, steps, order], program)
    return problem
  })
}
