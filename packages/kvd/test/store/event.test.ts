import { Buffer } from 'node:buffer'
import t from 'tap'
import { compareAndSwap, NOW, remove, set, storeOf, sync, update } from '../helpers/commands.ts'

t.test('an event tells what was when it happened, whenever it is asked', async (tt) => {
  const first = { value: 'a', expireAt: NOW + 5000 }
  const { history } = storeOf([
    set('/k', first),
    set('/k', { value: '<'.repeat(100), time: NOW + 1000 }),
    update('/k', { value: 'c', time: NOW + 2000 }),
    remove('/k', { time: NOW + 3000 }),
  ])
  const expiration = '"expiration":"2016-01-01T00:00:05Z"'
  const long = '\\u003c'.repeat(100)
  const expected = [
    `{"action":"set","node":{"key":"/k","value":"a",${expiration},"ttl":5,"modifiedIndex":1,"createdIndex":1}}`,
    `{"action":"set","node":{"key":"/k","value":"${long}","modifiedIndex":2,"createdIndex":2},"prevNode":{"key":"/k","value":"a",${expiration},"ttl":4,"modifiedIndex":1,"createdIndex":1}}`,
    `{"action":"update","node":{"key":"/k","value":"c","modifiedIndex":3,"createdIndex":2},"prevNode":{"key":"/k","value":"${long}","modifiedIndex":2,"createdIndex":2}}`,
    '{"action":"delete","node":{"key":"/k","modifiedIndex":4,"createdIndex":2},"prevNode":{"key":"/k","value":"c","modifiedIndex":3,"createdIndex":2}}',
  ]
  for (const time of ['the first time', 'again'])
    tt.same(
      [1, 2, 3, 4].map((index) => history.at(index)?.json),
      expected,
      time,
    )
})

t.test('the length of an event is about that of its JSON', async (tt) => {
  const store = storeOf([
    set('/a', { value: 'a'.repeat(1000) }),
    set('/a', { value: 'b'.repeat(2000), expireAt: NOW + 5000 }),
    compareAndSwap('/a', { value: 'c', expireAt: NOW + 5000 }),
    set(`/d/${'x'.repeat(500)}`, { dir: true }),
    remove('/d', { recursive: true }),
    sync(NOW + 5000),
  ])
  for (let index = 1; index <= store.index; index += 1) {
    const { length = 0, json = '' } = store.history.at(index) ?? {}
    tt.ok(Math.abs(json.length - length) < 60, `${length} for ${json.length}`)
  }
})

t.test('an event that says it is ASCII has a byte for each character', async (tt) => {
  for (const [commands, isAscii] of [
    [[set('/k', { value: 'plain text' })], true],
    [[set('/k', { dir: true })], true],
    [[set('/k', { value: 'a' }), remove('/k')], true],
    [[set('/k', { value: '<' })], false],
    [[set('/k', { value: 'ü' })], false],
    [[set('/k', { value: '\u{1f600}' })], false],
    [[set('/é', { value: 'a' })], false],
    [[set('/k', { value: 'é' }), set('/k', { value: 'a' })], false],
    [[set('/k', { value: 'é' }), remove('/k')], false],
  ] as const) {
    const store = storeOf([...commands])
    const event = store.history.at(store.index)
    const shown = event?.shown ?? { json: '', isAscii: undefined }
    tt.equal(shown.isAscii, isAscii, shown.json)
    if (isAscii) tt.equal(Buffer.byteLength(shown.json), shown.json.length)
    tt.equal(event?.json, shown.json)
  }
})
