import assert from 'node:assert/strict'
import { Buffer } from 'node:buffer'
import * as fc from 'fast-check'
import t, { type Test } from 'tap'
import {
  command,
  CommandWriter,
  decodeCommand,
  frames,
  isCheck,
  stampCommand,
} from '../../src/store/command.ts'
import type { Command, Operation } from '../../src/store/command.ts'
import {
  isRefusal,
  messageOf,
  refusal,
  refusalJson,
  statusOf,
  type ErrorCode,
} from '../../src/store/errors.ts'
import { formatTime } from '../../src/store/node.ts'
import { compareText, decodeText, encodeText, quoteJson } from '../../src/store/text.ts'

/** Bytes in which whole, broken and misplaced UTF-8 sequences are frequent. */
const bytes = fc
  .array(
    fc.oneof(
      fc.constantFrom(0x00, 0x41, 0x7f, 0x80, 0xbf, 0xc0, 0xc2, 0xe0, 0xed, 0xa0, 0xef, 0xf0, 0xf4),
      fc.constantFrom(0xf5, 0xff, 0x90, 0x9f, 0x20),
      fc.nat(255),
    ),
    { maxLength: 12 },
  )
  .map((list) => Buffer.from(list))
const text = bytes.map((raw) => decodeText(raw))
const scalar = fc
  .oneof(fc.nat(0x7f), fc.constantFrom(0x2028, 0x2029, 0xd7ff, 0xe000, 0xffff), fc.nat(0x10ffff))
  .filter((point) => point < 0xd800 || point > 0xdfff)
/** Text without lone surrogates. */
const wellFormed = fc.string({ unit: scalar.map((point) => String.fromCodePoint(point)) })

/** fast-check prints the seed and the smallest counterexample when it does not hold. */
function holds<Ts>(tt: Test, what: string, property: fc.IProperty<Ts>, numRuns: number): void {
  tt.doesNotThrow(() => fc.assert(property, { numRuns }), what)
}

t.test('any bytes survive as text', async (tt) => {
  const survives = fc.property(bytes, (raw) => encodeText(decodeText(raw)).equals(raw))
  holds(tt, 'whole and broken UTF-8', survives, 5000)
  tt.equal(decodeText(Buffer.from('aé€\u{10000}')), 'aé€\u{10000}', 'UTF-8 is itself')
  const broken: [hex: string, text: string][] = [
    ['ff', '\udcff'],
    ['61ff62', 'a\udcffb'],
    ['c3', '\udcc3'],
    ['c0af', '\udcc0\udcaf'],
    ['eda080', '\udced\udca0\udc80'],
    ['f4908080', '\udcf4\udc90\udc80\udc80'],
    ['f0908080ff', '\u{10000}\udcff'],
    ['e282', '\udce2\udc82'],
  ]
  for (const [hex, shown] of broken) {
    tt.equal(decodeText(Buffer.from(hex, 'hex')), shown, hex)
    tt.equal(encodeText(shown).toString('hex'), hex, hex)
  }
})

t.test('any well-formed text survives as bytes', async (tt) => {
  const survives = fc.property(wellFormed, (given) => decodeText(encodeText(given)) === given)
  holds(tt, 'to UTF-8 and back', survives, 2000)
})

t.test('texts sort as their bytes do', async (tt) => {
  const key = fc.oneof(
    bytes,
    fc.stringMatching(/^[a-c/-]{0,4}$/).map((plain) => Buffer.from(plain)),
  )
  const agrees = fc.property(key, key, (left, right) => {
    const order = compareText(decodeText(left), decodeText(right))
    return Math.sign(order) === Math.sign(Buffer.compare(left, right))
  })
  holds(tt, 'as Buffer.compare', agrees, 5000)
})

