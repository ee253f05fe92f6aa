import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Random } from '../helpers/random.ts'
import { imageProblem, look, writeFiles } from './check.ts'
import { crashImages, NOTHING_SAID, type CrashImage, type Said } from './images.ts'
import { orderProblem } from './order.ts'
import { makePlan, type Plan } from './plan.ts'
import { record, WriterError, type Life, type Recording } from './recording.ts'
import { scratchDir } from './scratch.ts'

export interface CampaignOptions {
  readonly seed: number
  /** Different images, at most. */
  readonly images: number
  /** Steps of a plan. A long campaign has many plans. */
  readonly steps: number
  /** Whether the recording itself is looked at, besides the images. */
  readonly isOrderChecked: boolean
}

/** What came of a campaign. */
export interface CampaignResult {
  readonly images: number
  /** Images by what was pending and by what was lost. */
  readonly kinds: ReadonlyMap<string, number>
  readonly problem: string | undefined
}

/** Images from one recording: recording costs more than some images, and another plan finds more. */
export const IMAGES_PER_PLAN = 400
/** Of the images of a plan, those of a life that began on a crash image. */
const SECOND_SHARE = 0.25
/** Images are opened so many at a time. */
const AT_ONCE = 2
const GOES_ON_EVERY = 8

/** One life ends by itself, one between a write and its sync, one leaves an I/O error behind. */
export function livesOf(steps: number, random: Random): Life[] {
  const at = (share: number): number => Math.floor(share * steps)
  return [
    { until: at(0.3), end: 'close' },
    { until: at(0.55), end: 'kill', killedAtSync: random.int(2, at(0.25)) },
    { until: at(0.65), end: 'io-error' },
    { until: at(0.85), end: 'close' },
  ]
}

/** Plays power losses until one shows something wrong or all images are done. */
export async function runCampaign(options: CampaignOptions): Promise<CampaignResult> {
  const scratch = scratchDir()
  const campaign = new Campaign(scratch.path, options)
  try {
    for (let number = 0; campaign.images < options.images; number += 1) {
      const wanted = Math.min(IMAGES_PER_PLAN, options.images - campaign.images)
      const before = campaign.images
      const problem = await campaign.runPlan(options.seed + number, wanted)
      if (problem !== undefined || campaign.images === before)
        return { ...campaign.result, problem: problem ?? 'a plan gave no image' }
    }
    return { ...campaign.result, problem: undefined }
  } finally {
    scratch.remove()
  }
}

class Campaign {
  readonly #root: string
  readonly #options: CampaignOptions
  readonly #kinds = new Map<string, number>()
  images = 0

  constructor(root: string, options: CampaignOptions) {
    this.#root = root
    this.#options = options
  }

  get result(): { readonly images: number; readonly kinds: ReadonlyMap<string, number> } {
    return { images: this.images, kinds: this.#kinds }
  }

  async runPlan(seed: number, count: number): Promise<string | undefined> {
    try {
      const problem = await this.#tryPlan(seed, count)
      return problem && `seed ${seed}: ${problem}`
    } catch (error) {
      if (error instanceof WriterError) return `seed ${seed}: ${error.message}`
      throw error
    }
  }

  async #tryPlan(seed: number, count: number): Promise<string | undefined> {
    const { steps } = this.#options
    const random = new Random(seed)
    const plan = makePlan(seed, steps)
    const directory = join(this.#root, 'first')
    rmSync(directory, { recursive: true, force: true })
    mkdirSync(directory)
    const first = record(directory, { seed, length: steps }, livesOf(steps, random))
    const second = Math.ceil(count * SECOND_SHARE)
    const given = { plan, random, said: NOTHING_SAID, count: count - second }
    const problem = await this.#check(first, given)
    return problem ?? (await this.#runSecond(first, { plan, seed, random, count: second }))
  }

  /** The machine loses power, starts, writes some more, and loses power again. */
  async #runSecond(
    first: Recording,
    { plan, seed, random, count }: { plan: Plan; seed: number; random: Random; count: number },
  ): Promise<string | undefined> {
    const [image] = crashImages(first, { count: 1, random: random.fork(), said: NOTHING_SAID })
    if (image === undefined) return undefined
    const directory = join(this.#root, 'second')
    writeFiles(directory, image.files)
    const found = await look(directory)
    if ('refused' in found) return `${describe(image)}: refused, ${found.code}: ${found.refused}`
    const answered = plan.states.lastIndexOf(found.state)
    const { incarnation, issued: issuedBefore } = image.said
    writeFiles(directory, image.files)
    const { length } = plan.steps
    const until = Math.min(length, answered + random.int(10, 30))
    const second = record(directory, { seed, length }, [{ until, end: 'close' }])
    const problem = await this.#check(second, {
      plan,
      random,
      count,
      said: { answered, issued: answered, issuedBefore, incarnation },
    })
    return problem && `${describe(image)}, written on: ${problem}`
  }

  async #check(
    recording: Recording,
    given: { plan: Plan; random: Random; said: Said; count: number },
  ): Promise<string | undefined> {
    const problem = this.#options.isOrderChecked ? orderProblem(recording, given.plan) : undefined
    if (problem !== undefined) return problem
    const images = crashImages(recording, { ...given, random: given.random.fork() })
    let found: string | undefined
    const work = async (worker: number): Promise<void> => {
      for (const image of images) {
        this.images += 1
        const { pending, loss } = image
        for (const kind of [pending, loss]) this.#kinds.set(kind, (this.#kinds.get(kind) ?? 0) + 1)
        const goesOn = this.images % GOES_ON_EVERY === 0
        const directory = join(this.#root, `image-${worker}`)
        const wrong = await imageProblem(image, given.plan, { directory, goesOn })
        if (wrong !== undefined) found ??= `${describe(image)}: ${wrong}`
        if (found !== undefined) return
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, (_, worker) => work(worker)))
    return found
  }
}

function describe({ position, loss, pending }: CrashImage): string {
  return `power lost after call ${position} (${loss}; pending: ${pending})`
}
