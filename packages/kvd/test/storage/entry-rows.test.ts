import assert from 'node:assert/strict'
import { Buffer } from 'node:buffer'
import Sqlite from 'better-sqlite3'
import * as fc from 'fast-check'
import t from 'tap'
import type { Entry } from '../../src/raft/types.ts'
import { packEntries, unpackEntry } from '../../src/storage/entry-codec.ts'
import { EntryRows } from '../../src/storage/entry-rows.ts'
import { createTables } from '../../src/storage/schema.ts'
import { frames } from '../../src/store/command.ts'

function open(): { readonly db: Sqlite.Database; readonly rows: EntryRows } {
  const db = new Sqlite(':memory:')
  createTables(db)
  return { db, rows: new EntryRows(db) }
}

function entryOf(index: number, term: number, bytes: number): Entry {
  const data = Buffer.alloc(bytes, term)
  return { index, term, chain: index * 1000 + term, kind: 'request', id: `1.${index}`, data }
}

function entriesOf(rows: EntryRows): Entry[] {
  return [...rows.all()].flatMap(({ idx, body }) => {
    assert.ok(Buffer.isBuffer(body))
    const entries = [...frames(body)].map((one) => unpackEntry(one))
    assert.equal(entries[0]?.index, idx, 'a row has the index of its first entry')
    return entries
  })
}

type Step =
  | { readonly type: 'append'; readonly sizes: readonly number[] }
  | { readonly type: 'replace'; readonly back: number; readonly sizes: readonly number[] }
  | { readonly type: 'drop'; readonly part: number }

// Sizes around what goes in one row, and many small ones.
const sizes = fc.array(fc.constantFrom(0, 7, 200, 30_000, 65_536, 100_000), { maxLength: 6 })
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ type: fc.constant('append' as const), sizes }),
  fc.record({ type: fc.constant('replace' as const), back: fc.nat({ max: 8 }), sizes }),
  fc.record({ type: fc.constant('drop' as const), part: fc.nat({ max: 100 }) }),
)

t.test('rows hold what a list would, whatever is appended, replaced and dropped', async (tt) => {
  const property = fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
    const { db, rows } = open()
    let [list, base, term]: [Entry[], number, number] = [[], 0, 0]
    for (const one of steps) {
      term += 1
      if (one.type === 'drop') {
        const upTo = base + Math.floor((list.length * one.part) / 100)
        const last = list[upTo - base - 1]
        const place = last && { index: last.index, term: last.term, chain: last.chain }
        assert.deepStrictEqual(rows.dropUpTo(upTo), place)
        if (place !== undefined) [list, base] = [list.slice(upTo - base), upTo]
      } else {
        if (one.type === 'replace') {
          list = list.slice(0, Math.max(0, list.length - one.back))
          rows.cutFrom(base + list.length + 1)
        }
        const first = base + list.length + 1
        const entries = one.sizes.map((bytes, at) => entryOf(first + at, term, bytes))
        assert.equal(rows.append(packEntries(entries), first)?.index, entries.at(-1)?.index)
        list.push(...entries)
      }
      assert.deepStrictEqual(entriesOf(rows), list)
    }
    for (let index = base; index <= base + list.length + 1; index += 1)
      assert.equal(rows.placeAt(index)?.chain, list[index - base - 1]?.chain, `place ${index}`)
    db.close()
  })
  tt.doesNotThrow(() => fc.assert(property, { numRuns: 200 }))
})

t.test('what came together shares rows of a bounded size', async (tt) => {
  const { db, rows } = open()
  const entries = Array.from({ length: 1_000 }, (_, at) => entryOf(at + 1, 1, 150))
  rows.append(packEntries(entries), 1)
  const lengths = [...rows.all()].map(({ body }) => (Buffer.isBuffer(body) ? body.length : 0))
  tt.equal(lengths.length, Math.ceil((1_000 * (4 + 26 + 6 + 150)) / 65_536))
  tt.ok(Math.max(...lengths) <= 65_536)
  rows.append(packEntries([entryOf(1_001, 1, 200_000)]), 1_001)
  tt.equal([...rows.all()].length, lengths.length + 1, 'one that is larger has a row of its own')
  db.close()
})
