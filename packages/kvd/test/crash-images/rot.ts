import { Buffer } from 'node:buffer'
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Random } from '../helpers/random.ts'
import { look, writeFiles } from './check.ts'
import type { Files } from './file-model.ts'
import { makePlan, type Plan } from './plan.ts'
import { readFiles, writerArgs } from './recording.ts'
import { scratchDir } from './scratch.ts'

/** Bits are turned over so far apart (correctness.md 5 #4). */
const STRIDE = 97
const STEPS = 60

interface Byte {
  readonly file: string
  readonly at: number
}

export interface RotResult {
  readonly flips: number
  /** Starts that refused; the others found everything. */
  readonly refused: number
  readonly problem: string | undefined
}

/**
 * Turns over one bit of what a writer left, at `flips` places or all, one after the other, and looks
 * whether a start refuses or finds everything.
 */
export async function runRot(options: {
  seed: number
  flips: number
  end: 'close' | 'kill'
}): Promise<RotResult> {
  const scratch = scratchDir()
  try {
    const { files, state } = leftBy(join(scratch.path, 'original'), options)
    const places = placesOf(files, options.flips, new Random(options.seed))
    let refused = 0
    for (const place of places) {
      const directory = join(scratch.path, 'flipped')
      writeFiles(directory, flipped(files, place))
      const found = await look(directory)
      const isRefused = 'refused' in found && (found.code === 'DAMAGED' || found.code === 'IO')
      refused += isRefused ? 1 : 0
      if (isRefused || ('state' in found && found.state === state)) continue
      const problem = `${place.file}, byte ${place.at}: ${JSON.stringify(found)} where ${state} was`
      return { flips: places.length, refused, problem }
    }
    return { flips: places.length, refused, problem: undefined }
  } finally {
    scratch.remove()
  }
}

/** A killed writer leaves a vote as the last thing in the write-ahead log, where no entry shows its loss. */
function leftBy(
  directory: string,
  { seed, end }: { seed: number; end: 'close' | 'kill' },
): { files: Files; state: string } {
  mkdirSync(directory)
  const plan = makePlan(seed, STEPS)
  const until = end === 'kill' ? lastVoteAlone(plan) : STEPS
  const argv = writerArgs(directory, { seed, length: STEPS }, { until, end })
  const { status, signal, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8' })
  if (status !== 0 && signal !== 'SIGKILL') throw new Error(`the writer failed: ${stderr}`)
  return { files: readFiles(directory), state: plan.states[until] ?? '' }
}

/** The last step that brings a vote and no entries; all steps when there is none. */
function lastVoteAlone({ steps }: Plan): number {
  const seq = steps.findLast(({ entries, vote }) => vote !== undefined && entries.length === 0)?.seq
  return seq ?? steps.length
}

function placesOf(files: Files, count: number, random: Random): Byte[] {
  const places = [...files].flatMap(([file, { length }]) =>
    Array.from({ length: Math.ceil(length / STRIDE) }, (_, n) => ({ file, at: n * STRIDE })),
  )
  while (places.length > count) places.splice(random.int(0, places.length - 1), 1)
  return places
}

function flipped(files: Files, { file, at }: Byte): Files {
  const content = Buffer.from(files.get(file) ?? '')
  content[at] = (content[at] ?? 0) ^ (1 << (at % 8))
  return new Map([...files, [file, content]])
}
