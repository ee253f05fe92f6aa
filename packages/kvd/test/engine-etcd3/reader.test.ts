import t from 'tap'
import { EtcdError } from '../../src/engine-etcd3/etcd-error.ts'
import { FrontStats } from '../../src/engine-etcd3/front-stats.ts'
import { KeyCache } from '../../src/engine-etcd3/key-cache.ts'
import { Layout } from '../../src/engine-etcd3/layout.ts'
import { Reader, type Found, type WantedRead } from '../../src/engine-etcd3/reader.ts'
import { Writer } from '../../src/engine-etcd3/writer.ts'
import type { Refusal } from '../../src/store/errors.ts'
import { NOW, set, textOf } from '../helpers/commands.ts'
import { ModelEtcd } from '../helpers/model-etcd.ts'

const layout = new Layout('/p')

function bench(): {
  readonly etcd: ModelEtcd
  readonly writer: Writer
  readonly read: (wanted: Partial<WantedRead>) => Promise<Found | Refusal>
} {
  const etcd = new ModelEtcd()
  const stats = new FrontStats()
  const reader = new Reader({ etcd, layout, stats })
  const cache = new KeyCache()
  const clock = { timeoutMs: 7000, random: () => 0, nowMs: () => NOW }
  const plain = { key: '/', recursive: false, sorted: true, isSerializable: false, nowMs: NOW }
  return {
    etcd,
    writer: new Writer({ etcd, layout, cache, stats, ...clock }),
    read: async (wanted) => await reader.read({ ...plain, ...wanted }),
  }
}

function jsonOf(found: Found | Refusal): string {
  return 'json' in found ? found.json : textOf(found)
}

t.test('what an expired directory has left cannot be read', async (tt) => {
  const { etcd, writer, read } = bench()
  await writer.write(set('/d', { dir: true, expireAt: NOW + 5000 }))
  await writer.write(set('/d/a/b'))
  await etcd.revokeLease([...etcd.leases][0] ?? 0n)
  tt.ok(etcd.keys().has(layout.file('/d/a/b')))
  tt.equal(jsonOf(await read({ key: '/d/a/b' })), '100 /d @3')
  tt.equal(jsonOf(await read({ recursive: true })), '{"dir":true}')
})

t.test('one member is asked only when the flag says so, and then for every part', async (tt) => {
  const { etcd, writer, read } = bench()
  await writer.write(set('/a/b/c'))
  const asked: (boolean | undefined)[] = []
  const ask = etcd.read.bind(etcd)
  etcd.read = async (requests) => {
    asked.push(...requests.map(({ serializable }) => serializable))
    return await ask(requests)
  }
  await read({ recursive: true, isSerializable: true })
  tt.ok(asked.length > 4 && asked.every((flag) => flag === true))
  asked.length = 0
  await read({ recursive: true })
  tt.ok(asked.length > 4 && asked.every((flag) => flag === false))
})

t.test('a listing is of one revision, whatever is written in the middle of it', async (tt) => {
  const { etcd, writer, read } = bench()
  await writer.write(set('/a/b/c', { value: 'old' }))
  const ask = etcd.read.bind(etcd)
  etcd.read = async (requests) => {
    const answer = await ask(requests)
    etcd.read = ask
    await writer.write(set('/a/b/c', { value: 'new' }))
    return answer
  }
  const found = await read({ recursive: true })
  tt.match(jsonOf(found), /"value":"old"/)
  tt.match(found, { header: { revision: 2 } })
})

t.test(
  'a listing whose revision etcd forgets begins again, three times at the most',
  async (tt) => {
    const { etcd, writer, read } = bench()
    await writer.write(set('/a/b/c'))
    const ask = etcd.read.bind(etcd)
    let left = 2
    etcd.read = async (requests) => {
      if ((requests[0]?.revision ?? 0) === 0) return await ask(requests)
      if (left === 0) return await ask(requests)
      left -= 1
      throw new EtcdError('COMPACTED', 'etcdserver: mvcc: required revision has been compacted')
    }
    tt.match(jsonOf(await read({ recursive: true })), /"\/a\/b\/c"/)
    left = 3
    tt.match(jsonOf(await read({ recursive: true })), /^300 etcdserver: mvcc: .* compacted @0$/)
  },
)
