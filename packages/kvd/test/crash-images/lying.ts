import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Random } from '../helpers/random.ts'
import { imageProblem } from './check.ts'
import { lyingImages } from './images.ts'
import { makePlan } from './plan.ts'
import { record } from './recording.ts'
import { scratchDir } from './scratch.ts'

const STEPS = 60

/**
 * Power losses after a sync of `file` that the disk answered without writing anything. A start finds
 * everything or refuses; but while entries are being replaced the mark is below them, and a loss of
 * those would not show: such images are left out. Gives the problem, if there is one, and how many starts refused.
 */
export async function runLying(options: {
  seed: number
  file: string
  images: number
}): Promise<{ readonly refused: number; readonly problem: string | undefined }> {
  const { seed, file, images: count } = options
  const scratch = scratchDir()
  try {
    const directory = join(scratch.path, 'first')
    mkdirSync(directory)
    const plan = makePlan(seed, STEPS)
    const lives = [{ until: STEPS, end: 'kill' }] as const
    const recording = record(directory, { seed, length: STEPS }, lives)
    let refused = 0
    for (const image of lyingImages(recording, { file, count, random: new Random(seed) })) {
      const { answered, issued } = image.said
      if (plan.steps.slice(answered, issued).some(({ replaces }) => replaces)) continue
      const where = { directory: join(scratch.path, 'image'), goesOn: false }
      const problem = await imageProblem(image, plan, where)
      if (problem?.startsWith('refused, DAMAGED') === true) refused += 1
      else if (problem !== undefined)
        return { refused, problem: `seed ${seed}, call ${image.position}: ${problem}` }
    }
    return { refused, problem: undefined }
  } finally {
    scratch.remove()
  }
}
