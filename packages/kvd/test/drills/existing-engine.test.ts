// Fronts as processes over a real etcd.
import t from 'tap'
import {
  ask,
  NO_ETCD,
  startEtcd,
  startFront,
  until,
  watchLines,
  type Answer,
} from '../helpers/etcd-process.ts'
import type { StoreProcess } from '../helpers/store-process.ts'

t.setTimeout(300_000)
const needsEtcd = { skip: NO_ETCD }

interface Node {
  readonly key: string
  readonly value?: string
  readonly dir?: boolean
  readonly createdIndex: number
  readonly modifiedIndex: number
  readonly nodes?: readonly Node[]
}

function nodeOf({ text }: Pick<Answer, 'text'>): Node {
  const { node }: { node: Node } = JSON.parse(text)
  return node
}

function indexOf({ headers }: Answer): number {
  return Number(headers.get('x-etcd-index'))
}

t.test(
  'two fronts at once: swaps and in-order keys, none lost and none twice',
  needsEtcd,
  async (tt) => {
    const etcd = await startEtcd(tt)
    const fronts = await Promise.all([startFront(tt, etcd.url), startFront(tt, etcd.url)])
    const first = fronts[0]
    await ask(first, 'PUT', '/n', { value: '0' })
    const count = async (at: number): Promise<void> => {
      const front = fronts[at % 2] ?? first
      for (let done = 0; done < 25;) {
        const { value = '' } = nodeOf(await ask(front, 'GET', '/n'))
        const swap = { value: String(Number(value) + 1), prevValue: value }
        const { status } = await ask(front, 'PUT', '/n', swap)
        if (status === 200) done += 1
        else if (status !== 412) throw new Error(`a swap was answered with ${status}`)
      }
    }
    const queue = async (at: number): Promise<Node[]> => {
      const made: Node[] = []
      for (let done = 0; done < 25; done += 1)
        made.push(
          nodeOf(await ask(fronts[at % 2] ?? first, 'POST', '/q', { value: `${at}-${done}` })),
        )
      return made
    }
    const workers = [0, 1, 2, 3]
    const [made] = await Promise.all([
      Promise.all(workers.map(queue)),
      Promise.all(workers.map(count)),
    ])
    tt.equal(nodeOf(await ask(first, 'GET', '/n')).value, '100')
    const { nodes = [] } = nodeOf(await ask(first, 'GET', '/q?sorted=true'))
    tt.equal(nodes.length, 100)
    tt.same(
      nodes.map(({ value = '' }) => value).toSorted(),
      workers.flatMap((at) => Array.from({ length: 25 }, (_, n) => `${at}-${n}`)).toSorted(),
    )
    tt.same(
      nodes.map(({ createdIndex }) => createdIndex),
      nodes.map(({ createdIndex }) => createdIndex).toSorted((left, right) => left - right),
      'the names are in the order of the writes',
    )
    for (const own of made)
      tt.same(
        own.map(({ key }) => key),
        own.map(({ key }) => key).toSorted(),
        'and in the order in which a client made them',
      )
  },
)

