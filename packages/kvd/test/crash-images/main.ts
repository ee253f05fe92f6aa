// node …/crash-images/main.js images SEED IMAGES [STEPS [unchecked]]  power losses of the disk thread;
//     `unchecked`: images alone, whatever the order of syncs and answers
// node …/crash-images/main.js lying SEED IMAGES [FILE]                a sync that wrote nothing
// node …/crash-images/main.js rot SEED FLIPS close|kill               bits that turn over
// The same seed does the same again. Ends with `N tried`, and `found: …` when something is wrong.
import { runCampaign } from './campaign.ts'
import { runLying } from './lying.ts'
import { runRot } from './rot.ts'

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

function end(tried: number, problem: string | undefined): void {
  say(`${tried} tried`)
  if (problem === undefined) return
  say(`found: ${problem}`)
  process.exitCode = 1
}

const [kind, seedText = '1', countText = '300', ...rest] = process.argv.slice(2)
const [seed, count] = [Number(seedText), Number(countText)]
if (kind === 'lying') {
  const [file = 'kvd.db-wal'] = rest
  const { refused, problem } = await runLying({ seed, file, images: count })
  say(`  refused: ${refused}`)
  end(count, problem)
} else if (kind === 'rot') {
  const how = rest[0] === 'kill' ? 'kill' : 'close'
  const { flips, refused, problem } = await runRot({ seed, flips: count, end: how })
  say(`  refused: ${refused}`)
  end(flips, problem)
} else {
  const [steps = '150', order = 'checked'] = rest
  const isOrderChecked = order === 'checked'
  const result = await runCampaign({ seed, images: count, steps: Number(steps), isOrderChecked })
  for (const [what, number] of result.kinds) say(`  ${what}: ${number}`)
  end(result.images, result.problem)
}
