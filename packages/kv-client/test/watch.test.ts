import { setImmediate as breathe } from 'node:timers/promises'
import * as fc from 'fast-check'
import { test } from 'tap'
import type { Test } from 'tap'
import { createClient } from '../src/index.ts'
import type { KvClient, WatchEvent } from '../src/index.ts'
import { Cutter } from './helpers/cutter.ts'
import { checkSequence, propertyOptions } from './helpers/sequence.ts'
import { StandIn } from './helpers/stand-in.ts'
import { client, standIn, take, until } from './helpers/watching.ts'
import type { StoredEvent } from './helpers/stand-in.ts'

/** Room for a longer run with FC_RUNS. */
const LONG = { timeout: 600_000 }

for (const webSocket of [true, false]) {
  const means = webSocket
    ? 'over WebSocket (stand-in for kvd)'
    : 'by long polls (stand-in for etcd)'

  test(`a watch ${means} gives history, then what happens, in order`, async (t) => {
    const server = await standIn(t, webSocket)
    const kv = client(t, server.url)
    const base = server.write('/a', '0').node.modifiedIndex
    server.write('/a', '1')
    server.write('/ab', '2')
    server.write('/a/b', '3')
    const watch = kv.watch('/a', { recursive: true, afterIndex: base })
    t.strictSame(await take(watch, 2), ['event /a 5', 'event /a/b 7'])
    const next = take(watch, 2)
    server.write('/a/c', '4')
    server.remove('/a/c')
    t.strictSame(await next, ['event /a/c 8', 'event /a/c 9'])
    await watch.return?.()
    await until(() => server.watching === 0)
    t.equal(
      server.requests.some((line) => line.includes('wait=true')),
      !webSocket,
    )
  })

  test(`a watch ${means} without an index begins now`, async (t) => {
    const server = await standIn(t, webSocket)
    const kv = client(t, server.url)
    server.write('/a', 'before')
    const watch = kv.watch('/a')
    const next = take(watch, 1)
    await until(() => server.watching === 1)
    server.write('/a', 'after')
    t.strictSame(await next, ['event /a 5'])
  })

  test(`a watch ${means} reads again after a gap and goes on from there`, async (t) => {
    const server = await standIn(t, webSocket, 2)
    const kv = client(t, server.url)
    for (const value of ['1', '2', '3', '4']) server.write('/d/a', value)
    const watch = kv.watch('/d', { recursive: true, afterIndex: 3 })
    const { value: first } = await watch.next()
    t.match(first, { type: 'resync', index: 7, response: { node: { nodes: [{ key: '/d/a' }] } } })
    t.match(
      server.requests.filter((line) => line.startsWith('GET') && !line.includes('wait=true')),
      [/^GET \/v2\/keys\/d\?quorum=true&recursive=true/],
      'the read is linearised',
    )
    const next = take(watch, 1)
    await until(() => server.watching === 1)
    server.write('/d/b', '5')
    t.strictSame(await next, ['event /d/b 8'])
  })

  test(`a watch ${means} tells of a gap when the key is gone, too`, async (t) => {
    const server = await standIn(t, webSocket, 1)
    const kv = client(t, server.url)
    for (const value of ['1', '2', '3']) server.write('/x', value)
    const { value } = await kv.watch('/d', { afterIndex: 3 }).next()
    t.strictSame(value, { type: 'resync', response: undefined, index: 6 })
  })

  test(`a watch ${means} ends with its signal and with the client`, async (t) => {
    const server = await standIn(t, webSocket)
    const kv = client(t, server.url)
    const controller = new AbortController()
    const first = kv.watch('/a', { signal: controller.signal }).next()
    await until(() => server.watching === 1)
    controller.abort()
    t.strictSame(await first, { done: true, value: undefined })
    const late = await kv.watch('/a', { signal: controller.signal }).next()
    t.equal(late.done, true, 'an aborted signal starts nothing')
    const second = kv.watch('/a').next()
    await until(() => server.watching === 1)
    kv.close()
    t.strictSame(await second, { done: true, value: undefined })
    await until(() => server.watching === 0)
  })

  test(`a watch ${means} cut at random sees each event exactly once, in order`, LONG, async (t) => {
    let cuts = 0
    const stats = await property(t, webSocket, 1000, (cutter) => (cuts += cutter.cuts))
    t.equal(stats.resyncs, 0, 'everything is in the history, so there is no gap')
    t.ok(cuts > 0, `connections were cut in the middle ${cuts} times`)
  })

  test(`a watch ${means} cut at random fills every gap of a short history`, LONG, async (t) => {
    const stats = await property(t, webSocket, 3, () => undefined)
    t.ok(stats.resyncs > 0, `${stats.resyncs} gaps were filled`)
  })
}

