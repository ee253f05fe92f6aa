import t from 'tap'
import { EtcdError } from '../../src/engine-etcd3/etcd-error.ts'
import { FrontStats } from '../../src/engine-etcd3/front-stats.ts'
import { KeyCache } from '../../src/engine-etcd3/key-cache.ts'
import { Layout } from '../../src/engine-etcd3/layout.ts'
import { Writer } from '../../src/engine-etcd3/writer.ts'
import type { Command } from '../../src/store/command.ts'
import {
  compareAndSwap,
  create,
  createInOrder,
  NOW,
  remove,
  set,
  textOf,
  update,
} from '../helpers/commands.ts'
import { ModelEtcd } from '../helpers/model-etcd.ts'
import { Random } from '../helpers/random.ts'

interface Bench {
  readonly etcd: ModelEtcd
  readonly layout: Layout
  readonly stats: FrontStats
  readonly write: (entry: Command) => Promise<string>
}

function bench(etcd = new ModelEtcd(), clock = { now: NOW }): Bench {
  const layout = new Layout('/v2')
  const stats = new FrontStats()
  const random = new Random(1)
  const writer = new Writer({
    etcd,
    layout,
    stats,
    cache: new KeyCache(),
    timeoutMs: 7000,
    random: () => random.next(),
    nowMs: () => clock.now,
  })
  return {
    etcd,
    layout,
    stats,
    write: async (entry) => textOf((await writer.write(entry)).outcome),
  }
}

t.test('keys lie where the front of etcd itself puts them', async (tt) => {
  const { etcd, write } = bench()
  await write(set('/q/x', { value: '1' }))
  tt.same(
    [...etcd.keys().values()].map(({ key, value }) => [key, value]),
    [
      ['/v2/002/k//1/q/', ''],
      ['/v2/002/x//1/q', '{}'],
      ['/v2/003/k//1/q/x', '1'],
      ['/v2/003/x//1/q/x', '{}'],
      ['/v2/evt', `{"a":"set","k":"/q/x","n":true,"t":${NOW}}`],
      ['/v2/act', 'set'],
    ],
  )
})

t.test('a second write to a known key costs one transaction and no read', async (tt) => {
  const { etcd, write } = bench()
  await write(set('/k', { value: '1' }))
  let reads = 0
  const read = etcd.read.bind(etcd)
  etcd.read = async (requests) => {
    reads += 1
    return await read(requests)
  }
  tt.equal(
    await write(set('/k', { value: '2' })),
    '{"action":"set","node":{"key":"/k","value":"2","modifiedIndex":2,"createdIndex":2},"prevNode":{"key":"/k","value":"1","modifiedIndex":1,"createdIndex":1}}',
  )
  tt.same({ reads, sent: etcd.sent }, { reads: 0, sent: 2 })
})

t.test('a refusal never comes out of what was once seen', async (tt) => {
  const etcd = new ModelEtcd()
  const [one, two] = [bench(etcd), bench(etcd)]
  await one.write(set('/k', { value: '1' }))
  await two.write(set('/k', { value: '2' }))
  tt.equal(
    await one.write(compareAndSwap('/k', { value: '3', prevValue: '2' })),
    '{"action":"compareAndSwap","node":{"key":"/k","value":"3","modifiedIndex":3,"createdIndex":2},"prevNode":{"key":"/k","value":"2","modifiedIndex":2,"createdIndex":2}}',
  )
  await two.write(remove('/k'))
  tt.equal(await one.write(update('/k', { value: '4' })), '100 /k @4')
})

t.test('who finds that somebody was faster decides again on what is there then', async (tt) => {
  const etcd = new ModelEtcd()
  const [one, two] = [bench(etcd), bench(etcd)]
  await one.write(set('/k', { value: 'a' }))
  etcd.interfere = async () => {
    etcd.interfere = async () => undefined
    await two.write(set('/k', { value: 'b' }))
  }
  const outcome = await one.write(compareAndSwap('/k', { value: 'c', prevValue: 'a' }))
  tt.equal(outcome, '101 [a != b] @2')
  tt.same({ lost: etcd.lost }, { lost: 1 })
})

t.test('64 lost races end in an error, and nothing was written', async (tt) => {
  const etcd = new ModelEtcd()
  const [one, two] = [bench(etcd), bench(etcd)]
  await one.write(set('/k'))
  let count = 0
  const rival = async (): Promise<void> => {
    etcd.interfere = async () => undefined
    count += 1
    await two.write(set('/k', { value: String(count) }))
    etcd.interfere = rival
  }
  etcd.interfere = rival
  const lost = etcd.lost
  tt.equal(await one.write(set('/k', { value: 'mine' })), '300 etcdserver: request timed out @0')
  tt.equal(etcd.lost - lost, 64)
  tt.not(etcd.keys().get('/v2/002/k//1/k')?.value, 'mine')
})

