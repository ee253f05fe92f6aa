import { createHash } from 'node:crypto'
import type { Random } from '../helpers/random.ts'
import { FileModel, type Files } from './file-model.ts'
import { afterLoss, LOSSES, type Loss } from './power-loss.ts'
import type { Recording } from './recording.ts'
import type { Call } from './trace.ts'

/** A directory as a power loss leaves it. */
export interface CrashImage {
  /** Calls of the recording before it. */
  readonly position: number
  readonly loss: Loss | 'lying'
  /** Kinds of changes that were pending. */
  readonly pending: string
  readonly files: Files
  readonly said: Said
}

/** What the writer has said by some time. */
export interface Said {
  /** The last step that was answered, and the last one that was issued. */
  readonly answered: number
  readonly issued: number
  /** The last one that an earlier life has issued. */
  readonly issuedBefore: number
  /** Of the last start that had opened the disk; 0 for none. */
  readonly incarnation: number
}

interface Pick {
  readonly position: number
  readonly loss: Loss
  readonly random: Random
}

/** So often new places are drawn for those that gave an image that was there already. */
const ROUNDS = 6

/**
 * `count` different images of a recording, or as many as there are. A third of them at places of all
 * kinds alike, whatever is pending there, since checkpoints and renames are rare; a third right after a
 * sync, when the one file is new and the other old; a third anywhere.
 * @param said what was said before the recording began
 */
export function* crashImages(
  recording: Recording,
  { count, random, said }: { count: number; random: Random; said: Said },
): Generator<CrashImage> {
  const { kinds, synced, all } = placesOf(recording)
  const seen = new Set<string>()
  for (let round = 0; round < ROUNDS && seen.size < count; round += 1) {
    const picks = Array.from({ length: count - seen.size }, (_, at): Pick => {
      // One of each kind first: the seldom ones must not be left to chance.
      const rare = round === 0 ? kinds[at] : undefined
      const from = rare ?? random.pick([random.pick(kinds), synced, all])
      return { position: random.pick(from), loss: random.pick(LOSSES), random: random.fork() }
    })
    for (const image of imagesAt(recording, picks, said)) {
      const key = keyOf(image)
      if (!seen.has(key)) yield image
      seen.add(key)
    }
  }
}

/** Positions after each change or sync of a file. */
interface Places {
  /** By the kind of what is pending then. */
  readonly kinds: readonly (readonly number[])[]
  readonly synced: readonly number[]
  readonly all: readonly number[]
}

function placesOf({ files, calls }: Recording): Places {
  const model = new FileModel(files)
  const kinds = new Map<string, number[]>()
  for (const [at, call] of calls.entries()) {
    model.apply(call)
    if (call.type === 'note') continue
    const { signature } = model
    const positions = kinds.get(signature) ?? []
    positions.push(at + 1)
    kinds.set(signature, positions)
  }
  const synced = calls.flatMap(({ type }, at) => (type === 'sync' ? [at + 1] : []))
  return { kinds: [...kinds.values()], synced, all: [...kinds.values()].flat() }
}

function* imagesAt(
  { files, calls }: Recording,
  picks: readonly Pick[],
  said: Said,
): Generator<CrashImage> {
  const model = new FileModel(files)
  const progress = new Progress(said)
  let done = 0
  for (const { position, loss, random } of picks.toSorted((a, b) => a.position - b.position)) {
    for (const call of calls.slice(done, position)) {
      model.apply(call)
      progress.hear(call)
    }
    done = position
    const kept = afterLoss(loss, model.pending, random)
    const { signature: pending } = model
    yield { position, loss, pending, files: model.image(kept), said: progress.said }
  }
}

/** One image for each of some syncs of `file` that the disk answered without writing anything; all else is there. */
export function* lyingImages(
  { files, calls }: Recording,
  { file, count, random }: { file: string; count: number; random: Random },
): Generator<CrashImage> {
  const syncs = calls.flatMap((call, at) =>
    call.type === 'sync' && call.file === file ? [at] : [],
  )
  for (let number = 0; number < count; number += 1) {
    const lie = random.pick(syncs)
    const end = Math.min(calls.length, lie + random.int(1, 60))
    const model = new FileModel(files)
    const progress = new Progress(NOTHING_SAID)
    for (const [at, call] of calls.slice(0, end).entries()) {
      if (at === lie) model.forget(file)
      else model.apply(call)
      progress.hear(call)
    }
    const { signature: pending } = model
    const image = model.image(model.pending)
    yield { position: end, loss: 'lying', pending, files: image, said: progress.said }
  }
}

export const NOTHING_SAID: Said = { answered: 0, issued: 0, issuedBefore: 0, incarnation: 0 }

/** Follows what the writer says. */
export class Progress {
  #said: Said

  constructor(said: Said) {
    this.#said = said
  }

  get said(): Said {
    return this.#said
  }

  hear(call: Call): void {
    if (call.type !== 'note') return
    const [what = '', seq, incarnation] = call.text.split(' ')
    if (what === 'answered') this.#said = { ...this.#said, answered: Number(seq) }
    if (what === 'issued') this.#said = { ...this.#said, issued: Number(seq) }
    if (what === 'opened') this.#start(Number(seq), Number(incarnation))
  }

  /** What a start did not find cannot come back. */
  #start(found: number, incarnation: number): void {
    const issuedBefore = Math.max(this.#said.issued, this.#said.issuedBefore)
    this.#said = { ...this.#said, issued: found, issuedBefore, incarnation }
  }
}

function keyOf({ files, said }: CrashImage): string {
  const hash = createHash('sha256').update(JSON.stringify(said))
  for (const [file, content] of files) hash.update(`\n${file}\n`).update(content)
  return hash.digest('hex')
}