type Op =
  | { readonly type: 'write' | 'remove'; readonly key: string }
  | { readonly type: 'cut' }
  | { readonly type: 'breathe'; readonly turns: number }

const KEYS = ['/w/a', '/w/b', '/w/c/d', '/x']
const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ type: fc.constant('write' as const), key: fc.constantFrom(...KEYS) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('remove' as const), key: fc.constantFrom(...KEYS) }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('cut' as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('breathe' as const),
      turns: fc.integer({ min: 1, max: 20 }),
    }),
  },
)

/** Random writes and cuts against a watch of /w; the watch must have told the whole story. */
async function property(
  t: Test,
  webSocket: boolean,
  historyMax: number,
  onRun: (cutter: Cutter) => void,
): Promise<{ resyncs: number }> {
  let resyncs = 0
  const limits = fc.array(fc.integer({ min: 0, max: 2500 }), { minLength: 1, maxLength: 12 })
  const options = propertyOptions(t, 60)
  await fc.assert(
    fc.asyncProperty(fc.array(op, { maxLength: 60 }), limits, async (ops, budgets) => {
      const server = await new StandIn({ webSocket, historyMax }).listen()
      const cutter = await new Cutter(server.port).listen()
      const kv = createClient({ endpoints: [cutter.url], backoff: { minMs: 1, maxMs: 3 } })
      try {
        cutter.budget = () => budgets.shift()
        const base = server.index
        const log: StoredEvent[] = []
        const seen = collect(kv, base)
        for (const step of ops) {
          if (step.type === 'cut') cutter.cut()
          else if (step.type === 'breathe') for (let n = 0; n < step.turns; n++) await breathe()
          else if (step.type === 'remove') log.push(server.remove(step.key))
          else log.push(server.write(step.key, `v${server.index}`))
        }
        log.push(server.write('/w/end', ''))
        const items = await seen
        resyncs += checkSequence({ base, log, items, prefix: '/w' })
        onRun(cutter)
      } finally {
        kv.close()
        await cutter.close()
        await server.close()
      }
    }),
    options,
  )
  return { resyncs }
}

async function collect(kv: KvClient, afterIndex: number): Promise<WatchEvent[]> {
  const items: WatchEvent[] = []
  for await (const item of kv.watch('/w', { recursive: true, afterIndex })) {
    items.push(item)
    const nodes = item.response?.node.nodes ?? []
    if ([item.response?.node, ...nodes].some((node) => node?.key === '/w/end')) break
  }
  return items
}

test('all watches of a client share one WebSocket, which closes with the last', async (t) => {
  const server = await standIn(t, true)
  const kv = client(t, server.url)
  const watches = ['/a', '/b', '/c'].map((key) => kv.watch(key))
  const taken = Promise.all(watches.map((watch) => take(watch, 1)))
  await until(() => server.watching === 3)
  for (const key of ['/c', '/b', '/a']) server.write(key, '')
  t.strictSame(await taken, [['event /a 6'], ['event /b 5'], ['event /c 4']])
  t.equal(server.requests.filter((line) => line.startsWith('UPGRADE')).length, 1)
  for (const watch of watches) await watch.return?.()
  await until(() => server.watching === 0)
  const again = take(kv.watch('/a'), 1)
  await until(() => server.watching === 1)
  server.write('/a', '')
  t.strictSame(await again, ['event /a 7'], 'a later watch opens a new one')
})

