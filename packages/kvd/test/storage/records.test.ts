import { Buffer } from 'node:buffer'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as zlib from 'node:zlib'
import * as fc from 'fast-check'
import t, { type Test } from 'tap'
import type { Entry } from '../../src/raft/types.ts'
import { crc32, crc32Table } from '../../src/storage/checksum.ts'
import { entryChain } from '../../src/storage/entry-codec.ts'
import { HighWaterFile, type HighWater } from '../../src/storage/high-water.ts'
import {
  nodeChecksum,
  packChecksum,
  packEvents,
  textChecksum,
  unpackEvents,
} from '../../src/storage/records.ts'
import type { DiskNode } from '../../src/storage/rows.ts'
import type { StoreEvent } from '../../src/store/event.ts'
import { NOW, remove, set, storeOf, sync } from '../helpers/commands.ts'

const bytes = fc.uint8Array({ maxLength: 40 })

/** fast-check prints the seed and the smallest counterexample when it does not hold. */
function holds<Ts>(tt: Test, what: string, property: fc.IProperty<Ts>, numRuns = 1000): void {
  tt.doesNotThrow(() => fc.assert(property, { numRuns }), what)
}

t.test('the checksum is CRC-32, in whatever way it is computed', async (tt) => {
  tt.equal(crc32Table(Buffer.from('123456789')), 0xcbf43926, 'the check value of the standard')
  tt.equal(crc32(Buffer.from('123456789')), 0xcbf43926)
  const agrees = fc.property(bytes, bytes, (left, right) => {
    const whole = Buffer.concat([left, right])
    return (
      crc32Table(whole) === crc32(whole) && crc32Table(right, crc32Table(left)) === crc32(whole)
    )
  })
  holds(tt, 'table and zlib agree, in one piece and in two', agrees)
  const empties = [
    Buffer.alloc(0),
    structuredClone(new Uint8Array(0)),
    Buffer.from('a').subarray(1),
  ]
  for (const empty of empties) {
    // Node's own returns 0 here for some of them: https://zlib.net says so of a null pointer.
    tt.equal(crc32(empty, 12345), 12345, 'nothing more changes nothing')
    tt.equal(crc32Table(empty, 12345), 12345)
  }
  tt.equal('crc32' in zlib, true, 'this Node has its own')
})

t.test('a checksum covers every column', async (tt) => {
  const path = Buffer.from('\u0001/k')
  const node = { path, value: Buffer.from('v'), created: 1, modified: 2, expireMs: 3 }
  const changed: [what: string, node: DiskNode][] = [
    ['path', { ...node, path: Buffer.from('012f6b2f', 'hex') }],
    ['value', { ...node, value: Buffer.from('w') }],
    ['directory', { ...node, value: null }],
    ['empty value', { ...node, value: Buffer.alloc(0) }],
    [
      'border of path and value',
      { ...node, path: Buffer.from('\u0001/kv'), value: Buffer.alloc(0) },
    ],
    ['created', { ...node, created: 2 }],
    ['modified', { ...node, modified: 1 }],
    ['expiry', { ...node, expireMs: 0 }],
  ]
  for (const [what, other] of changed) tt.not(nodeChecksum(other), nodeChecksum(node), what)
  tt.not(
    nodeChecksum({ ...node, value: null }),
    nodeChecksum({ ...node, value: Buffer.alloc(0) }),
    'a directory is no empty file',
  )
  const data = Buffer.from('data')
  const entry: Omit<Entry, 'chain'> = { index: 7, term: 3, kind: 'request', id: 'ab', data }
  const entries: [what: string, before: number, entry: Omit<Entry, 'chain'>][] = [
    ['index', 5, { ...entry, index: 8 }],
    ['term', 5, { ...entry, term: 4 }],
    ['kind', 5, { ...entry, kind: 'conf' }],
    ['id', 5, { ...entry, id: 'ac' }],
    ['data', 5, { ...entry, data: Buffer.from('dat') }],
    ['border of id and data', 5, { ...entry, id: 'abd', data: Buffer.from('ata') }],
    ['all before it', 6, entry],
  ]
  for (const [what, before, other] of entries)
    tt.not(entryChain(before, other), entryChain(5, entry), what)
  const pack = packChecksum(7, 3, data)
  tt.not(packChecksum(8, 3, data), pack)
  tt.not(packChecksum(7, 4, data), pack)
  tt.not(packChecksum(7, 3, Buffer.from('dat')), pack)
  tt.not(textChecksum(7, 'x'), textChecksum(8, 'x'))
  tt.not(textChecksum(7, 'x'), textChecksum(7, 'y'))
})

