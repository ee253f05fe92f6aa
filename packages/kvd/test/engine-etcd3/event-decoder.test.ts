import t from 'tap'
import { EventDecoder, type Happening } from '../../src/engine-etcd3/event-decoder.ts'
import { FrontStats } from '../../src/engine-etcd3/front-stats.ts'
import { KeyCache } from '../../src/engine-etcd3/key-cache.ts'
import { Layout } from '../../src/engine-etcd3/layout.ts'
import { listBelow, sweep } from '../../src/engine-etcd3/subtree.ts'
import { Writer } from '../../src/engine-etcd3/writer.ts'
import type { Command } from '../../src/store/command.ts'
import { NOW, remove, set, update } from '../helpers/commands.ts'
import { ModelEtcd } from '../helpers/model-etcd.ts'
import { Random } from '../helpers/random.ts'

const layout = new Layout('/p')

class Bench {
  readonly etcd = new ModelEtcd()
  readonly decoder = new EventDecoder({
    layout,
    listBelow: async (dir, revision) =>
      (await listBelow(this.etcd, layout, { dir, revision })).map(({ key }) => key).toReversed(),
  })
  readonly #writer: Writer
  #told = 1

  constructor() {
    const random = new Random(1)
    this.#writer = new Writer({
      etcd: this.etcd,
      layout,
      stats: new FrontStats(),
      cache: new KeyCache(),
      timeoutMs: 7000,
      random: () => random.next(),
      nowMs: () => NOW,
    })
  }

  async write(...entries: readonly Command[]): Promise<void> {
    for (const entry of entries) await this.#writer.write(entry)
  }

  /** The lease that was granted as the nth, from 0, ends. */
  async expire(nth: number): Promise<void> {
    await this.etcd.revokeLease([...this.etcd.leases][nth] ?? 0n)
  }

  /** What happened since the last call. */
  async happenings(): Promise<Happening[]> {
    const all: Happening[] = []
    for (; this.#told < this.etcd.revision; this.#told += 1) {
      const revision = this.#told + 1
      all.push(...(await this.decoder.decode(revision, this.etcd.changes(revision))))
    }
    return all
  }

  async texts(): Promise<string[]> {
    return (await this.happenings()).map(({ event }) => event.json)
  }
}

const TTL = { expireAt: NOW + 5000 }
const EXPIRATION = '"expiration":"2016-01-01T00:00:05Z"'

t.test('a file that went by its lease has expired', async (tt) => {
  const bench = new Bench()
  await bench.write(set('/k', { value: '1', ...TTL }))
  await bench.happenings()
  await bench.expire(0)
  const [happening] = await bench.happenings()
  tt.equal(
    happening?.event.json,
    `{"action":"expire","node":{"key":"/k","modifiedIndex":2,"createdIndex":1},"prevNode":{"key":"/k","value":"1",${EXPIRATION},"modifiedIndex":1,"createdIndex":1}}`,
  )
  tt.same(happening?.removed, ['/k'])
})

t.test('an expired directory is one event, and takes along all that was in it', async (tt) => {
  const bench = new Bench()
  await bench.write(set('/d', { dir: true, ...TTL }), set('/d/a/b'), set('/d/c', TTL))
  await bench.happenings()
  await bench.expire(0)
  const [happening, ...more] = await bench.happenings()
  tt.equal(
    happening?.event.json,
    `{"action":"expire","node":{"key":"/d","modifiedIndex":4,"createdIndex":1},"prevNode":{"key":"/d","dir":true,${EXPIRATION},"modifiedIndex":1,"createdIndex":1}}`,
  )
  tt.same(happening?.removed, ['/d/a/b', '/d/c', '/d/a', '/d'], 'children first')
  tt.same(more, [])
  await bench.expire(0)
  tt.same(await bench.texts(), [], 'what it held is gone already when its own time comes')
  await bench.write(set('/d/c', TTL))
  await bench.happenings()
  await bench.expire(0)
  tt.match(await bench.texts(), [/"action":"expire","node":\{"key":"\/d\/c"/], 'a new one counts')
})

t.test('clearing away what an expired directory left is no event', async (tt) => {
  const bench = new Bench()
  await bench.write(set('/d', { dir: true, ...TTL }), set('/d/a/b'), set('/other'))
  await bench.expire(0)
  await bench.happenings()
  const orphans = await listBelow(bench.etcd, layout, { dir: '/d', revision: bench.etcd.revision })
  tt.same(
    orphans.map(({ key }) => key),
    ['/d/a', '/d/a/b'],
  )
  await sweep(bench.etcd, layout, '/d', orphans)
  tt.same(await bench.texts(), [])
  const { revision } = bench.etcd
  await sweep(bench.etcd, layout, '/d', orphans)
  tt.equal(bench.etcd.revision, revision, 'a second front finds nothing to do')
  const left = [...bench.etcd.keys().keys()].filter((key) => key.includes('/k/'))
  tt.same(left, ['/p/002/k//1/other'])
})

t.test('with the directory there again, only what the old one left is cleared away', async (tt) => {
  const bench = new Bench()
  await bench.write(set('/d', { dir: true, ...TTL }), set('/d/a/b/c'))
  await bench.expire(0)
  const orphans = await listBelow(bench.etcd, layout, { dir: '/d', revision: bench.etcd.revision })
  await bench.write(set('/d/x'))
  await sweep(bench.etcd, layout, '/d', orphans)
  const left = [...bench.etcd.keys().keys()].filter((key) => /\/[kx]\//.test(key))
  tt.same(left.toSorted(), [
    '/p/002/k//1/d/',
    '/p/002/x//1/d',
    '/p/003/k//1/d/x',
    '/p/003/x//1/d/x',
  ])
})

t.test('a recursive delete removes what was below it, and only that', async (tt) => {
  const bench = new Bench()
  await bench.write(set('/d/a/b'), set('/d/c'), set('/e'))
  await bench.happenings()
  await bench.write(remove('/d', { recursive: true }))
  const [happening] = await bench.happenings()
  tt.equal(
    happening?.event.json,
    '{"action":"delete","node":{"key":"/d","dir":true,"modifiedIndex":4,"createdIndex":1},"prevNode":{"key":"/d","dir":true,"modifiedIndex":1,"createdIndex":1}}',
  )
  tt.same(happening?.removed, ['/d/a/b', '/d/a', '/d/c', '/d'], 'children first')
})

t.test('a refresh is marked as one', async (tt) => {
  const bench = new Bench()
  await bench.write(set('/k', TTL), update('/k', { refresh: true, expireAt: NOW + 9000 }))
  tt.same(
    (await bench.happenings()).map(({ event }) => event.refresh),
    [false, true],
  )
})

t.test('writes that are no event of this tree are no event', async (tt) => {
  const bench = new Bench()
  const put = { type: 'put', value: 'x', lease: 0n } as const
  for (const key of ['/p/002/k//1/foreign', '/p/other', '/p/act', '/p/evt'])
    await bench.etcd.txn({ compare: [], success: [{ ...put, key }], failure: [] })
  tt.same(await bench.texts(), [])
})
