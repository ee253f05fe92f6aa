import t from 'tap'
import { encodeChange, type MemberChange } from '../../src/membership/change.ts'
import type { Proposal } from '../../src/raft/types.ts'
import { problemOf } from '../../src/replica/forwarded.ts'
import { DATA_BYTES_MAX } from '../../src/storage/entry-codec.ts'
import { attributesCommand, versionCommand } from '../../src/cluster.ts'
import { command, CommandWriter, type Command } from '../../src/store/command.ts'
import { NOW } from '../helpers/commands.ts'
import { ReplicaLab } from '../helpers/replica-lab.ts'

function packed(entry: Command): Buffer {
  const writer = new CommandWriter()
  writer.append(entry)
  return writer.takeOne()
}

function request(fields: Partial<Command>): Proposal {
  return { kind: 'request', id: 'x1', data: packed(command({ op: 'set', time: NOW, ...fields })) }
}

function conf(change: unknown): Proposal {
  return { kind: 'conf', id: 'x/1', data: Buffer.from(JSON.stringify(change)) }
}

t.test('what members propose can be an entry', async (tt) => {
  const good: readonly Proposal[] = [
    request({ key: '/a/b', value: 'v', expireAt: NOW + 1000, prevIndex: '18446744073709551615' }),
    request({ op: 'createInOrder', key: '/q' }),
    request({ op: 'delete', key: '/.hidden/..x/a.b', dir: true, recursive: true }),
    request({ op: 'sync' }),
    request({ op: 'check', time: 0, value: 'a1' }),
    request({ key: '/\n\u{dcff}é' }),
    request({ key: '/a', expireAt: NOW + 7_400_000_000_000 }),
    request({ key: `/a${'/b'.repeat(999)}` }),
    request({ space: 'auth', key: '/2/users/root', value: '{"user":"root","roles":["a"]}' }),
    request({ space: 'auth', key: '/2/roles/\u{dcff}', value: '{"role":"a"}' }),
    request({ space: 'auth', op: 'delete', key: '/2/users/é' }),
    request({ space: 'auth', op: 'create', key: '/2/users', dir: true }),
    request({ space: 'auth', op: 'create', key: '/2/enabled', value: 'false' }),
    { kind: 'request', id: 'x1', data: packed(versionCommand(NOW)) },
    {
      kind: 'request',
      id: 'x1',
      data: packed(attributesCommand('a1', { name: 'é', clientURLs: [] }, NOW)),
    },
  ]
  for (const proposal of good) tt.equal(problemOf(proposal), undefined)
  const changes: readonly MemberChange[] = [
    { type: 'add', id: 'a1', peerURLs: ['http://x:1'], isLearner: true },
    { type: 'promote', id: 'a1' },
    { type: 'update', id: 'a1', peerURLs: [] },
    { type: 'remove', id: 'ffffffffffffffff' },
  ]
  for (const change of changes)
    tt.equal(problemOf({ kind: 'conf', id: 'x/1', data: encodeChange(change) }), undefined)
})

t.test('what no frame between members would hold can not', async (tt) => {
  const value = 'x'.repeat(DATA_BYTES_MAX - 1000)
  tt.equal(problemOf(request({ key: '/a', value })), undefined)
  tt.match(problemOf(request({ key: '/a', value, prevValue: value })), /^\d+ bytes$/)
})

