// "CoreOS in depth, part two", row B3 of the article list: how many members a cluster of each size may lose.
// The members are processes on the loopback interface: what counts is how many are left, not where they run.
import { join } from 'node:path'
import tap, { type Test, test } from 'tap'
import { renderTable } from '../../src/bench/table.ts'
import { choosePorts } from '../../src/launch/ports.ts'
import { startMembers, takesWrites } from '../helpers/local-store.ts'

tap.setTimeout(300_000)
const SIZES = [7, 6, 5, 4, 3, 2, 1]
/** Clusters at a time: most of a trial is waiting for answers that must not come. */
const LANES = 4

/** How many of its members a cluster lost before it took no write any more. */
async function measure(t: Test, directory: string, ports: readonly number[]): Promise<number> {
  const members = await startMembers(t, directory, ports)
  const size = members.length
  t.same(await takesWrites(members), { takes: true, refusals: [] }, `${size} of ${size}`)
  for (const [lost, victim] of members.entries()) {
    await victim.kill()
    const left = members.slice(lost + 1)
    const { takes, refusals } = await takesWrites(left)
    if (takes) continue
    for (const refusal of refusals) t.match(refusal, /"errorCode":300/, 'writes are refused')
    t.equal(refusals.length, left.length)
    for (const { url } of left) {
      const read = await fetch(`${url}/v2/keys/quorum`)
      t.match(await read.text(), /"value":"taken"/, 'what was written can be read')
    }
    await victim.restart()
    const again = await takesWrites([victim, ...left])
    t.same(again, { takes: true, refusals: [] }, `${left.length + 1} of ${size} again`)
    return lost
  }
  throw new Error(`${size} members: nobody is left, and writes are taken`)
}

test('B3: a cluster takes writes while a majority lives, and even sizes gain nothing', async (t) => {
  const directory = t.testdir({})
  const survived = new Map<number, number>()
  const queue = [...SIZES]
  // At once: those of a store that is about to listen look free.
  const ports = await choosePorts(SIZES.flatMap((size) => Array<number>(2 * size).fill(0)))
  const lane = async (): Promise<void> => {
    for (let size = queue.shift(); size !== undefined; size = queue.shift())
      survived.set(size, await measure(t, join(directory, String(size)), ports.splice(0, 2 * size)))
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  const found = [1, 2, 3, 4, 5, 6, 7].map((size) => survived.get(size))
  t.same(found, [0, 0, 1, 1, 2, 2, 3])
  const titles = ['members', 'may fail', 'writes stop with']
  const rows = found.map((lost = 0, index) => [`${index + 1}`, `${lost}`, `${index - lost} left`])
  const table = renderTable(
    titles.map((title) => ({ title, align: 'right' })),
    rows,
  )
  for (const line of table.trimEnd().split('\n')) t.comment(line)
})