t.test('events survive as one text', async (tt) => {
  const store = storeOf([
    set('/a', { value: 'v"\udcff' }),
    set('/a', { refresh: true, expireAt: NOW + 1 }),
    set('/d/x', { space: 'auth' }),
    remove('/d', { recursive: true, space: 'auth' }),
    sync(NOW + 2),
  ])
  const { first, last } = store.history
  tt.same([first, last], [1, 5])
  const events = [1, 2, 3, 4, 5].flatMap((index) => store.history.at(index) ?? [])
  tt.same(
    events.map(({ removedDir, refresh, isNew }) => [removedDir, refresh, isNew]),
    [
      [false, false, true],
      [false, true, false],
      [false, false, true],
      [true, false, false],
      [false, false, false],
    ],
  )
  const again = unpackEvents(packEvents(events))
  tt.strictSame(again.map(factsOf), events.map(factsOf))
  tt.equal(packEvents(again), packEvents(events))
  for (const { length, json } of again) tt.equal(length, json.length, 'only its JSON is kept')
  tt.same(unpackEvents(packEvents([])), [])
})

/** All that an event tells. */
function factsOf({
  index,
  action,
  space,
  key,
  removedDir,
  refresh,
  isNew,
  json,
}: StoreEvent): object {
  return { index, action, space, key, removedDir, refresh, isNew, json }
}

let files = 0

function markOf(lastIndex: number): Omit<HighWater, 'seq'> {
  return {
    term: 3,
    vote: 'ce2a822cea30bfca',
    lastIndex,
    lastTerm: 2,
    lastChain: 7,
    commit: lastIndex,
    incarnation: lastIndex + 1,
    isDamaged: lastIndex % 2 === 0,
    isAhead: lastIndex % 3 === 0,
  }
}

/** A mark file that was written so often; the file is closed again. */
function markFile(dir: string, marks: readonly number[]): string {
  files += 1
  const path = join(dir, `hwm-${files}`)
  const file = new HighWaterFile(path)
  for (const lastIndex of marks) file.write(markOf(lastIndex))
  file.close()
  return path
}

function readMark(path: string): number | undefined {
  const file = new HighWaterFile(path)
  const lastIndex = file.read()?.lastIndex
  file.close()
  return lastIndex
}

/** Flips a bit of a file. */
function damage(path: string, at: number): void {
  const content = readFileSync(path)
  content[at] = (content[at] ?? 0) ^ 1
  writeFileSync(path, content)
}

t.test('the high-water mark is the last one written, across restarts', async (tt) => {
  const dir = tt.testdir()
  const path = join(dir, 'hwm')
  for (const lastIndex of [5, 6, 900, 7]) {
    const file = new HighWaterFile(path)
    file.write(markOf(lastIndex))
    tt.match(file.read(), markOf(lastIndex))
    file.sync()
    file.close()
    tt.equal(readMark(path), lastIndex)
  }
  tt.equal(readMark(markFile(dir, [])), undefined, 'none was written')
  const large = 2 ** 50
  tt.equal(readMark(markFile(dir, [1, large])), large)
})

t.test('a mark of before knows no starts', async (tt) => {
  const path = markFile(tt.testdir(), [5])
  const content = readFileSync(path)
  const slot = content.readUInt32LE(0) === 0 ? content.subarray(4096) : content
  slot.writeUInt32LE(0x6877_6d33, 0)
  slot.writeUInt32LE(crc32(slot.subarray(0, 56)), 56)
  writeFileSync(path, content)
  const file = new HighWaterFile(path)
  tt.match(file.read(), { ...markOf(5), incarnation: 0, isDamaged: false })
  file.close()
})

t.test('a torn slot leaves the mark before it', async (tt) => {
  const dir = tt.testdir()
  const marks = [10, 20, 30]
  const path = markFile(dir, marks)
  tt.equal(readFileSync(path).length, 8192, 'both slots have their room from the start')
  // The third mark went to the same slot as the first, behind the second's.
  for (const at of [0, 4, 12, 20, 28, 36, 44, 52, 59, 64, 71]) {
    const copy = markFile(dir, marks)
    damage(copy, 4096 + at)
    tt.equal(readMark(copy), 20, `byte ${at} of the newest slot`)
    damage(copy, at)
    tt.equal(readMark(copy), undefined, 'and of the other one')
  }
  const other = markFile(dir, marks)
  damage(other, 20)
  tt.equal(readMark(other), 30, 'the older slot does not matter')
  truncateSync(path, 4096 + 10)
  tt.equal(readMark(path), 20, 'the newest slot is cut short')
  const file = new HighWaterFile(path)
  file.write(markOf(40))
  file.write(markOf(50))
  file.close()
  tt.equal(readMark(path), 50, 'and is written again')
})