t.test('what would end every member that applies it can not', async (tt) => {
  const whole = packed(command({ op: 'set', time: NOW, key: '/a', value: 'v' }))
  const torn = (end: number): Proposal => ({
    kind: 'request',
    id: 'x1',
    data: whole.subarray(0, end),
  })
  const strange = Buffer.from(whole)
  strange[0] = 200
  const cases: readonly (readonly [Proposal, RegExp])[] = [
    [{ kind: 'noop', id: '', data: Buffer.alloc(0) }, /no-op/],
    [torn(0), /no command/],
    [torn(10), /no command/],
    [torn(whole.length - 9), /no command/],
    [{ kind: 'request', id: 'x1', data: strange }, /no command/],
    [request({ key: '' }), /the key ""/],
    [request({ key: 'a' }), /the key "a"/],
    [request({ key: '/a/' }), /the key/],
    [request({ key: '/a//b' }), /the key/],
    [request({ key: '/a/../b' }), /the key/],
    [request({ key: '/.' }), /the key/],
    [request({ time: NaN }), /time/],
    [request({ expireAt: Infinity }), /a TTL of Infinity/],
    [request({ expireAt: NOW + 8e12 }), /a TTL of/],
    [request({ expireAt: NOW - 1 }), /a TTL of -1/],
    [request({ time: -9e15, expireAt: 1 }), /a TTL of/],
    [request({ key: `/a${'/b'.repeat(1_000)}` }), /the key "\/a.{97}\.\.\.$/],
    [request({ space: 'auth', key: '/2/users/root', value: '{' }), /no JSON/],
    [request({ space: 'auth', key: '/2/roles/a', value: '{"permissions":1}' }), /no object/],
    [request({ space: 'auth', key: '/2/users/a', dir: true }), /a write to/],
    [request({ space: 'auth', key: '/2/enabled', expireAt: NOW + 1 }), /a write to/],
    [request({ space: 'auth', key: '/2/users', value: 'x' }), /a write to/],
    [request({ space: 'auth', key: '/3' }), /of users and roles/],
    [request({ prevIndex: '01' }), /the index "01"/],
    [request({ prevIndex: 'x' }), /the index/],
    [request({ space: 'cluster', key: '/members/a1/raftAttributes', value: '{}' }), /write to/],
    [request({ space: 'cluster', op: 'delete', key: '/version' }), /write to/],
    [request({ space: 'cluster', key: '/version', dir: true }), /write to/],
    [request({ space: 'cluster', key: '/version', expireAt: NOW + 1 }), /write to/],
    [request({ space: 'cluster', key: '/members/a1/attributes', value: '{' }), /JSON/],
    [request({ space: 'cluster', key: '/members/a1/attributes', value: 'null' }), /no object/],
    [
      request({ space: 'cluster', key: '/members/a1/attributes', value: '{"clientURLs":"x"}' }),
      /attributes/,
    ],
    [{ kind: 'conf', id: 'x/1', data: Buffer.from('{') }, /JSON/],
    [conf(null), /no object/],
    [conf({ type: 'add', id: 'a1', peerURLs: ['x'] }), /of no kind/],
    [conf({ type: 'add', id: 'a1', isLearner: false }), /without peer URLs/],
    [conf({ type: 'update', id: 'a1', peerURLs: [1] }), /without peer URLs/],
    [conf({ type: 'remove', id: '../a' }), /of no member/],
    [conf({ type: 'remove' }), /of no member/],
    [conf({ type: 'remove', id: '0' }), /of no member/],
    [conf({ type: 'shrink', id: 'a1' }), /a change shrink/],
  ]
  for (const [proposal, problem] of cases)
    tt.match(problemOf(proposal), problem, Buffer.from(proposal.data).toString('latin1'))
})

t.test('a leader goes on after a proposal that can be no entry', async (tt) => {
  const lab = new ReplicaLab(tt, ['a', 'b', 'c'])
  const leader = lab.member(await lab.leader())
  const other = lab.members.find(({ id }) => id !== leader.id)
  const { lastIndex, term } = leader.replica
  const proposal = { kind: 'request', id: 'x1', data: Buffer.from('nonsense') } as const
  const [from, to] = [other?.id ?? '', leader.id]
  leader.replica.receive([{ type: 'prop', from, to, term, incarnation: 1, proposal }])
  const outcome = await leader.replica.proposeAsync(command({ op: 'set', time: NOW, key: '/a' }))
  tt.match(outcome, { action: 'set', key: '/a' })
  tt.equal(leader.replica.lastIndex, lastIndex + 1, 'and keeps it out of the log')
})
