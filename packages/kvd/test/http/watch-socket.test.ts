import { once } from 'node:events'
import { mock } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import type { Gate, GuardedWatch } from '../../src/http/context.ts'
import { ask } from '../helpers/asking.ts'
import { openClientPort, type ClientPort } from '../helpers/client-port.ts'
import { NOW, remove, set, sync, update } from '../helpers/commands.ts'
import { get } from '../helpers/exchange.ts'
import { randomKey, randomProgram } from '../helpers/programs.ts'
import { countFrom, Random, seedFrom } from '../helpers/random.ts'

const seed = seedFrom('FLOTILLA_SOCKET_SEED')
const rounds = countFrom('FLOTILLA_SOCKET_ROUNDS', 20)
const PROTOCOL = 'kvd-watch.1'

type Message = Readonly<Record<string, unknown>>

/** A client of the protocol that keeps all it is told. */
class Client {
  readonly socket: WebSocket
  readonly messages: Message[] = []
  closedWith: number | undefined

  constructor(port: number, headers: Record<string, string> = {}) {
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/kvd/v1/watch`, PROTOCOL, { headers })
    this.socket.on('message', (data) => {
      if (Buffer.isBuffer(data)) this.messages.push(JSON.parse(data.toString('utf8')))
    })
    this.socket.on('close', (code) => (this.closedWith = code))
  }

  say(message: object | string): void {
    this.socket.send(typeof message === 'string' ? message : JSON.stringify(message))
  }

  /** Waits until so many messages have come; gives them and forgets them. */
  async take(count: number): Promise<Message[]> {
    while (this.messages.length < count && this.closedWith === undefined) await turn()
    return this.messages.splice(0, count)
  }
}

async function connect(
  tt: Test,
  { port }: ClientPort,
  headers?: Record<string, string>,
): Promise<Client> {
  const client = new Client(port, headers)
  tt.teardown(() => client.socket.terminate())
  await once(client.socket, 'open')
  return client
}

t.test('events come as the HTTP API gives them, several watches on one connection', async (tt) => {
  const member = await openClientPort(tt)
  const { store } = member
  const client = await connect(tt, member)
  tt.equal(client.socket.protocol, PROTOCOL)
  client.say({ op: 'watch', id: 1, key: '/a', recursive: true })
  client.say({ op: 'watch', id: 2, key: '/a/b/' })
  tt.same(await client.take(2), [
    { id: 1, type: 'started', index: 3, oldest: 1 },
    { id: 2, type: 'started', index: 3, oldest: 1 },
  ])
  store.apply(set('/a/b', { value: 'v' }))
  const event = {
    action: 'set',
    node: { key: '/a/b', value: 'v', modifiedIndex: 4, createdIndex: 4 },
  }
  tt.same(await client.take(2), [
    { id: 1, type: 'event', event },
    { id: 2, type: 'event', event },
  ])
  store.apply(set('/a/_hidden'))
  store.apply(update('/a/b', { refresh: true, expireAt: NOW + 9 }))
  store.apply(set('/ab'))
  store.apply(remove('/a', { recursive: true }))
  tt.match(await client.take(2), [
    { id: 1, event: { action: 'delete', node: { key: '/a', dir: true } } },
    { id: 2, event: { action: 'delete', node: { key: '/a', dir: true } } },
  ])
  client.say({ op: 'cancel', id: 1 })
  tt.same(await client.take(1), [{ id: 1, type: 'cancelled' }])
  tt.equal(store.watchers.count, 1)
  client.socket.close()
  await once(client.socket, 'close')
  while (store.watchers.count > 0) await turn()
  tt.equal(store.watchers.count, 0, 'a client that is gone is forgotten')
})

t.test('a watch resumes behind an index, out of the history and then live', async (tt) => {
  const member = await openClientPort(tt, { historySize: 5 })
  const { store } = member
  for (let value = 1; value <= 10; value += 1) store.apply(set('/k', { value: String(value) }))
  const client = await connect(tt, member)
  client.say({ op: 'watch', id: 1, key: '/k', after: 8 })
  tt.same(await client.take(1), [{ id: 1, type: 'started', index: 13, oldest: 9 }])
  store.apply(set('/k', { value: '11' }))
  const values = (await client.take(6)).map(({ event }) => JSON.stringify(event))
  tt.same(
    values.map((text) => /"value":"(\d+)","mod/.exec(text)?.[1]),
    ['6', '7', '8', '9', '10', '11'],
  )
  client.say({ op: 'watch', id: 2, key: '/k', after: 8 })
  tt.same(await client.take(1), [
    {
      id: 2,
      type: 'gone',
      errorCode: 401,
      message: 'The event in requested index is outdated and cleared',
      cause: 'the requested history has been cleared [10/9]',
      index: 14,
      oldest: 10,
    },
  ])
  client.say({ op: 'watch', id: 2, key: '/k', after: 14 })
  client.say({ op: 'watch', id: 3, key: '/k', after: 16 })
  tt.match(await client.take(2), [
    { id: 2, type: 'started', index: 14 },
    { id: 3, type: 'started' },
  ])
  for (const value of ['12', '13', '14']) store.apply(set('/k', { value }))
  const told = await client.take(7)
  tt.same(
    told.filter(({ id }) => id === 3).map(({ event }) => JSON.stringify(event).includes('"14"')),
    [true],
    'an index to come: what is before it does not count',
  )
  tt.equal(told.filter(({ id }) => id === 2).length, 3)
})

t.test('requests that are not accepted are answered with an error', async (tt) => {
  const member = await openClientPort(tt)
  const client = await connect(tt, member)
  const error = (id: number, cause: string): object => ({
    id,
    type: 'error',
    errorCode: 209,
    message: 'Invalid field',
    cause,
  })
  client.say('{"op":')
  client.say({ op: 'watch', id: 1, key: 'a' })
  client.say({ op: 'watch', id: 1, key: '/a' })
  client.say({ op: 'watch', id: 1, key: '/b' })
  client.say({ op: 'cancel', id: 7 })
  tt.same(await client.take(5), [
    error(0, 'the frame is no JSON'),
    error(1, 'key must be a text that begins with a slash'),
    { id: 1, type: 'started', index: 3, oldest: 1 },
    error(1, 'watch 1 is open already'),
    { id: 7, type: 'cancelled' },
  ])
  client.say({ op: 'cancel', id: 1 })
  client.say({ op: 'watch', id: 1, key: '/c' })
  tt.match(
    await client.take(2),
    [{ type: 'cancelled' }, { type: 'started' }],
    'an id may come back',
  )
})

t.test('a connection has at most ten thousand watches', async (tt) => {
  const member = await openClientPort(tt)
  const client = await connect(tt, member)
  for (let id = 1; id <= 10_000; id += 1) client.say({ op: 'watch', id, key: `/k${id % 7}` })
  client.say({ op: 'watch', id: 10_001, key: '/k' })
  const messages = await client.take(10_001)
  tt.equal(messages.filter(({ type }) => type === 'started').length, 10_000)
  tt.match(messages[10_000], { id: 10_001, type: 'error', cause: /more than 10000 watches/ })
})

t.test('frames that break the protocol end the connection', async (tt) => {
  const member = await openClientPort(tt)
  const binary = await connect(tt, member)
  binary.socket.send(Buffer.from('{"op":"cancel","id":1}'))
  const [code] = await once(binary.socket, 'close')
  tt.equal(code, 1008)
  const huge = await connect(tt, member)
  huge.socket.on('error', () => undefined)
  huge.say('x'.repeat((1 << 20) + 1))
  const [tooBig] = await once(huge.socket, 'close')
  tt.ok(tooBig === 1009 || tooBig === 1006, `closed with ${tooBig}`)
  const fits = await connect(tt, member)
  fits.say(JSON.stringify({ op: 'watch', id: 1, key: '/k', pad: 'x'.repeat(1_000_000) }))
  tt.match(await fits.take(1), [{ type: 'started' }])
})

t.test('only the watch path with the protocol is upgraded', async (tt) => {
  const member = await openClientPort(tt)
  const refusal = async (path: string, protocols: string[]): Promise<number | undefined> => {
    const socket = new WebSocket(`ws://127.0.0.1:${member.port}${path}`, protocols)
    socket.on('error', () => undefined)
    const [, response] = await once(socket, 'unexpected-response')
    return response.statusCode
  }
  tt.equal(await refusal('/kvd/v1/watch', []), 400)
  tt.equal(await refusal('/kvd/v1/watch', ['other']), 400)
  tt.equal(await refusal('/kvd/v1/other', [PROTOCOL]), 404)
  tt.equal((await ask(member.port, get('/kvd/v1/watch'))).status, 404, 'without an upgrade')
  const among = new WebSocket(`ws://127.0.0.1:${member.port}/kvd/v1/watch?x=y`, ['a', PROTOCOL])
  await once(among, 'open')
  tt.equal(among.protocol, PROTOCOL)
  among.terminate()
})

