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

const WRITTEN = 'const bytes = this.#transact(batch, replaces);\n        this.#sync();'

export const mutants: readonly Mutant[] = [
  mutant('a batch is not synced', true, [
    'log-database.js',
    WRITTEN,
    'const bytes = this.#transact(batch, replaces);',
  ]),
  mutant('a batch is synced before it is committed', true, [
    'log-database.js',
    WRITTEN,
    'this.#sync(); const bytes = this.#transact(batch, replaces);',
  ]),
  mutant(
    'a start is not synced',
    false,
    ['log-database.js', 'this.#sync();\n        return loaded;', 'return loaded;'],
    [
      'disk-worker.js',
      'this.#mark.write({ ...mark, incarnation, commit, isAhead: this.#isAhead(commit) });\n        this.#mark.sync();',
      'this.#mark.write({ ...mark, incarnation, commit, isAhead: this.#isAhead(commit) });',
    ],
  ),
  mutant(
    'synchronous is OFF',
    false,
    ['schema.js', "db.pragma('synchronous = NORMAL');", "db.pragma('synchronous = OFF');"],
    ['schema.js', 'simple: true }) !== 1', 'simple: true }) === -1'],
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
  mutant('what the mark says is committed, whether it is there or not', false, [
    'log-database.js',
    'Math.min(vouched, log.last.index)',
    'vouched',
  ]),
  mutant('what is committed is told to the mark alone', false, [
    'log-database.js',
    'batch.commit !== this.#committed',
    'batch.commit < 0',
  ]),
  mutant('a start does not count', false, [
    'log-database.js',
    'known + (isStart ? 1 : 0)',
    'known',
  ]),
  mutant('checkpoints do not sync the database', false, [
    'log-database.js',
    'this.#db.pragma(`wal_checkpoint(',
    "this.#db.pragma('synchronous = OFF'); setImmediate(() => this.#db.open && this.#db.pragma('synchronous = NORMAL')); this.#db.pragma(`wal_checkpoint(",
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
  mutant('events ahead of the image count as its own', false, [
    'event-table.js',
    'if (last <= end)',
    '',
  ]),
  mutant('events ahead of the image outlive the process', false, [
    'event-table.js',
    "prepare('DELETE FROM event WHERE last > ?')",
    "prepare('DELETE FROM event WHERE last > ? AND 0')",
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

/** A plan may have few places where a fault shows; a campaign has many plans. */
const PLANS = 3

/** What crash images say of a mutant, after so many from each of some plans; undefined: nothing was found. */
export async function tryMutant(
  { patches, isOutOfOrder, steps }: Mutant,
  { seed, images }: { seed: number; images: number },
): Promise<string | undefined> {
  const order = isOutOfOrder ? 'checked' : 'unchecked'
  return await withPatchedCopy(patches, PARTS, async (copy) => {
    const program = join(copy, 'test/crash-images/main.js')
    for (let plan = seed; plan < seed + PLANS; plan += 1) {
      const { problem } = await runProgram(['images', plan, images, steps, order], program)
      if (problem !== undefined) return problem
    }
    return undefined
  })
}
