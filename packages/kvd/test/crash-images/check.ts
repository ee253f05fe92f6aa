import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DiskError, openDisk, type Disk, type Recovered } from '../../src/storage/disk.ts'
import type { Batch } from '../../src/storage/messages.ts'
import { commit } from '../helpers/batches.ts'
import { BatchMaker, diskOptions, recoveredState } from './batch-shape.ts'
import type { Files } from './file-model.ts'
import type { CrashImage } from './images.ts'
import type { Plan, Step } from './plan.ts'

export function writeFiles(directory: string, files: Files): void {
  rmSync(directory, { recursive: true, force: true })
  mkdirSync(directory, { recursive: true })
  for (const [file, content] of files) writeFileSync(join(directory, file), content)
}

/** What the shipped recovery makes of a directory. `refused` has a typed error's code and message. */
export type Found =
  | { readonly state: string; readonly incarnation: number }
  | { readonly code: string; readonly refused: string }

/** Opens a directory as a start does, looks, and closes it. @throws what is no DiskError */
export async function look(directory: string): Promise<Found> {
  const disk = await open(directory)
  if (disk instanceof DiskError) return { code: disk.code, refused: disk.message }
  try {
    const { recovered } = disk
    return { state: recoveredState(recovered), incarnation: recovered.loaded.incarnation }
  } finally {
    await disk.close()
  }
}

async function open(directory: string): Promise<Disk | DiskError> {
  return await openDisk(diskOptions(directory)).catch((error: unknown) => {
    if (error instanceof DiskError) return error
    throw error
  })
}

/**
 * What is wrong with an image, or undefined: it must open as the plan after some step from the last
 * answered to the last issued, and must take the next step.
 */
export async function imageProblem(
  image: CrashImage,
  plan: Plan,
  { directory, goesOn }: { readonly directory: string; readonly goesOn: boolean },
): Promise<string | undefined> {
  writeFiles(directory, image.files)
  const disk = await open(directory)
  if (disk instanceof DiskError) return `refused, ${disk.code}: ${disk.message}`
  try {
    const state = recoveredState(disk.recovered)
    const found = plan.states.lastIndexOf(state)
    const problem =
      recoveredProblem(disk.recovered, found, image, plan) ??
      forgottenProblem(disk.recovered, plan.states.indexOf(state), image, plan)
    if (problem !== undefined) return problem
    const step = plan.steps[found]
    if (!goesOn || step === undefined) return undefined
    const batch = nextBatch(plan, disk.recovered, step)
    if (typeof batch === 'string') return batch
    await commit(disk, batch)
  } finally {
    await disk.close()
  }
  const next = await look(directory)
  const reached = plan.states.indexOf('state' in next ? next.state : '')
  return reached > image.said.answered ? undefined : `after one more step: ${JSON.stringify(next)}`
}

/** Or why what was recovered does not lead to it. */
function nextBatch(plan: Plan, recovered: Recovered, step: Step): Batch | string {
  try {
    return new BatchMaker(plan, recovered).batch(step)
  } catch (error) {
    return `step ${step.seq} cannot follow: ${String(error)}`
  }
}

/**
 * That entries are committed is on the disk with the batch that says so: who forgets it could elect a
 * leader by the members of before.
 * @param first the earliest step that may have been recovered
 */
function forgottenProblem(
  recovered: Recovered,
  first: number,
  { said }: CrashImage,
  plan: Plan,
): string | undefined {
  const { commit: committed, lastIndex } = recovered.loaded
  const told = plan.steps[Math.max(first, said.answered) - 1]?.commit ?? 0
  if (committed >= Math.min(told, lastIndex)) return undefined
  return `entry ${told} was committed, but only up to ${committed} is known to be`
}

/** @param found the step that was recovered; below 0 for none */
function recoveredProblem(
  recovered: Recovered,
  found: number,
  { said }: CrashImage,
  plan: Plan,
): string | undefined {
  const { commit: committed, incarnation, lastIndex } = recovered.loaded
  if (found < 0) return `no state of the plan: ${recoveredState(recovered)}`
  if (found < said.answered || found > said.issued)
    return `step ${found}, but ${said.answered} was answered and ${said.issued} issued`
  // The mark may be that of the next step already, when that leaves what is there.
  const next = found < Math.max(said.issued, said.issuedBefore) ? plan.steps[found] : undefined
  const isAhead = next !== undefined && !next.replaces && next.install === undefined
  const told = isAhead ? next.commit : (plan.steps[found - 1]?.commit ?? 0)
  if (committed > Math.min(told, lastIndex))
    return `step ${found}, which ends at ${lastIndex}, but entry ${committed} is committed`
  if (incarnation <= said.incarnation && found > 0)
    return `incarnation ${incarnation} came before, with ${said.incarnation}`
  return undefined
}
