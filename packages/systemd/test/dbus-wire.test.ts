import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import {
  type Arbitrary,
  array,
  assert,
  asyncProperty,
  bigInt,
  boolean,
  constant,
  constantFrom,
  integer,
  oneof,
  property,
  string,
  tuple,
  uint8Array,
} from 'fast-check'
import t from 'tap'
import { DBusFormatError, isVariant, Reader, type Value, Writer } from '../src/dbus/marshal.ts'
import { decodeMessage, encodeMessage, MessageSplitter, METHOD_CALL } from '../src/dbus/message.ts'
import { pathOfUnit, unitOfPath } from '../src/dbus/unit-path.ts'
import { argumentsOf, busctlJson } from './helpers/busctl.ts'
import { fakeBus } from './helpers/fake-bus.ts'
import { hasProgram } from './helpers/units.ts'

const run = promisify(execFile)

/** A signature of one type and a value of it. */
type Typed = readonly [string, Value]

const text = string({ unit: 'grapheme' }).filter((each) => !each.includes('\0'))
const basic: Arbitrary<Typed> = oneof(
  tuple(constant('y'), integer({ min: 0, max: 0xff })),
  tuple(constant('b'), boolean()),
  tuple(constant('n'), integer({ min: -0x8000, max: 0x7fff })),
  tuple(constant('q'), integer({ min: 0, max: 0xffff })),
  tuple(constant('i'), integer({ min: -0x80000000, max: 0x7fffffff })),
  tuple(constant('u'), integer({ min: 0, max: 0xffffffff })),
  tuple(constant('x'), bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
  tuple(constant('t'), bigInt({ min: 0n, max: 2n ** 64n - 1n })),
  tuple(
    constant('d'),
    integer().map((n) => n / 8),
  ),
  tuple(constant('s'), text),
  tuple(constant('o'), constantFrom('/', '/a', '/org/freedesktop/systemd1')),
  tuple(constant('g'), constantFrom('', 's', 'a{sv}', '(ii)')),
)

function compound(inner: Arbitrary<Typed>): Arbitrary<Typed> {
  // All items of an array have the type of the first.
  const items = inner.chain(([signature, value]) =>
    array(constant(value), { maxLength: 3 }).map((values): Typed => {
      return [`a${signature}`, signature === 'y' ? Buffer.from(values.map(Number)) : values]
    }),
  )
  const struct = array(inner, { minLength: 1, maxLength: 4 }).map((fields): Typed => {
    return [
      `(${fields.map(([signature]) => signature).join('')})`,
      fields.map(([, value]) => value),
    ]
  })
  const dictionary = tuple(text, inner).map(([key, [signature, value]]): Typed => {
    return [`a{s${signature}}`, [[key, value]]]
  })
  const variant = inner.map(([signature, value]): Typed => ['v', { signature, value }])
  return oneof(items, struct, dictionary, variant)
}

const typed = oneof(
  basic,
  compound(basic),
  compound(compound(basic)),
  tuple(constant('ay'), uint8Array()),
)
const body = array(typed, { maxLength: 5 })

const signatureOf = (values: readonly Typed[]): string =>
  values.map(([signature]) => signature).join('')

/** Buffers and other byte arrays are equal by content. */
function plain(value: Value): unknown {
  if (value instanceof Uint8Array) return [...value]
  if (Array.isArray(value)) return value.map((each: Value) => plain(each))
  return isVariant(value) ? { signature: value.signature, value: plain(value.value) } : value
}

t.test('what was encoded decodes to the same values', (tt) => {
  assert(
    property(body, (values) => {
      const bytes = new Writer()
        .write(
          signatureOf(values),
          values.map(([, value]) => value),
        )
        .bytes()
      const back = new Reader(bytes, true).read(signatureOf(values))
      tt.same(
        back.map(plain),
        values.map(([, value]) => plain(value)),
      )
    }),
    { numRuns: 500 },
  )
  tt.end()
})

t.test('bytes that are no message are refused, never misread or looped over', (tt) => {
  const good = encodeMessage({
    type: METHOD_CALL,
    serial: 7,
    path: '/a',
    member: 'M',
    signature: 'a{sv}as',
    body: [[['k', { signature: 'u', value: 1 }]], ['x', 'y']],
  })
  assert(
    property(
      integer({ min: 0, max: good.length - 1 }),
      integer({ min: 0, max: 255 }),
      (at, byte) => {
        const bad = Buffer.from(good)
        bad[at] = byte
        try {
          decodeMessage(bad).body()
        } catch (error) {
          if (!(error instanceof DBusFormatError)) throw error
        }
      },
    ),
    { numRuns: 2000 },
  )
  for (let length = 0; length < good.length; length += 1) {
    tt.same(
      new MessageSplitter().push(good.subarray(0, length)),
      [],
      `${length} bytes are no message yet`,
    )
  }
  tt.end()
})

t.test('limits and mistakes', (tt) => {
  const encode = (signature: string, ...values: Value[]): Buffer =>
    new Writer().write(signature, values).bytes()
  const decode = (signature: string, ...bytes: number[]): Value[] =>
    new Reader(Buffer.from(bytes), true).read(signature)
  tt.throws(() => encode('s'), { message: 'signature "s" needs 1 values' })
  tt.throws(() => encode('y', 256), { code: 'DBUS_FORMAT', message: 'type y cannot hold 256' })
  tt.throws(() => encode('t', -1n), { message: 'type t cannot hold -1' })
  tt.throws(() => encode('s', 1), { message: 'type s cannot hold number' })
  tt.throws(() => encode('as', 'x'), { message: 'an array cannot hold string' })
  tt.throws(() => encode('s', 'a\0b'), { message: 'strings cannot hold a zero byte' })
  tt.throws(() => encode('(ss)', ['a']), { message: 'wrong number of fields' })
  tt.throws(() => encode('v', { signature: 'ss', value: 'a' }), {
    message: 'a variant has one type',
  })
  tt.throws(() => encode('g', 's'.repeat(256)), { message: 'signature too long' })
  for (const bad of ['z', 'a', '(', '()', '(s', 'a{s}', 'a{vs}', '{ss}', 'a{sss}']) {
    tt.throws(() => encode(bad, []), DBusFormatError, bad)
  }
  tt.throws(() => encode('a'.repeat(100) + 's', []), { message: 'signature nested too deeply' })
  tt.throws(() => decode('u', 1, 2), { message: 'message cut short' })
  tt.throws(() => decode('b', 2, 0, 0, 0), { message: 'a boolean is 0 or 1' })
  tt.throws(() => decode('s', 255, 255, 255, 255), { message: 'message cut short' })
  tt.throws(() => decode('as', 255, 255, 255, 255), { message: 'array too long' })
  tt.throws(() => decode('aq', 1, 0, 0, 0, 1, 0), { message: 'array longer than it says' })
  const nested = [...Array<number[]>(80)].flatMap(() => [1, 0x76, 0])
  tt.throws(() => decode('v', ...nested, 1, 0x79, 0, 9), { message: 'variants nested too deeply' })
  tt.throws(() => new MessageSplitter().push(Buffer.alloc(16, 'x')), {
    message: 'bad byte order mark',
  })
  const huge = Buffer.from('6c01000100000010010000000000ff00', 'hex')
  tt.throws(() => new MessageSplitter().push(huge), { message: 'message too long' })
  tt.end()
})

t.test('a big-endian message is read too', (tt) => {
  const header = '42020001 0000000a 00000003 00000010'
  const fields = '05017500 00000001 08016700 02736e00'
  const hi = '00000002 6869 00 00 fffe'
  const message = decodeMessage(Buffer.from(`${header}${fields}${hi}`.replaceAll(' ', ''), 'hex'))
  tt.match(message, { type: 2, serial: 3, replySerial: 1, signature: 'sn' })
  tt.same(message.body(), ['hi', -2])
  tt.end()
})

t.test('messages come out of a stream however it is cut', (tt) => {
  const messages = [1, 2, 3].map((serial) =>
    encodeMessage({
      type: METHOD_CALL,
      serial,
      path: '/x',
      member: 'M',
      signature: 's',
      body: ['y'.repeat(serial * 50)],
    }),
  )
  const stream = Buffer.concat(messages)
  assert(
    property(array(integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 60 }), (sizes) => {
      const splitter = new MessageSplitter()
      const serials: number[] = []
      let at = 0
      for (let turn = 0; at < stream.length; turn += 1) {
        const size = sizes[turn % sizes.length] ?? 1
        for (const message of splitter.push(stream.subarray(at, at + size)))
          serials.push(message.serial)
        at += size
      }
      tt.same(serials, [1, 2, 3])
    }),
  )
  tt.end()
})

