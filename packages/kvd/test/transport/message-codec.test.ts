import { Buffer } from 'node:buffer'
import * as fc from 'fast-check'
import t from 'tap'
import type { Entry, Message, MessageBody } from '../../src/raft/types.ts'
import { crc32 } from '../../src/storage/checksum.ts'
import { MessageWriter, readMessages } from '../../src/transport/message-codec.ts'
import { countFrom, Random, seedFrom } from '../helpers/random.ts'

const whole = fc.oneof(fc.nat(9), fc.maxSafeNat())
const u32 = fc.nat(0xffff_ffff)
const name = fc.string({
  unit: fc.integer({ min: 0, max: 255 }).map((unit) => String.fromCharCode(unit)),
  maxLength: 20,
})
const flag = fc.boolean()
const proposal = fc.record(
  {
    kind: fc.constantFrom('noop' as const, 'request' as const, 'conf' as const),
    id: name,
    data: fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
  },
  { noNullPrototype: true },
)
const entries = fc
  .tuple(
    fc.integer({ min: 1, max: 1000 }),
    fc.array(fc.tuple(proposal, whole, u32), { maxLength: 5 }),
  )
  .map(([first, list]) =>
    list.map(([fields, term, chain], at): Entry => ({ ...fields, index: first + at, term, chain })),
  )
const conf = fc.record(
  { voters: fc.array(name), learners: fc.array(name) },
  { noNullPrototype: true },
)

function record<T extends MessageBody>(fields: {
  [K in keyof T]: fc.Arbitrary<T[K]>
}): fc.Arbitrary<T> {
  return fc.record(fields, { noNullPrototype: true }) as fc.Arbitrary<T>
}

const body: fc.Arbitrary<MessageBody> = fc.oneof(
  fc.record(
    {
      type: fc.constantFrom('preVote' as const, 'vote' as const),
      lastIndex: whole,
      lastTerm: whole,
      isTransfer: flag,
    },
    { noNullPrototype: true },
  ),
  record({ type: fc.constant('preVoteResp' as const), isGranted: flag }),
  record({ type: fc.constant('voteResp' as const), isGranted: flag, wallMs: whole }),
  record({
    type: fc.constant('app' as const),
    prevIndex: whole,
    prevTerm: whole,
    prevChain: u32,
    commit: whole,
    entries,
  }).map((app) => ({ ...app, prevIndex: (app.entries[0]?.index ?? app.prevIndex + 1) - 1 })),
  record({ type: fc.constant('appResp' as const), index: whole, isDamaged: flag }),
  record({
    type: fc.constant('appReject' as const),
    index: whole,
    hintIndex: whole,
    hintTerm: whole,
  }),
  record({
    type: fc.constant('hb' as const),
    commit: whole,
    life: whole,
    readBatch: whole,
    clusterMs: whole,
  }),
  record({
    type: fc.constant('hbResp' as const),
    readBatch: whole,
    wallMs: whole,
    isDamaged: flag,
  }),
  record({ type: fc.constant('lost' as const), life: whole }),
  record({ type: fc.constant('whole' as const), life: whole, index: whole, lastTerm: whole }),
  record({ type: fc.constant('readIdx' as const), batch: whole }),
  record({ type: fc.constant('readIdxResp' as const), batch: whole, index: whole }),
  record({ type: fc.constant('prop' as const), proposal }),
  record({
    type: fc.constant('propResp' as const),
    id: name,
    result: fc.oneof(
      fc.constant({ type: 'dropped' as const }),
      fc.record(
        { type: fc.constant('appended' as const), index: whole, term: whole },
        { noNullPrototype: true },
      ),
    ),
  }),
  record({
    type: fc.constant('snapOffer' as const),
    meta: fc.record({ index: whole, term: whole, chain: u32, conf }, { noNullPrototype: true }),
  }),
  record({ type: fc.constant('snapResp' as const), index: whole, isOk: flag }),
  record({ type: fc.constant('timeoutNow' as const) }),
)
const message: fc.Arbitrary<Message> = fc
  .tuple(body, name, name, whole, whole)
  .map(([fields, from, to, term, incarnation]) => ({ ...fields, from, to, term, incarnation }))

