import { Buffer } from 'node:buffer'
import t from 'tap'
import { isRefusal } from '../../src/store/errors.ts'
import { NOW, set, storeOf } from '../helpers/commands.ts'

t.test('what is read and known to be ASCII has as many bytes as characters', async (tt) => {
  for (const [key, value, isAscii] of [
    ['/a/b', 'plain', true],
    ['/a/b', '', true],
    ['/a/b', 'with "quotes"', false],
    ['/a/b', 'sm\u00f8rrebr\u00f8d', false],
    ['/a/b', 'a byte that is no text: \udcff', false],
    ['/a/\u00e6', 'plain', false],
    ['/a/"', 'plain', false],
  ] as const) {
    const store = storeOf([set(key, { value, expireAt: NOW + 5000 })])
    const options = { space: 'keys', recursive: true, sorted: true, nowMs: NOW } as const
    const file = store.read({ ...options, key })
    const directory = store.read({ ...options, key: '/a' })
    if (isRefusal(file) || isRefusal(directory)) throw new Error(`${key} cannot be read`)
    tt.equal(file.isAscii, isAscii, file.json)
    if (isAscii) tt.equal(Buffer.byteLength(file.json), file.json.length)
    tt.match(JSON.parse(file.json), { key, value: value.replace('\udcff', '\ufffd') })
    tt.match(JSON.parse(directory.json), { nodes: [JSON.parse(file.json)] })
    tt.equal(directory.isAscii, false, 'nobody looked')
  }
})