t.test('object paths of units', (tt) => {
  tt.equal(pathOfUnit('dbus.service'), '/org/freedesktop/systemd1/unit/dbus_2eservice')
  tt.equal(pathOfUnit('1a@b-c.service'), '/org/freedesktop/systemd1/unit/_31a_40b_2dc_2eservice')
  tt.equal(unitOfPath('/org/freedesktop/systemd1/unit/_31a_40b_2dc_2eservice'), '1a@b-c.service')
  tt.equal(unitOfPath('/org/freedesktop/systemd1/job/12'), undefined)
  assert(property(string({ unit: 'grapheme' }), (name) => unitOfPath(pathOfUnit(name)) === name))
  tt.end()
})

const hasBusctl = await hasProgram('busctl')

t.test(
  'busctl sends and reads the same bytes',
  { skip: hasBusctl ? false : 'busctl is not installed' },
  async (tt) => {
    let sent: readonly Value[] = []
    let signature = ''
    const bus = await fakeBus((call) => {
      sent = call.body()
      signature = call.signature
      return { signature, body: sent }
    })
    tt.teardown(() => bus.close())
    // busctl prints text, so what cannot be printed is left out; and it wants at least one value.
    const printable = (value: Value): boolean =>
      !/[^ -~]/.test(
        JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? '' : each)),
      )
    const safe = array(
      typed.filter(([, value]) => printable(value)),
      { minLength: 1, maxLength: 3 },
    )
    await assert(
      asyncProperty(safe, async (values) => {
        const args = values.flatMap(([type, value]) => argumentsOf(type, value))
        const { stdout } = await run('busctl', [
          `--address=${bus.address}`,
          '--json=short',
          'call',
          'a.b',
          '/',
          'a.b',
          'M',
          '--',
          signatureOf(values),
          ...args,
        ])
        tt.same(
          sent.map(plain),
          values.map(([, value]) => plain(value)),
          signatureOf(values),
        )
        const printed: unknown = JSON.parse(stdout)
        tt.match(printed, {
          type: signatureOf(values),
          data: values.map(([type, value]) => busctlJson(type, value)),
        })
      }),
      { numRuns: 60 },
    )
  },
)