t.test(
  'quiet watches are told how far they are, so that they resume inside the history',
  async (tt) => {
    mock.timers.enable({ apis: ['setInterval'] })
    tt.teardown(() => mock.timers.reset())
    const member = await openClientPort(tt)
    const { store } = member
    const client = await connect(tt, member)
    client.say({ op: 'watch', id: 1, key: '/quiet' })
    client.say({ op: 'watch', id: 2, key: '/busy' })
    await client.take(2)
    mock.timers.tick(10_000)
    store.apply(set('/other'))
    store.apply(set('/busy'))
    mock.timers.tick(9_999)
    tt.match(await client.take(1), [{ id: 2, type: 'event' }], 'not before ten seconds')
    mock.timers.tick(1)
    tt.same(await client.take(1), [{ id: 1, type: 'progress', index: 5 }])
    mock.timers.tick(10_000)
    client.say({ op: 'cancel', id: 9 })
    tt.same(await client.take(1), [{ id: 9, type: 'cancelled' }], 'and not when nothing happened')
  },
)

t.test('a client that does not read is told where it was left behind', async (tt) => {
  const member = await openClientPort(tt, { watchBytesMax: 200_000 })
  const { store } = member
  const client = await connect(tt, member)
  client.say({ op: 'watch', id: 1, key: '/', recursive: true })
  client.say({ op: 'watch', id: 2, key: '/quiet' })
  await client.take(2)
  client.socket.pause()
  const value = 'x'.repeat(50_000)
  while (store.watchers.count === 2) {
    for (let count = 0; count < 10; count += 1) store.apply(set('/k', { value }))
    await turn()
  }
  client.socket.resume()
  while (client.messages.at(-1)?.['type'] !== 'overflow') await turn()
  const told = client.messages.splice(0)
  const last = told.at(-1)
  const indexes = told.slice(0, -1).map(({ event }) => indexOf(event))
  tt.match(last, { id: 1, type: 'overflow', index: indexes.at(-1) })
  tt.same(
    indexes,
    Array.from({ length: indexes.length }, (_, at) => 4 + at),
    'everything up to there was sent',
  )
  client.say({ op: 'watch', id: 1, key: '/', recursive: true, after: last?.['index'] })
  const [started] = await client.take(1)
  tt.match(started, { id: 1, type: 'started' })
})

