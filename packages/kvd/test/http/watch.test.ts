import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { GuardedWatch } from '../../src/http/context.ts'
import { ask } from '../helpers/asking.ts'
import { openClientPort, type ClientPort } from '../helpers/client-port.ts'
import { NOW, remove, set, sync, update } from '../helpers/commands.ts'
import { Exchange, get, UNUSUAL } from '../helpers/exchange.ts'

/** Both parsers: the lean one, and node:http. */
const PARSERS: readonly (readonly string[])[] = [[], [UNUSUAL]]

/** Opens a watch and waits until its head has come. */
async function watch(
  member: ClientPort,
  query: string,
  headers: readonly string[] = [],
): Promise<Exchange> {
  const connection = await Exchange.open(member.port)
  await connection.send(get(`/v2/keys/${query}`, ...headers).text)
  await connection.until(() => connection.text.includes('\r\n\r\n') || connection.isOver)
  return connection
}

/** The chunks of a body so far. */
function chunksOf({ text }: Exchange): string[] {
  const body = text.slice(text.indexOf('\r\n\r\n') + 4)
  const chunks: string[] = []
  for (let at = 0; ;) {
    const lineEnd = body.indexOf('\r\n', at)
    if (lineEnd === -1) return chunks
    const size = Number.parseInt(body.slice(at, lineEnd), 16)
    const end = lineEnd + 2 + size
    if (size === 0 || body.length < end + 2) return chunks
    chunks.push(body.slice(lineEnd + 2, end))
    at = end + 2
  }
}

async function untilWatchers({ store }: ClientPort, count: number): Promise<void> {
  while (store.watchers.count !== count) await turn()
}

t.test('a long poll: its head at once, then one event, then the end', async (tt) => {
  for (const headers of PARSERS) {
    const member = await openClientPort(tt)
    const connection = await watch(member, 'k?wait=true', headers)
    tt.match(
      connection.text,
      /^HTTP\/1\.1 200 OK\r\nContent-Type: application\/json\r\nX-Etcd-Cluster-Id: [0-9a-f]+\r\nX-Etcd-Index: 3\r\nX-Raft-Index: 4\r\nX-Raft-Term: 2\r\n/,
    )
    tt.match(connection.text, /\r\nTransfer-Encoding: chunked\r\n/)
    tt.same(chunksOf(connection), [])
    member.store.apply(set('/other'))
    member.store.apply(set('/k', { value: 'é' }))
    await connection.until(() => connection.text.endsWith('\r\n0\r\n\r\n'))
    tt.same(
      chunksOf(connection).map((chunk) => Buffer.from(chunk, 'latin1').toString()),
      ['{"action":"set","node":{"key":"/k","value":"é","modifiedIndex":5,"createdIndex":5}}\n'],
    )
    tt.equal(member.store.watchers.count, 0)
    const again = get('/version', ...headers)
    await connection.send(again.text)
    await connection.until(() => connection.text.includes('"etcdserver"'))
    tt.pass('the connection may be used again')
    connection.socket.destroy()
  }
})

t.test('a stream: every event as it happens, until the client goes', async (tt) => {
  for (const headers of PARSERS) {
    const member = await openClientPort(tt)
    const { store } = member
    const connection = await watch(member, 'd?wait=true&stream=true&recursive=true', headers)
    store.apply(set('/d/a'))
    store.apply(set('/d/_hidden'))
    store.apply(update('/d/a', { refresh: true, expireAt: NOW + 5 }))
    store.apply(sync(NOW + 5))
    store.apply(remove('/d', { recursive: true }))
    await connection.until(() => chunksOf(connection).length === 4)
    tt.match(chunksOf(connection), [
      /^\{"action":"set","node":\{"key":"\/d\/a",.*\}\}\n$/,
      /^\{"action":"expire","node":\{"key":"\/d\/a",.*\}\}\n$/,
      /^\{"action":"delete","node":\{"key":"\/d","dir":true,.*\}\}\n$/,
      /^\{"action":"delete","node":\{"key":"\/d","dir":true,.*\}\}\n$/,
    ])
    connection.socket.destroy()
    await untilWatchers(member, 0)
    tt.equal(store.watchers.count, 0, 'it is forgotten')
  }
})

t.test('out of the history: the event is there with the head', async (tt) => {
  const member = await openClientPort(tt)
  for (const value of ['1', '2', '3']) member.store.apply(set('/k', { value }))
  const reply = await ask(member.port, get('/v2/keys/k?wait=true&waitIndex=5'))
  tt.match(reply, { status: 200, body: '"value":"2"' })
  tt.equal(reply.headers['x-etcd-index'], '6', 'the index when the watch began')
  tt.equal(member.store.watchers.count, 0)
  const stream = await watch(member, 'k?wait=true&waitIndex=5&stream=true')
  await stream.until(() => chunksOf(stream).length === 1)
  member.store.apply(set('/k', { value: '4' }))
  await ask(member.port, get('/version'))
  tt.equal(chunksOf(stream).length, 1, 'a stream out of the history has nothing more, as in 2.3')
  stream.socket.destroy()
})

