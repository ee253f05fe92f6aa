import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { ScenarioLab } from '../helpers/scenario-lab.ts'

// Each file of scenarios/ is a run of some members: commands, a line of dashes, and what comes of them.
// `node packages/kvd/build-test/test/raft/scenarios.test.js --rewrite` writes the latter anew.

const directory = fileURLToPath(new URL('../../../test/raft/scenarios', import.meta.url))
const isRewritten = process.argv.includes('--rewrite')
const DASHES = '----'

/** The text with what comes of its commands now. */
function play(text: string): string {
  const lab = new ScenarioLab()
  const blocks = text.trimEnd().split('\n\n')
  return `${blocks.map((block) => playBlock(lab, block)).join('\n\n')}\n`
}

function playBlock(lab: ScenarioLab, block: string): string {
  const lines = block.split('\n')
  const end = lines.indexOf(DASHES)
  const given = end === -1 ? lines : lines.slice(0, end)
  const commands = given.filter((line) => !line.startsWith('#'))
  if (commands.length === 0) return block
  const outcome = commands.flatMap((line) => lab.run(line))
  return [...given, DASHES, ...outcome].join('\n')
}

for (const name of readdirSync(directory)) {
  const path = join(directory, name)
  const text = readFileSync(path, 'utf8')
  if (isRewritten) writeFileSync(path, play(text))
  else
    t.test(name.replace(/\.txt$/, '').replaceAll('-', ' '), async (tt) => {
      tt.equal(play(text), text)
    })
}
if (isRewritten) t.pass('written anew')
