import assert from 'node:assert/strict'
import { Buffer } from 'node:buffer'
import * as fc from 'fast-check'
import t from 'tap'
import type { Entry, EntryKind } from '../../src/raft/types.ts'
import { packEntries, unpackEntry, writeEntry } from '../../src/storage/entry-codec.ts'
import { ByteWriter } from '../../src/store/bytes.ts'
import { frames } from '../../src/store/command.ts'

const whole = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const kinds: readonly EntryKind[] = ['noop', 'request', 'conf']
/** What ids are made of: latin1, at most 255 of it. */
const id = fc
  .array(fc.integer({ min: 0, max: 255 }), { maxLength: 255 })
  .map((codes) => String.fromCharCode(...codes))
const anyEntry: fc.Arbitrary<Entry> = fc.record(
  {
    index: whole,
    term: whole,
    kind: fc.constantFrom(...kinds),
    id,
    data: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    chain: fc.nat({ max: 0xffff_ffff }),
  },
  { noNullPrototype: true },
)

const ENTRY: Entry = {
  index: 7,
  term: 3,
  kind: 'request',
  id: 'ab.1',
  data: Buffer.from('data'),
  chain: 0xdead_beef,
}

function packOne(entry: Entry): Buffer {
  const writer = new ByteWriter()
  writeEntry(writer, entry)
  return Buffer.from(writer.take())
}

t.test('entries come back as they were, one by one and in packs', async (tt) => {
  const roundTrip = fc.property(fc.array(anyEntry, { maxLength: 8 }), (entries) => {
    const packed = packEntries(entries)
    const again = [...frames(Buffer.from(packed.buffer))].map((body) => unpackEntry(body))
    assert.deepStrictEqual(again, entries)
    for (const entry of entries) assert.deepStrictEqual(unpackEntry(packOne(entry)), entry)
  })
  tt.doesNotThrow(() => fc.assert(roundTrip, { numRuns: 500 }))
})

t.test('a pack has memory of its own', async (tt) => {
  const first = packEntries([ENTRY])
  tt.same([first.byteOffset, first.buffer.byteLength], [0, first.length])
  first.fill(0)
  const second = packEntries([ENTRY])
  const [body] = frames(Buffer.from(second.buffer))
  tt.strictSame(body && unpackEntry(body), ENTRY)
})

t.test('large entries do not disturb the small ones beside them', async (tt) => {
  const large = { ...ENTRY, index: 8, data: Buffer.alloc(3 << 20, 7) }
  const entries = [ENTRY, large, { ...ENTRY, index: 9 }, large, ENTRY]
  const packed = packEntries(entries)
  tt.strictSame([...frames(Buffer.from(packed.buffer))].map(unpackEntry), entries)
})

t.test('what is no entry is named', async (tt) => {
  const bytes = packOne(ENTRY)
  const at = (offset: number, value: number): Buffer => {
    const copy = Buffer.from(bytes)
    copy[offset] = value
    return copy
  }
  const withIndex = (value: number): Buffer => {
    const copy = Buffer.from(bytes)
    copy.writeDoubleLE(value, 0)
    return copy
  }
  // index f64, term f64, chain u32, kind u8 at 20, id behind its length at 21, data behind its at 26
  const cases: [what: string, bytes: Buffer, message: RegExp][] = [
    ['nothing', Buffer.alloc(0), /8 bytes wanted, 0 left/],
    ['an index with a fraction', withIndex(1.5), /1\.5 is no index/],
    ['an index below nothing', withIndex(-1), /-1 is no index/],
    ['an index that is no number', withIndex(Number.NaN), /NaN is no index/],
    ['an index that is too large', withIndex(2 ** 53), /9007199254740992 is no index/],
    ['an unknown kind', at(20, 3), /an entry of kind 3/],
    ['an id that is too long', at(21, 200), /200 bytes wanted, 12 left/],
    ['data that is too long', at(26, 5), /5 bytes wanted, 4 left/],
    ['a byte more', Buffer.concat([bytes, Buffer.from('x')]), /an entry is 1 bytes too long/],
    ['a shorter data', at(26, 3), /an entry is 1 bytes too long/],
  ]
  for (const [what, damaged, message] of cases)
    tt.throws(() => unpackEntry(damaged), { code: 'CODEC', message }, what)
  for (let length = 0; length < bytes.length; length += 1)
    tt.throws(() => unpackEntry(bytes.subarray(0, length)), { code: 'CODEC' }, `${length} bytes`)
})

t.test('an id that no length can say is a bug of the caller', async (tt) => {
  tt.throws(() => packOne({ ...ENTRY, id: 'x'.repeat(256) }), { name: 'RangeError' })
  tt.strictSame(unpackEntry(packOne({ ...ENTRY, id: 'x'.repeat(255) })).id.length, 255)
})