t.test('JSON strings are written as Go writes them', async (tt) => {
  const cases: [text: string, json: string][] = [
    ['', '""'],
    ['plain /text~!', '"plain /text~!"'],
    ['"', '"\\""'],
    ['\\', '"\\\\"'],
    ['\\b', '"\\\\b"'],
    ['\b\f', '"\\u0008\\u000c"'],
    ['\n\r\t', '"\\n\\r\\t"'],
    ['\u0000\u001f', '"\\u0000\\u001f"'],
    ['\u007f', '"\u007f"'],
    ['<a href="&">', '"\\u003ca href=\\"\\u0026\\"\\u003e"'],
    ['\u2027\u2028\u2029\u202a', '"\u2027\\u2028\\u2029\u202a"'],
    ['é€\u{10000}', '"é€\u{10000}"'],
    ['a\udcffb\udc80\udc81', '"a\\ufffdb\\ufffd\\ufffd"'],
    ['\ufffd\udcff', '"\ufffd\\ufffd"'],
    ['\\u003c', '"\\\\u003c"'],
  ]
  for (const [given, json] of cases)
    tt.equal(quoteJson(given), json, `as ${Buffer.from(json).toString('latin1')}`)
  const reads = fc.property(wellFormed, (given) => JSON.parse(quoteJson(given)) === given)
  holds(tt, 'JSON.parse reads it back', reads, 2000)
  const replaces = fc.property(
    text,
    (given) => JSON.parse(quoteJson(given)) === given.toWellFormed(),
  )
  holds(tt, 'bad bytes are U+FFFD', replaces, 2000)
  const marked = fc.constantFrom(
    '\\',
    '"',
    'b',
    'f',
    'udcff',
    '<',
    '\b',
    '\f',
    '\u0001',
    '\udc80',
    'é',
  )
  const runs = fc.array(fc.tuple(marked, fc.constantFrom(1, 2, 499, 500, 501)), { maxLength: 6 })
  const isSum = fc.property(runs, (given) => {
    const texts = given.map(([part, count]) => part.repeat(count))
    return quoteJson(texts.join('')) === `"${texts.map(inPieces).join('')}"`
  })
  holds(tt, 'each character by itself', isSum, 2000)
})

function inPieces(given: string): string {
  return Array.from(given, (character) => quoteJson(character).slice(1, -1)).join('')
}

const OPERATIONS: readonly Operation[] = [
  'noop',
  'sync',
  'set',
  'create',
  'createInOrder',
  'update',
  'compareAndSwap',
  'delete',
  'compareAndDelete',
]

const fields: { [Name in keyof Command]: fc.Arbitrary<Command[Name]> } = {
  op: fc.constantFrom(...OPERATIONS),
  space: fc.constantFrom('cluster', 'keys', 'auth'),
  time: fc.nat(2 ** 42),
  key: text.map((rest) => `/${rest}`),
  value: text,
  dir: fc.boolean(),
  recursive: fc.boolean(),
  refresh: fc.boolean(),
  expireAt: fc.oneof(fc.constant(0), fc.integer({ min: -1e13, max: 1e13 })),
  prevValue: text,
  prevIndex: fc.constantFrom('', '7', '18446744073709551615'),
}
const commands = fc.record(fields, { noNullPrototype: true })

t.test('commands survive the log, many in one batch', async (tt) => {
  const lists = fc.array(commands, { maxLength: 8 })
  const survive = fc.property(lists, fc.nat(300), (list, capacity) => {
    const writer = new CommandWriter(capacity)
    for (const entry of list) writer.append(entry)
    assert.equal(writer.count, list.length)
    const batch = writer.take()
    assert.deepEqual([writer.count, writer.bytes], [0, 0])
    assert.deepEqual([...frames(batch)].map(decodeCommand), list)
  })
  holds(tt, 'through a writer of any first size', survive, 500)
})

t.test(
  'a stamp moves the time of a command and its expiration, whatever they were before',
  async (tt) => {
    const moves = fc.property(commands, fc.nat(2 ** 42), fc.nat(2 ** 42), (entry, before, time) => {
      const writer = new CommandWriter()
      writer.append(entry)
      const packed = writer.take().subarray(4)
      stampCommand(packed, before)
      stampCommand(packed, time)
      const expireAt = entry.expireAt === 0 ? 0 : entry.expireAt + time - entry.time
      assert.deepEqual(decodeCommand(packed), { ...entry, time, expireAt })
    })
    holds(tt, 'and nothing else of it', moves, 500)
  },
)

t.test('a packed check is known from other commands without unpacking it', async (tt) => {
  const ops = ['check', 'checked', 'set', 'sync', 'noop', 'compareAndDelete'] as const
  const writer = new CommandWriter()
  const checks = ops.filter((op) => {
    writer.append(command({ op, time: 1 }))
    return isCheck(writer.takeOne())
  })
  tt.same(checks, ['check', 'checked'])
  tt.notOk(isCheck(new Uint8Array()))
})

t.test('a batch that was taken is not touched by what is written next', async (tt) => {
  const writer = new CommandWriter()
  writer.append(command({ op: 'set', time: 1, key: '/a', value: 'first' }))
  const batch = writer.take()
  const copy = Buffer.from(batch)
  for (let count = 0; count < 5000; count += 1)
    writer.append(command({ op: 'set', time: 2, key: '/b', value: 'x'.repeat(count % 97) }))
  tt.ok(batch.equals(copy))
  tt.equal(writer.count, 5000)
  tt.equal([...frames(writer.take())].length, 5000)
})

t.test('a text far larger than the buffer', async (tt) => {
  const writer = new CommandWriter(16)
  const value = '€'.repeat(1 << 20)
  writer.append(command({ op: 'set', time: 1, key: '/big', value }))
  tt.equal(writer.bytes > 3 << 20, true)
  const [frame] = frames(writer.take())
  tt.equal(frame === undefined ? '' : decodeCommand(frame).value, value)
})

