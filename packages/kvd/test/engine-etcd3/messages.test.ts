import t from 'tap'
import { EncodingError, FieldReader, FieldWriter } from '../../src/engine-etcd3/protobuf.ts'
import {
  encodeAuthenticate,
  encodeLeaseGrant,
  encodeLeaseRevoke,
  encodeMemberChange,
  encodeNothing,
  encodeTxn,
  encodeWatch,
} from '../../src/engine-etcd3/requests.ts'
import {
  decodeHeader,
  decodeMemberAdded,
  decodeMembers,
  decodeStatus,
  decodeToken,
  decodeTxn,
  decodeWatch,
} from '../../src/engine-etcd3/responses.ts'

/** Bytes by hand: hexadecimal with blanks, and texts in quotes. */
function bytes(text: string): Buffer {
  const parts = text.match(/"[^"]*"|[0-9a-f]{2}/g) ?? []
  return Buffer.concat(
    parts.map((part) =>
      part.startsWith('"') ? Buffer.from(part.slice(1, -1)) : Buffer.from(part, 'hex'),
    ),
  )
}

function sized(field: string, content: Buffer): Buffer {
  return Buffer.concat([bytes(field), Buffer.of(content.length), content])
}

const HEADER = bytes('08 f2 a7 a9 f6 e9 f3 9f e7 d1 01  10 0a 18 ac 02 20 03')

t.test('requests have the field numbers of etcd', async (tt) => {
  tt.same(encodeNothing(), bytes(''))
  tt.same(
    encodeTxn({
      compare: [
        { target: 'mod', key: 'a', is: 300 },
        { target: 'version', key: 'b', end: 'c', is: 0 },
        { target: 'create', key: 'd', than: 'greater', is: 1 },
      ],
      success: [
        { type: 'put', key: 'k', value: 'v', lease: 5n },
        { type: 'delete', key: 'k', end: 'l' },
      ],
      failure: [{ type: 'range', key: 'k', limit: 1, revision: 7, serializable: true }],
    }),
    Buffer.concat([
      sized('0a', bytes('10 02 1a 01 "a" 30 ac 02')),
      sized('0a', bytes('1a 01 "b" 20 00 82 04 01 "c"')),
      sized('0a', bytes('08 01 10 01 1a 01 "d" 28 01')),
      sized('12', sized('12', bytes('0a 01 "k" 12 01 "v" 18 05'))),
      sized('12', sized('1a', bytes('0a 01 "k" 12 01 "l"'))),
      sized('1a', sized('0a', bytes('0a 01 "k" 18 01 20 07 38 01'))),
    ]),
  )
  tt.same(
    encodeWatch({ key: 'a', end: 'b', startRevision: 9 }),
    sized('0a', bytes('0a 01 "a" 12 01 "b" 18 09 30 01')),
  )
  tt.same(encodeLeaseGrant({ id: 128n, ttlSeconds: 60 }), bytes('08 3c 10 80 01'))
  tt.same(encodeLeaseRevoke(1n), bytes('08 01'))
  tt.same(encodeAuthenticate({ name: 'u', password: 'p' }), bytes('0a 01 "u" 12 01 "p"'))
  tt.same(encodeMemberChange({ type: 'add', peerURLs: ['x'] }), bytes('0a 01 "x"'))
  tt.same(encodeMemberChange({ type: 'remove', id: 'ff' }), bytes('08 ff 01'))
  tt.same(
    encodeMemberChange({ type: 'update', id: '1', peerURLs: ['x', 'y'] }),
    bytes('08 01 12 01 "x" 12 01 "y"'),
  )
})

const header = {
  clusterId: 'd1cfaf3e9ec a53f2'.replace(' ', ''),
  memberId: 'a',
  revision: 300,
  raftTerm: 3,
}

t.test('answers are read, and fields that nobody knows are stepped over', async (tt) => {
  const unknown = bytes('f8 01 05 f9 01 00 00 00 00 00 00 00 00 fa 01 01 "?" fd 01 00 00 00 00')
  const head = decodeHeader(Buffer.concat([unknown, sized('0a', HEADER)]))
  tt.same({ ...head, clusterId: '' }, { ...header, clusterId: '' })
  tt.equal(BigInt(`0x${head.clusterId}`) > 2n ** 63n, true, 'all 64 bits of an id')
  const kv = bytes('0a 01 "k" 10 02 18 03 20 01 2a 02 ff "v" 30 07')
  const found = { key: 'k', value: '\udcffv', createRevision: 2, modRevision: 3, lease: 7n }
  const range = sized('1a', sized('0a', Buffer.concat([sized('12', kv), bytes('20 01')])))
  const put = sized('1a', sized('12', bytes('')))
  tt.same(decodeTxn(Buffer.concat([sized('0a', HEADER), bytes('10 01'), put, range])), {
    header: head,
    succeeded: true,
    ranges: [[found]],
  })
  const event = Buffer.concat([
    bytes('08 01'),
    sized('12', bytes('0a 01 "k" 18 04')),
    sized('1a', kv),
  ])
  const watched = decodeWatch(
    Buffer.concat([bytes('18 01 20 01 28 05 32 01 "r"'), sized('5a', event)]),
  )
  tt.match(watched, { isCreated: true, isCanceled: true, compactRevision: 5, cancelReason: 'r' })
  tt.match(watched.events, [{ type: 'delete', kv: { key: 'k', modRevision: 4 }, previous: found }])
  tt.equal(decodeToken(bytes('12 03 "t.1"')), 't.1')
  const member = bytes('08 ff 01 12 01 "n" 1a 01 "p" 22 01 "c" 28 01')
  const seen = { id: 'ff', name: 'n', peerURLs: ['p'], clientURLs: ['c'] }
  tt.match(decodeMembers(sized('12', member)), { members: [seen], added: undefined })
  tt.match(decodeMemberAdded(Buffer.concat([sized('12', member), sized('1a', member)])), {
    members: [seen],
    added: seen,
  })
  tt.match(decodeStatus(bytes('12 06 "3.4.23" 20 0a 28 05')), {
    version: '3.4.23',
    leader: 'a',
    raftIndex: 5,
  })
})

t.test('bytes that are no message are refused', async (tt) => {
  for (const text of ['0a', '0a 05 00', '08', '08 80', 'f9 01 00', '18 02 1a'])
    tt.throws(() => decodeTxn(bytes(text)), EncodingError, text)
  tt.throws(() => decodeTxn(bytes('12 01 00')), EncodingError, 'a text where a flag belongs')
})

t.test('numbers of any size survive', async (tt) => {
  for (const value of [0n, 1n, 127n, 128n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 64n - 1n]) {
    const reader = new FieldReader(new FieldWriter().number(3, value).finish())
    tt.equal(reader.next() ? reader.big() : 0n, value)
  }
  const reader = new FieldReader(new FieldWriter().number(1, 2 ** 52 + 1).finish())
  tt.equal(reader.next() ? reader.number() : 0, 2 ** 52 + 1)
})