t.test('an index to come: what is before it does not count', async (tt) => {
  const member = await openClientPort(tt)
  const connection = await watch(member, 'k?wait=true&waitIndex=6')
  for (const value of ['4', '5', '6', '7']) member.store.apply(set('/k', { value }))
  await connection.until(() => chunksOf(connection).length === 1)
  tt.match(chunksOf(connection)[0], '"value":"6"')
  connection.socket.destroy()
  const far = await watch(member, 'k?wait=true&waitIndex=18446744073709551615')
  tt.match(far.text, /^HTTP\/1\.1 200/)
  tt.equal(member.store.watchers.count, 1)
  far.socket.destroy()
})

t.test('an index that the history has forgotten is error 401, with the current one', async (tt) => {
  const member = await openClientPort(tt, { historySize: 5 })
  for (let count = 0; count < 10; count += 1) member.store.apply(set('/k'))
  const oldest = await ask(member.port, get('/v2/keys/k?wait=true&waitIndex=9'))
  tt.equal(oldest.status, 200)
  const reply = await ask(member.port, get('/v2/keys/k?wait=true&waitIndex=8'))
  tt.same(
    [reply.status, reply.headers['x-etcd-index'], reply.body],
    [
      400,
      '13',
      '{"errorCode":401,"message":"The event in requested index is outdated and cleared","cause":"the requested history has been cleared [9/8]","index":13}\n',
    ],
  )
})

t.test('wait with quorum is a read', async (tt) => {
  const member = await openClientPort(tt)
  member.store.apply(set('/k', { value: 'now' }))
  const { body } = await ask(member.port, get('/v2/keys/k?wait=true&quorum=true'))
  tt.match(body, /^\{"action":"get".*"value":"now"/)
})

t.test('a client that hangs up is forgotten, in whatever way', async (tt) => {
  for (const headers of PARSERS)
    for (const how of ['end', 'destroy', 'resetAndDestroy'] as const) {
      const member = await openClientPort(tt)
      const connection = await watch(member, 'k?wait=true', headers)
      tt.equal(member.store.watchers.count, 1)
      connection.socket[how]()
      await untilWatchers(member, 0)
      tt.equal(member.store.watchers.count, 0, `${how} ${headers.join()}`)
      connection.socket.destroy()
    }
})

t.test('a stream that is not read is given up, not thinned out', async (tt) => {
  for (const headers of PARSERS) {
    const member = await openClientPort(tt, { watchBytesMax: 100_000 })
    const connection = await watch(member, '?wait=true&stream=true&recursive=true', headers)
    connection.socket.pause()
    const value = 'x'.repeat(50_000)
    let written = 0
    while (member.store.watchers.count === 1) {
      written += 1
      member.store.apply(set(`/k${written}`, { value }))
      if (written % 10 === 0) await turn()
    }
    connection.socket.resume()
    await connection.until(() => connection.text.endsWith('\r\n0\r\n\r\n') || connection.isOver)
    const told = chunksOf(connection).map((chunk) => /"key":"\/k(\d+)"/.exec(chunk)?.[1])
    tt.same(
      told,
      Array.from({ length: told.length }, (_, at) => String(at + 1)),
      `${told.length} of ${written} events, without a gap`,
    )
    connection.socket.destroy()
  }
})

t.test('many watchers of one key are all told', async (tt) => {
  const member = await openClientPort(tt, { fdLimit: 10_000 })
  const connections = await Promise.all(
    Array.from({ length: 200 }, async () => await watch(member, 'k?wait=true')),
  )
  tt.equal(member.store.watchers.count, 200)
  member.store.apply(set('/k'))
  await Promise.all(
    connections.map(async (connection) => {
      await connection.until(() => chunksOf(connection).length === 1)
      connection.socket.destroy()
      await once(connection.socket, 'close')
    }),
  )
  tt.equal(member.store.watchers.count, 0)
})

t.test('a watch ends when its rights are gone', async (tt) => {
  const watches: GuardedWatch[] = []
  let forgotten = 0
  const asked: string[] = []
  const member = await openClientPort(tt, {
    context: {
      guardWatch: (guarded) => {
        asked.push(`${guarded.path} ${guarded.recursive}`)
        watches.push(guarded)
        return () => (forgotten += 1)
      },
    },
  })
  const connection = await watch(member, 'd%2Fe/?wait=true&recursive=true')
  tt.same(asked, ['/d/e/ true'], 'the key as it was sent')
  for (const guarded of watches) guarded.end()
  await connection.until(() => connection.text.endsWith('\r\n0\r\n\r\n'))
  tt.same([chunksOf(connection), member.store.watchers.count, forgotten], [[], 0, 1])
  connection.socket.destroy()
})

t.test('an event that is told is in the history by then', async (tt) => {
  // Two polls pipelined for one key: the second one asks for the event that ends the first.
  const member = await openClientPort(tt)
  member.store.apply(set('/d/x'))
  const connection = await Exchange.open(member.port)
  const sent = [get('/v2/keys/d/x?wait=true'), get('/v2/keys/d/x?wait=true&waitIndex=5')]
  await connection.send(sent.map(({ text }) => text).join(''))
  await untilWatchers(member, 1)
  member.store.apply(remove('/d', { recursive: true }))
  const replies = await connection.replies(sent)
  tt.same(
    replies.map(({ body }) => JSON.parse(body)),
    [member.store.history.at(5), member.store.history.at(5)].map((event) =>
      JSON.parse(event?.json ?? ''),
    ),
  )
  connection.socket.destroy()
})