test('progress keeps a quiet WebSocket watch inside the history', async (t) => {
  const server = await standIn(t, true, 3)
  const retries: string[] = []
  const kv = client(t, server.url)
  const watch = kv.watch('/quiet', {
    afterIndex: 3,
    onRetry: (error) => retries.push(error.message),
  })
  const next = take(watch, 1)
  await until(() => server.watching === 1)
  for (let n = 0; n < 50; n++) server.write('/noise', '')
  server.progress()
  server.say('{"id":1,"type":"news"}')
  server.say('{"id":77,"type":"progress","index":1}')
  server.hangUp(1001)
  await until(() => server.requests.filter((line) => line.startsWith('UPGRADE')).length === 2)
  await until(() => server.watching === 1)
  server.write('/quiet', '')
  t.strictSame(await next, ['event /quiet 54'])
  t.strictSame(retries, ['client: the watch was closed (1001)'])
})

test('a renewed long poll keeps a quiet watch inside the history', async (t) => {
  const server = await standIn(t, false, 3)
  const kv = client(t, server.url, { watchRenewMs: 20 })
  const next = take(kv.watch('/quiet', { afterIndex: 3 }), 1)
  for (let round = 0; round < 5; round++) {
    server.write('/noise', '')
    server.write('/noise', '')
    const polled = `GET /v2/keys/quiet?recursive=false&wait=true&waitIndex=${server.index + 1}`
    await until(() => server.requests.includes(polled))
  }
  await until(() => server.watching === 1)
  server.cut()
  await until(() => server.watching === 1)
  server.write('/quiet', '')
  t.strictSame(await next, ['event /quiet 14'], 'ten events, a history of three, no gap')
})

test('a renewal that finds the history gone leaves the live poll alone', async (t) => {
  const server = await standIn(t, false, 3)
  const kv = client(t, server.url, { watchRenewMs: 250 })
  const next = take(kv.watch('/quiet', { afterIndex: 3 }), 1)
  await until(() => server.watching === 1)
  for (let n = 0; n < 9; n++) server.write('/noise', '')
  const renewals = (): number => server.requests.filter((line) => line.includes('wait=')).length
  await until(() => renewals() > 3)
  server.write('/quiet', '')
  t.strictSame(await next, ['event /quiet 13'], 'heard by the first poll, not by a new read')
})

test('a member that takes connections and says nothing is left', async (t) => {
  const mute = await new StandIn({ webSocket: false, override: () => true }).listen()
  t.teardown(() => mute.close())
  const kv = client(t, mute.url, { watchRenewMs: 10, webSocket: false })
  const retries: Error[] = []
  const controller = new AbortController()
  const { signal } = controller
  const ended = kv
    .watch('/a', {
      signal,
      afterIndex: 1,
      onRetry: (error) => {
        retries.push(error)
        if (retries.length === 2) controller.abort()
      },
    })
    .next()
  t.equal((await ended).done, true)
  t.match(retries, [{ code: 'HEADER_TIMEOUT' }, { code: 'HEADER_TIMEOUT' }])
})

test('a refusal ends the watch with the error of the server', async (t) => {
  const body = '{"errorCode":110,"message":"The request requires user authentication","index":0}'
  const server = await new StandIn({
    webSocket: false,
    override: (_, response) => {
      response.writeHead(401).end(body)
      return true
    },
  }).listen()
  t.teardown(() => server.close())
  const kv = client(t, server.url)
  await t.rejects(kv.watch('/a').next(), { name: 'KvError', errorCode: 110 })
})

