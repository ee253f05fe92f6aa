import { setImmediate as breathe } from 'node:timers/promises'
import * as fc from 'fast-check'
import tap, { test } from 'tap'
import { createClient } from '../../src/index.ts'
import type { KvClient, KvResponse, WatchEvent } from '../../src/index.ts'
import { Cutter } from '../helpers/cutter.ts'
import { findEtcd, findKvd, start } from '../helpers/programs.ts'
import { checkSequence, propertyOptions } from '../helpers/sequence.ts'

// The same against the servers themselves: a real etcd by long polls, our kvd over WebSocket and by
// long polls. Each is skipped where it is not there.

tap.setTimeout(600_000)

const TARGETS = [
  { name: 'etcd by long polls', program: findEtcd(), webSocket: false },
  { name: 'etcd, asked for a WebSocket first,', program: findEtcd(), webSocket: true },
  { name: 'kvd over WebSocket', program: findKvd(), webSocket: true },
  { name: 'kvd by long polls', program: findKvd(), webSocket: false },
]

for (const { name, program, webSocket } of TARGETS) {
  const skip = program === undefined ? 'not installed or not built' : false
  const long = { skip, timeout: 600_000 }

  test(`${name}: the API as the client sees it`, { skip }, async (t) => {
    if (program === undefined) return
    const { port } = await start(t, program)
    const kv = createClient({ endpoints: [`127.0.0.1:${port}`], webSocket, sync: true })
    t.teardown(() => kv.close())
    const first = await kv.set('/a ü/x', 'v+w &', { ttl: 100 })
    t.match(first, { action: 'set', node: { key: '/a ü/x', value: 'v+w &', ttl: 100 } })
    t.equal(first.etcdIndex, first.node.modifiedIndex)
    t.equal((await kv.get('/a ü/x', { quorum: true })).node.value, 'v+w &')
    await t.rejects(kv.create('/a ü/x', ''), {
      name: 'KvError',
      errorCode: 105,
      subject: '/a ü/x',
      status: 412,
    } as const)
    await t.rejects(kv.set('/a ü/x', '', { prevValue: 'no' }), {
      name: 'KvError',
      errorCode: 101,
    } as const)
    await t.rejects(kv.get('/none/x'), {
      name: 'KvError',
      errorCode: 100,
      subject: '/none',
      status: 404,
    } as const)
    await t.rejects(kv.set('/a ü', ''), { name: 'KvError', errorCode: 102 } as const)
    t.equal((await kv.set('/a ü/x', '', { refresh: true, ttl: 50 })).node.value, 'v+w &')
    t.match(await kv.createInOrder('/q', 'job'), { action: 'create', node: { value: 'job' } })
    t.match(await kv.mkdir('/d'), { node: { dir: true } })
    t.equal((await kv.get('/', { recursive: true, sorted: true })).node.key, '/')
    t.match(await kv.delete('/a ü', { recursive: true }), { action: 'delete' })
    t.equal((await kv.members()).length, 1)
    t.equal(await kv.health(`http://127.0.0.1:${port}`), true)
    t.match(await kv.version(), { etcdcluster: /^\d/ })
    if (program.name === 'etcd') t.strictSame(await kv.users(), [])
  })

  test(`${name}: a watch that is cut at random sees each event once, in order`, long, async (t) => {
    if (program === undefined) return
    const { port } = await start(t, program)
    const cutter = await new Cutter(port).listen()
    const writer = createClient({ endpoints: [`127.0.0.1:${port}`] })
    t.teardown(() => cutter.close())
    t.teardown(() => writer.close())
    let round = 0
    const cuts = fc.array(fc.integer({ min: 0, max: 3000 }), { maxLength: 20 })
    const ops = fc.array(fc.constantFrom('a', 'b', '_hidden', 'cut', 'wait', '../x'), {
      maxLength: 60,
    })
    const property = fc.asyncProperty(ops, cuts, async (steps, budgets) => {
      cutter.budget = () => budgets.shift()
      const prefix = `/w${++round}`
      const base = (await writer.mkdir(prefix)).etcdIndex
      const kv = createClient({
        endpoints: [cutter.url],
        webSocket,
        backoff: { minMs: 1, maxMs: 5 },
      })
      try {
        const seen = collect(kv, prefix, base)
        const log: KvResponse[] = []
        for (const step of steps) {
          if (step === 'cut') cutter.cut()
          else if (step === 'wait') await breathe()
          else log.push(await writer.set(`${prefix}/${step}`, step))
        }
        log.push(await writer.set(`${prefix}/end`, ''))
        const plain = log.filter(({ node }) => !node.key.includes('/_'))
        const gaps = checkSequence({ base, log: plain, items: await seen, prefix })
        if (gaps > 0) throw new Error('there was no reason for a gap')
      } finally {
        kv.close()
      }
    })
    await fc.assert(property, propertyOptions(t, 15))
    t.comment(`${cutter.cuts} connections were cut in the middle of an answer`)
    t.ok(cutter.cuts > 0)
  })
}

for (const { name, program, webSocket } of TARGETS) {
  const skip = program === undefined ? 'not installed or not built' : false

  test(`${name}: a watch outlives its server`, { skip }, async (t) => {
    if (program === undefined) return
    const server = await start(t, program)
    const endpoints = [`127.0.0.1:${server.port}`]
    const kv = createClient({ endpoints, webSocket, backoff: { minMs: 1, maxMs: 50 } })
    t.teardown(() => kv.close())
    const base = (await kv.mkdir('/w')).etcdIndex
    const seen = collect(kv, '/w', base)
    const log: KvResponse[] = []
    for (let round = 0; round < 3; round++) {
      for (let n = 0; n < 20; n++) log.push(await kv.set(`/w/${n % 3}`, `${round}.${n}`))
      await server.restart()
    }
    log.push(await kv.set('/w/end', ''))
    const items = await seen
    t.equal(checkSequence({ base, log, items, prefix: '/w' }), 0, 'no gap')
    t.equal(items.length, log.length)
  })
}

async function collect(kv: KvClient, prefix: string, afterIndex: number): Promise<WatchEvent[]> {
  const items: WatchEvent[] = []
  for await (const item of kv.watch(prefix, { recursive: true, afterIndex })) {
    items.push(item)
    if (item.type === 'resync' || item.response.node.key === `${prefix}/end`) break
  }
  return items
}