t.test('a front hears what another one writes, and what expires', needsEtcd, async (tt) => {
  const etcd = await startEtcd(tt)
  const [one, two] = await Promise.all([startFront(tt, etcd.url), startFront(tt, etcd.url)])
  const stream = await watchLines(two, '/d?wait=true&recursive=true&stream=true')
  const made = await ask(one, 'PUT', '/d/k', { value: '1', ttl: '1' })
  tt.equal(`${await stream.next()}\n`, made.text, 'the same event, byte for byte')
  const refreshed = await ask(one, 'PUT', '/d/k', { ttl: '1', refresh: 'true', prevExist: 'true' })
  tt.equal(refreshed.status, 200)
  const expired = await stream.next()
  tt.match(expired, /^\{"action":"expire","node":\{"key":"\/d\/k","modifiedIndex":\d+,/)
  tt.match(expired, /"prevNode":\{"key":"\/d\/k","value":"1","expiration":"[^"]+","modifiedIndex":/)
  const { node, prevNode }: { node: Node; prevNode: Node & { expiration: string } } = JSON.parse(
    expired ?? '',
  )
  tt.ok(Date.parse(prevNode.expiration) <= Date.now(), 'never early')
  tt.equal(prevNode.modifiedIndex, indexOf(refreshed), 'the refresh told nobody, but counted')
  const again = await ask(one, 'GET', `/d/k?wait=true&waitIndex=${node.modifiedIndex}`)
  tt.equal(again.text, `${expired}\n`, 'the other front has the same history')
  await stream.close()
})

t.test('a directory expires with all that is in it', needsEtcd, async (tt) => {
  const etcd = await startEtcd(tt)
  const [one, two] = await Promise.all([startFront(tt, etcd.url), startFront(tt, etcd.url)])
  await ask(one, 'PUT', '/d', { dir: 'true', ttl: '1' })
  await ask(one, 'PUT', '/d/a/b', { value: '1' })
  await ask(one, 'PUT', '/d/_h', { value: '1', ttl: '600' })
  const inside = await watchLines(two, '/d/a/b?wait=true')
  const above = await watchLines(one, '/?wait=true&recursive=true&stream=true')
  const told = await inside.next()
  tt.match(told, /^\{"action":"expire","node":\{"key":"\/d","modifiedIndex":/)
  tt.equal(await above.next(), told, 'the same on both fronts')
  tt.match((await ask(two, 'GET', '/d/a/b')).text, /"errorCode":100.*"cause":"\/d"/)
  // What it held is cleared away, by one of the fronts, without an event.
  const keys = (): string => etcd.ctl('get', '--prefix', '--keys-only', '/__kvd/')
  while (keys().includes('/1/d')) await ask(one, 'GET', '/')
  const next = await ask(one, 'PUT', '/d/x', { value: '2' })
  tt.equal(`${await above.next()}\n`, next.text, 'nothing in between')
  await above.close()
})

t.test(
  'history reaches back to the compaction of etcd, across restarts of fronts',
  needsEtcd,
  async (tt) => {
    const etcd = await startEtcd(tt)
    const early = await startFront(tt, etcd.url)
    const writes: Answer[] = []
    for (let at = 0; at < 5; at += 1)
      writes.push(await ask(early, 'PUT', at === 3 ? '/_h' : '/k', { value: String(at) }))
    const [first, , third, hidden] = writes
    if (first === undefined || third === undefined || hidden === undefined)
      throw new Error('5 writes')
    const late = await startFront(tt, etcd.url)
    const wait = async (key: string, from: number): Promise<Answer> =>
      await ask(late, 'GET', `${key}?wait=true&recursive=true&waitIndex=${from}`)
    tt.equal((await wait('/k', 1)).text, first.text)
    tt.equal((await wait('/', indexOf(hidden))).text, hidden.text, 'hidden keys are in the history')
    tt.equal(indexOf(await wait('/k', 1)), indexOf(writes.at(-1) ?? first))
    // What was there before an event belongs to it: that of the compacted revision itself is gone, too.
    etcd.ctl('compaction', String(indexOf(third)))
    tt.equal((await wait('/k', indexOf(third))).text, third.text, 'the oldest that is left')
    const gone = await wait('/k', indexOf(third) - 1)
    tt.equal(gone.status, 400)
    tt.match(gone.body, {
      errorCode: 401,
      cause: `the requested history has been cleared [${indexOf(third)}/${indexOf(third) - 1}]`,
      index: indexOf(writes.at(-1) ?? first),
    })
    const live = await watchLines(late, `/new?wait=true&waitIndex=${indexOf(third)}`)
    const hiddenAgain = await ask(early, 'PUT', '/new', { value: 'now' })
    tt.equal(`${await live.next()}\n`, hiddenAgain.text, 'from the past into the present')
  },
)

t.test(
  'a front that has heard of more events than the history has refuses what was before them',
  needsEtcd,
  async (tt) => {
    const etcd = await startEtcd(tt)
    const flags = ['--event-history', '3']
    const early = await startFront(tt, etcd.url, flags)
    const writes: Answer[] = []
    for (let at = 0; at < 5; at += 1)
      writes.push(await ask(early, 'PUT', '/k', { value: String(at) }))
    const [first, second, third, , last] = writes
    if (first === undefined || second === undefined || third === undefined || last === undefined)
      throw new Error('5 writes')
    const wait = async (front: StoreProcess, from: number): Promise<Answer> =>
      await ask(front, 'GET', `/k?wait=true&waitIndex=${from}`)
    tt.equal((await wait(early, indexOf(third))).text, third.text)
    const cause = `the requested history has been cleared [${indexOf(third)}/${indexOf(second)}]`
    const cleared = await wait(early, indexOf(second))
    tt.match(cleared.body, { errorCode: 401, cause, index: indexOf(last) })
    const late = await startFront(tt, etcd.url, flags)
    tt.equal((await wait(late, indexOf(first))).text, first.text, 'one that is new asks etcd')
  },
)

t.test(
  'etcd killed under load: what was acknowledged is there once, nothing is there twice',
  needsEtcd,
  async (tt) => {
    const etcd = await startEtcd(tt)
    const flags = ['--election-timeout', '500']
    const fronts = await Promise.all([
      startFront(tt, etcd.url, flags),
      startFront(tt, etcd.url, flags),
    ])
    const stream = await watchLines(fronts[0], '/q?wait=true&recursive=true&stream=true')
    const known = new Set<string>()
    const unknown = new Set<string>()
    const over = new AbortController()
    const work = async (at: number): Promise<void> => {
      for (let n = 0; !over.signal.aborted; n += 1) {
        const value = `${at}-${n}`
        const { status, body } = await ask(fronts[at % 2] ?? fronts[0], 'POST', '/q', { value })
        if (status === 201) known.add(value)
        else {
          tt.match(
            body,
            { errorCode: 300, index: 0 },
            'a definite word about an indefinite outcome',
          )
          unknown.add(value)
        }
      }
    }
    const working = Promise.all(Array.from({ length: 8 }, async (_, at) => await work(at)))
    const untilMore = async (count: number): Promise<void> => {
      const goal = known.size + count
      while (known.size < goal) await new Promise((resolve) => setTimeout(resolve, 5))
    }
    for (let round = 0; round < 3; round += 1) {
      await untilMore(100)
      await etcd.kill()
      await etcd.start()
    }
    await untilMore(100)
    over.abort()
    await working
    const { nodes = [] } = nodeOf(await ask(fronts[1], 'GET', '/q?sorted=true'))
    const values = nodes.map(({ value = '' }) => value)
    const found = new Set(values)
    tt.equal(found.size, values.length, 'none twice')
    tt.same(
      [...known].filter((value) => !found.has(value)),
      [],
      'none lost',
    )
    tt.same(
      values.filter((value) => !known.has(value) && !unknown.has(value)),
      [],
    )
    tt.ok(unknown.size > 0, 'some outcomes were not known')
    tt.comment(`${known.size} acknowledged, ${unknown.size} unknown, ${values.length} there`)
    const heard: string[] = []
    while (heard.length < nodes.length) {
      const line = await stream.next()
      if (line === undefined) break
      heard.push(nodeOf({ text: line }).key)
    }
    tt.same(
      heard,
      nodes.map(({ key }) => key),
      'a watch lasts through it all and hears each write once, in order',
    )
    await stream.close()
  },
)

t.test(
  'without etcd: reads and writes end with error 300 in time, and it goes on with etcd',
  needsEtcd,
  async (tt) => {
    const etcd = await startEtcd(tt)
    const front = await startFront(tt, etcd.url, ['--election-timeout', '500'])
    await ask(front, 'PUT', '/k', { value: '1' })
    await etcd.kill()
    const answers = await Promise.all([
      ask(front, 'GET', '/k'),
      ask(front, 'PUT', '/k', { value: '2' }),
      ask(front, 'GET', '/k?wait=true&waitIndex=1'),
    ])
    for (const { status, body } of answers.slice(0, 2)) {
      tt.equal(status, 500)
      tt.match(body, { errorCode: 300, message: 'Raft Internal Error', index: 0 })
    }
    tt.equal(answers[2]?.status, 200, 'what the front remembers it can tell')
    const health = await fetch(`${front.url}/health`)
    tt.equal(health.status, 503)
    tt.match(await health.text(), /^\{"health": "false", "reason": "[^"]+"\}\n$/)
    await etcd.start()
    await until(front, '/k', 200)
    tt.equal(nodeOf(await ask(front, 'PUT', '/k', { value: '3' })).value, '3')
  },
)

t.test(
  "what etcd's own front has written is read, watched and changed, and the other way round",
  needsEtcd,
  async (tt) => {
    const flags = ['--enable-v2', '--experimental-enable-v2v3', '/v2']
    const etcd = await startEtcd(tt, flags)
    const front = await startFront(tt, etcd.url, ['--existing-engine-prefix', '/v2/'])
    const stream = await watchLines(front, '/?wait=true&recursive=true&stream=true')
    const theirs = async (
      method: string,
      key: string,
      form?: Record<string, string>,
    ): Promise<Answer> => await ask(etcd, method, key, form)
    for (const write of [
      await theirs('PUT', '/q/x', { value: '1' }),
      await theirs('PUT', '/q/x', { value: '2' }),
      await theirs('PUT', '/d', { dir: 'true' }),
      await theirs('PUT', '/d/e/f', { value: '3' }),
      await theirs('DELETE', '/d/e/f'),
    ])
      tt.equal(`${await stream.next()}\n`, write.text, 'their event, byte for byte')
    const list = '/?recursive=true&sorted=true'
    const listing = await ask(front, 'GET', list)
    tt.equal(listing.text, (await theirs('GET', list)).text)
    tt.equal(listing.text.includes('"key":"/q/x","value":"2"'), true)
    const swapped = await ask(front, 'PUT', '/q/x', { value: '4', prevValue: '2' })
    tt.match(swapped.body, { action: 'compareAndSwap', node: { value: '4', createdIndex: 1 } })
    tt.equal(nodeOf(await theirs('GET', '/q/x')).value, '4')
    await ask(front, 'PUT', '/new/one', { value: 'n' })
    tt.equal(nodeOf(await theirs('GET', '/new/one')).value, 'n')
    tt.equal((await ask(front, 'GET', list)).text, (await theirs('GET', list)).text)
    await stream.close()
  },
)