t.test('a few bytes do not keep a large buffer in memory', async (tt) => {
  const writer = new CommandWriter()
  writer.append(command({ op: 'set', time: 1, key: '/big', value: 'x'.repeat(8 << 20) }))
  writer.take()
  writer.append(command({ op: 'noop', time: 1 }))
  tt.ok(writer.take().buffer.byteLength <= 1 << 20)
})

t.test('bytes that are no command are a broken invariant', async (tt) => {
  const writer = new CommandWriter()
  writer.append(command({ op: 'set', time: 1, key: '/a', value: 'v' }))
  const [frame = Buffer.alloc(0)] = frames(writer.take())
  const wrong = (change: (copy: Buffer) => void): Buffer => {
    const copy = Buffer.from(frame)
    change(copy)
    return copy
  }
  const cases: [what: string, bytes: Buffer, message: RegExp][] = [
    ['none at all', Buffer.alloc(0), /^no command: $/],
    ['an unknown operation', wrong((copy) => (copy[0] = 99)), /^no command: 63/],
    ['an unknown space', wrong((copy) => (copy[1] = 9)), /^no command: 0209/],
    ['a head cut short', frame.subarray(0, 10), /^no command: /],
    [
      'a length beyond the end',
      wrong((copy) => copy.writeUInt32LE(1000, 19)),
      /^no command: a text ends behind the frame$/,
    ],
    ['a frame cut short', frame.subarray(0, -1), /^no command|out of range/],
    ['a frame cut in a length', frame.subarray(0, 21), /^no command|out of|outside/],
  ]
  for (const [what, given, message] of cases)
    tt.throws(() => decodeCommand(given), { message }, what)
})

t.test('a command has nothing but what was named', async (tt) => {
  tt.strictSame(command({ op: 'sync', time: 5 }), {
    op: 'sync',
    space: 'keys',
    time: 5,
    key: '/',
    value: '',
    dir: false,
    recursive: false,
    refresh: false,
    expireAt: 0,
    prevValue: '',
    prevIndex: '',
  })
  const all: Command = {
    op: 'set',
    space: 'auth',
    time: 6,
    key: '/k',
    value: 'v',
    dir: true,
    recursive: true,
    refresh: true,
    expireAt: 7,
    prevValue: 'p',
    prevIndex: '8',
  }
  tt.strictSame(command(all), all)
})

t.test('error codes have the messages and statuses of the original', async (tt) => {
  const table: [code: ErrorCode, status: number, message: string][] = [
    [100, 404, 'Key not found'],
    [101, 412, 'Compare failed'],
    [102, 403, 'Not a file'],
    [104, 400, 'Not a directory'],
    [105, 412, 'Key already exists'],
    [107, 400, 'Root is read only'],
    [108, 403, 'Directory not empty'],
    [110, 401, 'The request requires user authentication'],
    [201, 400, 'PrevValue is Required in POST form'],
    [202, 400, 'The given TTL in POST form is not a number'],
    [203, 400, 'The given index in POST form is not a number'],
    [209, 400, 'Invalid field'],
    [210, 400, 'Invalid POST form'],
    [211, 400, 'Value provided on refresh'],
    [212, 400, 'A TTL must be provided on refresh'],
    [300, 500, 'Raft Internal Error'],
    [400, 400, 'watcher is cleared due to etcd recovery'],
    [401, 400, 'The event in requested index is outdated and cleared'],
  ]
  for (const [code, status, message] of table) {
    tt.equal(statusOf(code), status, `${code}`)
    tt.equal(messageOf(code), message, `${code}`)
  }
  tt.equal(
    refusalJson(refusal(101, '[a != "b"]', 7)),
    '{"errorCode":101,"message":"Compare failed","cause":"[a != \\"b\\"]","index":7}\n',
  )
  tt.equal(
    refusalJson(refusal(102, '', 7)),
    '{"errorCode":102,"message":"Not a file","index":7}\n',
    'an empty cause is left out',
  )
  tt.equal(isRefusal(refusal(100, '/', 1)), true)
  tt.equal(isRefusal({ index: 1 }), false)
})

t.test('times are written as Go writes them', async (tt) => {
  const cases: [ms: number, text: string][] = [
    [Date.UTC(2016, 0, 1), '2016-01-01T00:00:00Z'],
    [Date.UTC(2016, 11, 31, 23, 50, 10, 120), '2016-12-31T23:50:10.12Z'],
    [Date.UTC(2016, 0, 1, 10, 0, 0, 1), '2016-01-01T10:00:00.001Z'],
    [Date.UTC(2016, 0, 1, 10, 0, 0, 900), '2016-01-01T10:00:00.9Z'],
  ]
  for (const [ms, written] of cases) tt.equal(formatTime(ms), written)
})