t.test('a write whose outcome is not known is told so, and is not sent again', async (tt) => {
  const { etcd, write } = bench()
  etcd.failAfter = new EtcdError('UNKNOWN', 'etcdserver: request timed out')
  const entry = createInOrder('/q', { value: '1', expireAt: NOW + 5000 })
  tt.equal(await write(entry), '300 etcdserver: request timed out @0')
  tt.equal(etcd.sent, 1)
  tt.equal(etcd.leases.size, 1, 'what may have been written keeps its lease')
  etcd.failAfter = undefined
  tt.match(await write(createInOrder('/q')), /"key":"\/q\/00000000000000000002"/)
})

t.test('a lease is given back when nothing hangs on it', async (tt) => {
  const { etcd, write } = bench()
  await write(set('/k'))
  tt.equal(await write(create('/k', { expireAt: NOW + 5000 })), '105 /k @1')
  tt.equal(etcd.leases.size, 0, 'none was needed to refuse')
  const txn = etcd.txn.bind(etcd)
  etcd.txn = async (request) => {
    etcd.txn = txn
    throw new EtcdError('REFUSED', `etcdserver: request is too large: ${request.success.length}`)
  }
  tt.match(
    await write(set('/k', { expireAt: NOW + 5000 })),
    /^300 etcdserver: request is too large/,
  )
  tt.equal(etcd.leases.size, 0)
})

t.test('in-order keys of two fronts are unique and grow with their indexes', async (tt) => {
  const etcd = new ModelEtcd()
  const fronts = [bench(etcd), bench(etcd)]
  const events = await Promise.all(
    Array.from({ length: 40 }, async (_, at) => {
      const entry = createInOrder('/q', { value: String(at) })
      return await fronts[at % 2]?.write(entry)
    }),
  )
  const made = events.map((text) => /"key":"\/q\/(\d{20})".*"createdIndex":(\d+)/.exec(text ?? ''))
  const pairs = made
    .map((found) => ({ name: Number(found?.[1]), index: Number(found?.[2]) }))
    .toSorted((left, right) => left.index - right.index)
  tt.equal(new Set(pairs.map(({ name }) => name)).size, 40)
  tt.same(
    pairs,
    pairs.toSorted((left, right) => left.name - right.name),
  )
})

t.test('a new directory is empty, whatever an expired one has left', async (tt) => {
  const { etcd, write } = bench()
  await write(set('/d', { dir: true, expireAt: NOW + 5000 }))
  await write(set('/d/a/b'))
  await write(set('/d/c'))
  const [lease = 0n] = etcd.leases
  await etcd.revokeLease(lease)
  tt.ok(etcd.keys().has('/v2/004/k//1/d/a/b'), 'the orphans are there')
  await write(set('/d/x'))
  await write(set('/d/a/y'))
  const left = [...etcd.keys().keys()].filter((key) => key.includes('/k/'))
  tt.same(left.toSorted(), [
    '/v2/002/k//1/d/',
    '/v2/003/k//1/d/a/',
    '/v2/003/k//1/d/x',
    '/v2/004/k//1/d/a/y',
  ])
})

t.test('a key of 60 components is made with one transaction', async (tt) => {
  const { etcd, write } = bench()
  tt.match(await write(set('/d'.repeat(60))), /^\{"action":"set"/)
  tt.match(await write(createInOrder('/d'.repeat(59))), /"modifiedIndex":2,"createdIndex":2\}\}$/)
  tt.equal(etcd.lost, 0)
})

t.test('a tree of any depth that etcd takes goes with one recursive delete', async (tt) => {
  const { etcd, write } = bench()
  const key = `/t${'/d'.repeat(30)}/leaf`
  tt.match(await write(set(key)), /^\{"action":"set"/)
  tt.match(await write(remove('/t', { recursive: true })), /^\{"action":"delete"/)
  tt.same([...etcd.keys().keys()].toSorted(), ['/v2/act', '/v2/evt'])
})

t.test('a write that waited too long for others of its key is refused unsent', async (tt) => {
  const clock = { now: NOW }
  const { etcd, write } = bench(new ModelEtcd(), clock)
  const first = write(set('/k', { value: '1' }))
  const second = write(set('/k', { value: '2' }))
  etcd.interfere = async () => {
    clock.now += 8000
  }
  await first
  tt.equal(await second, '300 etcdserver: request timed out @0')
  tt.equal(etcd.keys().get('/v2/002/k//1/k')?.value, '1')
})

t.test('what a front did is counted as a store counts it', async (tt) => {
  const { stats, write } = bench()
  await write(set('/k'))
  await write(create('/k'))
  await write(remove('/nope'))
  tt.match(JSON.parse(stats.json(2)), {
    setsSuccess: 1,
    createFail: 1,
    deleteFail: 1,
    deleteSuccess: 0,
    watchers: 2,
  })
})
