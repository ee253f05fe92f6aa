import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Store } from '../../src/store/store.ts'
import { Batches, imageOf } from '../helpers/batches.ts'
import { set } from '../helpers/commands.ts'
import { load, open } from '../helpers/databases.ts'

// Hundreds of MiB of rows go to the disk, whose packs must not pile up.

t.setTimeout(120_000)

/** Batches of so many large values over a few keys, each with its rows; how the tables look in between. */
function churn(
  tt: Test,
  { keys, bytes, batches, entries }: Record<'keys' | 'bytes' | 'batches' | 'entries', number>,
): { packs: number; longest: number } {
  const { db, database } = open(tt, join(tt.testdir(), 'kvd.db'), 1_000_000)
  load(database)
  const store = new Store({ historySize: 1 })
  const log = new Batches()
  let index = 0
  let packs = 0
  let longest = 0
  for (let batch = 0; batch < batches; batch += 1) {
    const commands = Array.from({ length: entries }, (_, at) =>
      set(`/${(index + at) % keys}`, { value: 'x'.repeat(bytes) }),
    )
    for (const entry of commands) store.apply(entry)
    const rows = imageOf(store, index + entries, 1 << 20)
    const written = database.write(log.of(commands, { compactTo: index, ...rows }))
    longest = Math.max(longest, written)
    index += entries
    packs = Math.max(packs, Number(db.prepare('SELECT count(*) FROM pack').pluck().get()))
  }
  const nodes = [...store.rows()].map((row) => JSON.stringify(row)).toSorted()
  tt.same(load(database).nodes, nodes)
  return { packs, longest }
}

t.test('packs of large values are merged by their bytes, and do not pile up', async (tt) => {
  // Each batch brings 4 packs of 1 MiB: 12 MiB of them may wait, and as many be on their way out.
  const { packs, longest } = churn(tt, { keys: 16, bytes: 512 << 10, batches: 60, entries: 8 })
  tt.ok(packs <= 40, `${packs} packs at the most`)
  tt.ok(longest <= 24 << 20, `${longest} bytes in one batch at the most`)
})

t.test('nor do they when a batch brings more than is merged at a time', async (tt) => {
  const { packs, longest } = churn(tt, { keys: 64, bytes: 512 << 10, batches: 10, entries: 32 })
  tt.ok(packs <= 40, `${packs} packs of 1 MiB at the most`)
  tt.ok(longest <= 56 << 20, `${longest} bytes in one batch at the most`)
})