test('an empty answer of a long poll is asked again', async (t) => {
  let polls = 0
  const server = await new StandIn({
    webSocket: false,
    override: (request, response) => {
      if (request.url?.includes('wait=true') !== true || ++polls > 2) return false
      response.writeHead(200, { 'X-Etcd-Index': 3 }).end()
      return true
    },
  }).listen()
  t.teardown(() => server.close())
  const kv = client(t, server.url)
  t.equal(await kv.waitOnce('/a'), undefined, 'one request is one answer')
  const next = take(kv.watch('/a'), 1)
  await until(() => server.watching === 1)
  server.write('/a', '')
  t.strictSame(await next, ['event /a 4'])
})

test('a slow reader loses nothing and bounds what waits', async (t) => {
  const server = await standIn(t, true, 5000)
  const kv = client(t, server.url)
  const watch = kv.watch('/a', { afterIndex: 3 })
  server.write('/a', '0')
  await take(watch, 1)
  for (let n = 1; n < 3000; n++) server.write('/a', String(n))
  await until(() => server.watching === 0)
  const seen = await take(watch, 2999)
  t.equal(new Set(seen).size, 2999)
  t.equal(seen.at(-1), 'event /a 3003')
  t.equal(server.requests.filter((line) => line.startsWith('UPGRADE')).length > 1, true)
})

test('a malformed frame ends the connection, not the watch', async (t) => {
  const server = await standIn(t, true)
  const kv = client(t, server.url)
  const next = take(kv.watch('/a', { afterIndex: 3 }), 1)
  await until(() => server.watching === 1)
  server.say('{"id":1,"type":"event","event":{}}')
  await until(() => server.watching === 0)
  await until(() => server.watching === 1)
  server.write('/a', '')
  t.strictSame(await next, ['event /a 4'])
})

test('a server that is too busy for a watch is asked again, one that refuses it is not', async (t) => {
  const server = await standIn(t, true)
  const retries: string[] = []
  const kv = client(t, server.url)
  const onRetry = (error: Error): void => void retries.push(error.message)
  const watch = kv.watch('/a', { afterIndex: 3, onRetry })
  const next = take(watch, 1)
  const refuse = (id: number, errorCode: number): void =>
    server.say(JSON.stringify({ id, type: 'error', errorCode, message: `code ${errorCode}` }))
  for (const errorCode of [300, 301]) {
    await until(() => server.watching === 1)
    refuse(1, errorCode)
    await until(() => server.watching === 0)
  }
  await until(() => server.watching === 1)
  server.write('/a', '')
  t.strictSame(await next, ['event /a 4'])
  t.strictSame(retries, ['code 300', 'code 301'])
  await watch.return?.()
  await until(() => server.watching === 0)
  const refused = kv.watch('/a').next()
  await until(() => server.watching === 1)
  refuse(1, 110)
  await t.rejects(refused, { name: 'KvError', errorCode: 110 })
})

test('a watch goes to the next member when one is lost, whatever each of them speaks', async (t) => {
  const kvd = await standIn(t, true)
  const etcd = await standIn(t, false)
  const kv = client(t, kvd.url, { endpoints: [kvd.url, etcd.url], random: () => 0 })
  const next = take(kv.watch('/a', { afterIndex: 3 }), 1)
  await until(() => kvd.watching === 1)
  await kvd.close()
  await until(() => etcd.watching === 1)
  etcd.write('/a', '')
  t.strictSame(await next, ['event /a 4'])
})

test('a member that comes back as kvd is asked for its watch again', async (t) => {
  const etcd = await new StandIn({ webSocket: false }).listen()
  const kv = client(t, etcd.url)
  const next = take(kv.watch('/a', { afterIndex: 3 }), 1)
  await until(() => etcd.watching === 1)
  await etcd.close()
  const kvd = await new StandIn({ webSocket: true }).listen(etcd.port)
  t.teardown(() => kvd.close())
  await until(() => kvd.watching === 1)
  kvd.write('/a', '')
  t.strictSame(await next, ['event /a 4'])
  t.ok(kvd.requests.some((line) => line.startsWith('UPGRADE')))
})