function packed(messages: readonly Message[]): Buffer {
  const writer = new MessageWriter()
  for (const one of messages) writer.write(one)
  return writer.take()
}

t.test('messages survive the wire, many in one frame', async (tt) => {
  const survive = fc.property(fc.array(message, { maxLength: 6 }), (list) => {
    tt.strictSame(readMessages(packed(list)), list)
  })
  fc.assert(survive, { numRuns: 1000 })
})

const example: Message = {
  type: 'app',
  from: 'a',
  to: 'b',
  term: 3,
  incarnation: 1,
  prevIndex: 4,
  prevTerm: 2,
  prevChain: 5,
  commit: 4,
  entries: [
    { index: 5, term: 3, kind: 'request', id: 'r', data: Buffer.from('data'), chain: 6 },
    { index: 6, term: 3, kind: 'noop', id: '', data: Buffer.alloc(0), chain: 7 },
  ],
}

t.test('whatever is cut or changed is refused', async (tt) => {
  const bytes = packed([example])
  for (let size = 1; size < bytes.length; size += 1)
    tt.throws(() => readMessages(bytes.subarray(0, size)), { name: 'CodecError' }, `${size} bytes`)
  for (let at = 0; at < bytes.length; at += 1) {
    const changed = Buffer.from(bytes)
    changed[at] = (changed[at] ?? 0) ^ 0x40
    tt.throws(() => readMessages(changed), { name: 'CodecError' }, `byte ${at}`)
  }
  tt.same(readMessages(Buffer.alloc(0)), [])
})

const seed = seedFrom('FLOTILLA_CODEC_SEED')
const rounds = countFrom('FLOTILLA_CODEC_ROUNDS', 20_000)

t.test(`bytes of any kind give messages or a CodecError (seed ${seed})`, async (tt) => {
  const random = new Random(seed)
  const bytes = packed([example])
  let refused = 0
  for (let round = 0; round < rounds; round += 1) {
    const changed = Buffer.from(bytes)
    for (let change = random.int(1, 4); change > 0; change -= 1)
      changed[random.int(0, changed.length - 1)] = random.int(0, 255)
    // Half of them get a right checksum again, so that what is behind it is tried as well.
    if (random.chance(0.5)) {
      changed.writeUInt32LE(changed.length - 12, 4)
      changed.writeUInt32LE(crc32(changed.subarray(12)), 8)
    }
    try {
      readMessages(changed)
    } catch (error) {
      if (!(error instanceof Error) || error.name !== 'CodecError') throw error
      refused += 1
    }
  }
  tt.ok(refused > rounds / 2, `${refused} of ${rounds} refused`)
})

t.test('entries that do not follow each other are refused', async (tt) => {
  const [first] = example.entries
  if (first === undefined) throw new Error('no entry')
  tt.throws(
    () => readMessages(packed([{ ...example, entries: [first, { ...first, index: 7 }] }])),
    {
      message: 'entry 7 in the place of 6',
    },
  )
  tt.throws(() => readMessages(packed([{ ...example, prevIndex: example.prevIndex + 1 }])), {
    message: 'entry 5 in the place of 6',
  })
})

t.test('each follower gets the entries that are there, whatever others got before', async (tt) => {
  const entry = (index: number, term: number): Entry => {
    const data = Buffer.from(`${index} of ${term}`)
    return { index, term, kind: 'request', id: `x${index}`, data, chain: term }
  }
  const [one, two, three] = [entry(1, 1), entry(2, 1), entry(3, 1)]
  const [second, third, fourth] = [entry(2, 2), entry(3, 2), entry(4, 2)]
  const full = [one, two, three]
  const lists = [full, [...full], [], [one, two, third], full, [one, second, third]]
  lists.push([one, two, third, fourth], [one], [one], [two], full)
  const writer = new MessageWriter()
  const app = { type: 'app', from: 'a', term: 2, incarnation: 1, prevTerm: 0 } as const
  for (const [at, list] of lists.entries())
    writer.write({
      ...app,
      to: `f${at}`,
      prevChain: 0,
      commit: 0,
      entries: list,
      prevIndex: (list[0]?.index ?? 1) - 1,
    })
  const found = readMessages(writer.take())
  tt.same(
    found.map((sent) => (sent.type === 'app' ? sent.entries : undefined)),
    lists,
  )
})
