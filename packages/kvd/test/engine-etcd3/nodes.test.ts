import t from 'tap'
import type { KeyValue } from '../../src/engine-etcd3/messages.ts'
import { nodeOf } from '../../src/engine-etcd3/nodes.ts'
import {
  companionText,
  eventText,
  parseCompanion,
  parseEvent,
} from '../../src/engine-etcd3/records.ts'

function kv(createRevision: number, modRevision: number, fields: Partial<KeyValue> = {}): KeyValue {
  return { key: '', value: '', lease: 0n, createRevision, modRevision, ...fields }
}

const none = { file: undefined, marker: undefined, companion: undefined }

t.test('a file without companion has the indexes of its revisions', async (tt) => {
  tt.match(nodeOf('/k', { ...none, file: kv(4, 9, { value: 'v' }) }), {
    key: '/k',
    value: 'v',
    createdIndex: 3,
    modifiedIndex: 8,
    expireAt: 0,
  })
  tt.equal(nodeOf('/k', none), undefined)
  tt.equal(nodeOf('/k', { ...none, companion: kv(1, 1) }), undefined, 'a companion is no node')
})

t.test('a companion tells when the node was made, by its revision or by its text', async (tt) => {
  const file = kv(4, 9)
  tt.match(nodeOf('/k', { ...none, file, companion: kv(4, 9, { value: '{}' }) }), {
    createdIndex: 8,
  })
  const text = companionText({ created: 5 })
  tt.match(nodeOf('/k', { ...none, file, companion: kv(4, 9, { value: text }) }), {
    createdIndex: 5,
  })
})

t.test('a companion that is older than its node says nothing', async (tt) => {
  const companion = kv(2, 3, { value: companionText({ created: 1 }) })
  tt.match(nodeOf('/k', { ...none, file: kv(4, 9), companion }), { createdIndex: 3 })
})

t.test('an expiration counts while node and companion hang on the same lease', async (tt) => {
  const value = companionText({ expireAt: 1000 })
  const file = kv(4, 4, { lease: 7n })
  const expireAt = (companion: KeyValue, own = file): number | undefined =>
    nodeOf('/k', { ...none, file: own, companion })?.expireAt
  tt.equal(expireAt(kv(4, 4, { value, lease: 7n })), 1000)
  tt.equal(expireAt(kv(4, 4, { value, lease: 8n })), 0)
  tt.equal(expireAt(kv(4, 4, { value, lease: 7n }), kv(4, 5)), 0, 'another front has taken it off')
})

t.test('a directory keeps its modifiedIndex when its TTL changes', async (tt) => {
  const value = companionText({ created: 2, modified: 2 })
  const node = (revision: number): unknown =>
    nodeOf('/d', { ...none, marker: kv(3, revision), companion: kv(3, 8, { value }) })
  tt.match(node(8), { value: undefined, createdIndex: 2, modifiedIndex: 2 })
  tt.match(node(9), { modifiedIndex: 8 }, 'until somebody else writes the marker')
})

t.test('texts that are no records say nothing', async (tt) => {
  for (const text of ['', 'x', '1', 'null', '[]', '{"c":-1,"e":"1","m":1.5}'])
    tt.same(parseCompanion(text), {}, text)
  for (const text of ['', '{}', '{"a":"get","k":"/k"}', '{"a":"set"}', '{"a":"set","k":1}'])
    tt.equal(parseEvent(text), undefined, text)
})

t.test('an event survives its record, whatever bytes its key has', async (tt) => {
  const record = {
    action: 'set',
    key: '/\udcff"é',
    isDir: true,
    isRefresh: true,
    isNew: true,
    timeMs: 5,
  } as const
  tt.same(parseEvent(eventText(record)), record)
  tt.ok(eventText(record).isWellFormed())
  const plain = { ...record, isDir: false, isRefresh: false, isNew: false }
  tt.same(parseEvent(eventText(plain)), plain)
})
