import { Buffer } from 'node:buffer'
import * as fc from 'fast-check'
import t from 'tap'
import {
  mergeRuns,
  nodeRowOf,
  packChanges,
  RowWriter,
  sortRows,
  unpackRows,
  type DiskRow,
} from '../../src/storage/rows.ts'
import { createNode, type Node } from '../../src/store/node.ts'
import { decodeText } from '../../src/store/text.ts'

const text = fc.uint8Array({ maxLength: 20 }).map((raw) => decodeText(Buffer.from(raw)))

const node: fc.Arbitrary<Node> = fc
  .record({
    key: text.map((rest) => `/${rest}`),
    space: fc.constantFrom('cluster' as const, 'keys' as const, 'auth' as const),
    value: fc.option(text, { nil: undefined }),
    index: fc.nat(2 ** 40),
    expireAt: fc.nat(2 ** 43),
  })
  .map((fields) => createNode({ ...fields, parent: undefined }))

t.test('nodes survive as rows, whatever bytes their keys and values have', async (tt) => {
  const survives = fc.property(fc.array(node, { maxLength: 9 }), fc.nat(99), (nodes, bytesMax) => {
    const packs = packChanges({ written: nodes, removed: [] }, bytesMax)
    const rows = packs.flatMap((pack) => [...unpackRows(Buffer.from(pack))])
    tt.strictSame(
      rows.map((row) => row.node && nodeRowOf(row.node)),
      nodes.map(({ space, key, value, createdIndex, modifiedIndex, expireAt }) => {
        return { space, key, value, createdIndex, modifiedIndex, expireAt }
      }),
    )
  })
  fc.assert(survives, { numRuns: 200 })
})

t.test('what is gone is a row too, and a row is never cut', async (tt) => {
  const written = [
    createNode({
      key: '/k',
      space: 'keys',
      parent: undefined,
      value: 'v'.repeat(300),
      index: 1,
      expireAt: 0,
    }),
  ]
  const removed = [
    { space: 'cluster' as const, key: '/a' },
    { space: 'auth' as const, key: '/b\udcff' },
  ]
  const packs = packChanges({ written, removed }, 1)
  tt.equal(packs.length, 3, 'each row is longer than a pack should be')
  const rows = packs.flatMap((pack) => [...unpackRows(Buffer.from(pack))])
  tt.same(
    rows.map((row) => [row.path.toString('hex'), row.node === undefined]),
    [
      ['012f6b', false],
      ['002f61', true],
      ['022f62ff', true],
    ],
  )
  const writer = new RowWriter()
  for (const row of rows) writer.row(row)
  tt.equal(Buffer.compare(writer.take(), Buffer.concat(packs)), 0, 'written again, it is the same')
  tt.equal(packChanges({ written: [], removed: [] }, 1000).length, 0)
  tt.throws(
    () =>
      nodeRowOf({
        path: Buffer.from('092f61', 'hex'),
        value: null,
        created: 1,
        modified: 1,
        expireMs: 0,
      }),
    {
      message: 'row with path 092f61',
    },
  )
})

/** Runs as they come to a merge, the newest first; each as paths and what they carry. */
const run = fc.uniqueArray(
  fc.record({ name: fc.stringMatching(/^[a-c\xff/]{1,3}$/), isGone: fc.boolean() }),
  { maxLength: 12, selector: ({ name }) => name },
)

t.test('a merge gives the newest row of each path, in the order of the paths', async (tt) => {
  const agrees = fc.property(fc.array(run, { maxLength: 6 }), (runs) => {
    const expected = new Map<string, string>()
    const sorted = runs.map((rows, age) => {
      const writer = new RowWriter()
      for (const { name, isGone } of rows) {
        const path = Buffer.from(name, 'latin1')
        const value = Buffer.from(`${age}`)
        const row: DiskRow = {
          order: name,
          path,
          node: isGone ? undefined : { path, value, created: age, modified: 1, expireMs: 0 },
        }
        writer.row(row)
        if (!expected.has(name)) expected.set(name, isGone ? 'gone' : `${age}`)
      }
      const { pack, count } = sortRows(Buffer.from(writer.take()))
      tt.equal(count, rows.length)
      return unpackRows(pack)
    })
    const found = [...mergeRuns(sorted)].map(({ path, node: row }) => [
      path.toString('latin1'),
      row?.value?.toString() ?? 'gone',
    ])
    const bytewise = ([left]: [string, string], [right]: [string, string]): number =>
      Buffer.compare(Buffer.from(left, 'latin1'), Buffer.from(right, 'latin1'))
    tt.strictSame(found, [...expected].toSorted(bytewise))
  })
  fc.assert(agrees, { numRuns: 500 })
})