function indexOf(event: unknown): number {
  return Number(/"node":\{.*?"modifiedIndex":(\d+)/.exec(JSON.stringify(event))?.[1])
}

t.test('rights: refused, busy, taken away, and cancelled while they are looked at', async (tt) => {
  const late: ((verdict: 'allowed' | 'refused' | 'busy') => void)[] = []
  const asked: string[] = []
  const watches: GuardedWatch[] = []
  const gate: Gate = {
    mayAccess: (request, path, { recursive }) => {
      asked.push(`${request.authorization} ${path} ${recursive}`)
      if (path === '/no') return 'refused'
      if (path === '/yes') return 'allowed'
      return new Promise((resolve) => late.push(resolve))
    },
    mayAdminister: () => 'refused',
  }
  const member = await openClientPort(tt, {
    context: {
      gate: () => gate,
      guardWatch: (watch) => {
        watches.push(watch)
        return () => undefined
      },
    },
  })
  const client = await connect(tt, member, { Authorization: 'Basic eA==' })
  const denied = { type: 'error', errorCode: 110, cause: 'Insufficient credentials' }
  client.say({ op: 'watch', id: 1, key: '/no' })
  client.say({ op: 'watch', id: 2, key: '/yes' })
  client.say({ op: 'watch', id: 3, key: '/late/', recursive: true })
  client.say({ op: 'watch', id: 3, key: '/other' })
  tt.match(await client.take(3), [
    { id: 1, ...denied },
    { id: 2, type: 'started' },
    { id: 3, type: 'error', cause: 'watch 3 is open already' },
  ])
  tt.same(asked, ['Basic eA== /no false', 'Basic eA== /yes false', 'Basic eA== /late/ true'])
  late[0]?.('allowed')
  tt.match(await client.take(1), [{ id: 3, type: 'started' }])
  watches[1]?.end()
  tt.match(await client.take(1), [{ id: 3, ...denied }])
  tt.equal(member.store.watchers.count, 1)
  client.say({ op: 'watch', id: 4, key: '/late' })
  client.say({ op: 'cancel', id: 4 })
  client.say({ op: 'watch', id: 4, key: '/late' })
  tt.match(await client.take(1), [{ id: 4, type: 'cancelled' }])
  while (late.length < 3) await turn()
  late[1]?.('allowed')
  late[2]?.('busy')
  tt.match(await client.take(1), [
    { id: 4, type: 'error', errorCode: 300, cause: 'etcdserver: too many requests' },
  ])
})

/** Disconnects; gives the indexes of all that was sent before. */
async function leave(client: Client): Promise<number[]> {
  // Whatever was sent before this answer has come by then.
  client.say({ op: 'cancel', id: 99 })
  while (client.messages.at(-1)?.['id'] !== 99) await turn()
  client.socket.terminate()
  return client.messages.flatMap(({ event }) => (event === undefined ? [] : [indexOf(event)]))
}

t.test('a server that stops sends everybody elsewhere', async (tt) => {
  const member = await openClientPort(tt)
  const client = await connect(tt, member)
  const closed = once(client.socket, 'close')
  member.sockets.close()
  const [code, reason] = await closed
  tt.same([code, String(reason)], [1001, 'the server stops'])
})

t.test(
  `clients that reconnect at random miss nothing (${rounds} rounds, seed ${seed})`,
  async (tt) => {
    const member = await openClientPort(tt, { historySize: 2000 })
    const { store } = member
    for (let round = 0; round < rounds; round += 1) {
      const random = new Random(seed + round)
      const key = randomKey(random)
      const recursive = random.chance(0.5)
      const begin = store.index
      const told: number[] = []
      let after = begin
      let client: Client | undefined
      const settle = async (): Promise<void> => {
        if (client !== undefined) told.push(...(await leave(client)))
        after = told.at(-1) ?? begin
        client = undefined
      }
      for (const step of randomProgram(random, 120)) {
        if (step.type === 'command') store.apply(step.command)
        if (random.chance(0.1)) await settle()
        if (client === undefined && random.chance(0.3)) {
          client = await connect(tt, member)
          client.say({ op: 'watch', id: 1, key, recursive, after })
          if (random.chance(0.5)) while (client.messages.length === 0) await turn()
        }
      }
      await settle()
      client = await connect(tt, member)
      client.say({ op: 'watch', id: 1, key, recursive, after })
      await settle()
      const due = [...store.history.replay(key, recursive, begin + 1)].map(({ index }) => index)
      if (String(told) !== String(due)) {
        tt.same(told, due, `FLOTILLA_SOCKET_SEED=${seed}, round ${round}: ${key}`)
        return
      }
      store.apply(sync(NOW + 1e9))
    }
    tt.pass(`up to index ${store.index}`)
  },
)
