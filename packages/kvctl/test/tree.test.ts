import { test } from 'tap'
import type { KvNode } from '@flotilla/kv-client'
import { readSnapshot, walk } from '../src/snapshot04.ts'
import { readTree, treeJson } from '../src/tree.ts'

const NODE: KvNode = { key: '/a', value: 'v', modifiedIndex: 7, createdIndex: 7 }
const expiration = '2015-01-01T00:00:00Z'

test('a key that is about to expire is not exported as one that stays', (t) => {
  const table: readonly (readonly [string, Partial<KvNode>, number])[] = [
    ['stays', {}, 0],
    ['expires', { expiration, ttl: 5 }, 5],
    ['is due now: the wire leaves a ttl of 0 out', { expiration }, 1],
    ['was due a second ago', { expiration, ttl: -1 }, 1],
  ]
  for (const [name, more, ttl] of table) {
    t.strictSame(readTree(treeJson([{ ...NODE, ...more }])), [{ key: '/a', value: 'v', ttl }], name)
    const dir = { key: '/d', dir: true, modifiedIndex: 7, createdIndex: 7, ...more }
    t.strictSame(readTree(treeJson([dir])), [{ key: '/d', value: undefined, ttl }], name)
  }
  t.end()
})

test('a key that has just expired is not taken out of a snapshot as one that stays', (t) => {
  const dueMs = Date.parse(expiration)
  const table: readonly (readonly [number, number])[] = [
    [dueMs - 1500, 2],
    [dueMs - 1, 1],
    [dueMs, -1],
    [dueMs + 999, -1],
    [dueMs + 1000, -1],
    [dueMs + 2000, -2],
  ]
  const node = { Path: '/a', Value: 'v', ExpireTime: expiration }
  for (const [nowMs, ttl] of table) {
    const entries = [...walk(readSnapshot(JSON.stringify({ Root: node })), nowMs)]
    t.strictSame(entries, [{ type: 'key', key: '/a', value: 'v', ttl }], `${nowMs - dueMs} ms`)
  }
  const stays = readSnapshot(JSON.stringify({ Root: { Path: '/a', Value: 'v' } }))
  t.match([...walk(stays, dueMs)], [{ ttl: 0 }])
  t.end()
})
