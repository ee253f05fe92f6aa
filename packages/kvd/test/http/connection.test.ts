import { once } from 'node:events'
import { connect } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Routes } from '../../src/http/router.ts'
import { openClientPort } from '../helpers/client-port.ts'
import { freePorts } from '../helpers/store-process.ts'
import {
  Exchange,
  exchange,
  FORM,
  get,
  put,
  UNUSUAL,
  valueOf,
  requestText,
  visible,
  type Sent,
} from '../helpers/exchange.ts'

t.test('answers come in the order of the requests, whatever they wait for', async (tt) => {
  const { port } = await openClientPort(tt)
  const many = Array.from({ length: 300 }, (_, at) => [
    put('/v2/keys/k', `value=${at}`),
    get('/v2/keys/k'),
    get(`/v2/keys/none/${at}`),
  ]).flat()
  const replies = await exchange(port, many)
  tt.equal(replies.length, 900)
  const wrong = replies.findIndex((reply, at) =>
    at % 3 === 2
      ? !reply.body.includes('"cause":"/none"')
      : valueOf(reply) !== String(Math.floor(at / 3)),
  )
  tt.equal(wrong, -1)
})

t.test('plain requests never leave the fast way, which costs half', async (tt) => {
  const { port } = await openClientPort(tt)
  const connection = await Exchange.open(port)
  const sent = [put('/v2/keys/k', 'value=1'), get('/v2/keys/k'), get('/v2/keys/k')]
  await connection.send(sent.map(({ text }) => text).join(''))
  await connection.replies(sent)
  sent.push(get('/v2/keys/k'))
  await connection.send(get('/v2/keys/k').text)
  const replies = await connection.replies(sent)
  tt.same(
    replies.map(({ headers }) => headers['connection']),
    [undefined, undefined, undefined, undefined],
    'node:http would say that it keeps the connection',
  )
  connection.socket.destroy()
})

t.test(
  'requests that take the connection to node:http are answered there, and what follows',
  async (tt) => {
    const { port } = await openClientPort(tt)
    const chunks = 'Transfer-Encoding: chunked\r\n\r\n6\r\nvalue=\r\n2\r\nv2\r\n0\r\n\r\n'
    const cases: [what: string, unusual: Sent, value: string][] = [
      [
        'a chunked body',
        { text: `PUT /v2/keys/k HTTP/1.1\r\nHost: x\r\n${FORM}\r\n${chunks}` },
        'v2',
      ],
      ['a body announced', put('/v2/keys/k', 'value=v2', 'Expect: 100-continue'), 'v2'],
      ['a large body', put('/v2/keys/k', `value=${'x'.repeat(70_000)}`), 'x'.repeat(70_000)],
      ['a whole URL', { text: requestText('PUT', 'http://kvd/v2/keys/k?value=v2') }, 'v2'],
      ['a large head', put('/v2/keys/k', 'value=v2', `X-Large: ${'y'.repeat(20_000)}`), 'v2'],
      [
        'blank lines in front',
        { text: `\r\n\r\n${requestText('PUT', '/v2/keys/k?value=v2')}` },
        'v2',
      ],
    ]
    for (const [what, sent, value] of cases) {
      const replies = await exchange(port, [put('/v2/keys/k', 'value=v1'), sent, get('/v2/keys/k')])
      tt.same(
        replies.map((reply) => valueOf(reply)?.slice(0, 100)),
        ['v1', value.slice(0, 100), value.slice(0, 100)],
        what,
      )
      tt.equal(valueOf(replies[2])?.length, value.length, what)
    }
  },
)

t.test(
  'an upgrade that nobody wants is ignored, as clients that offer HTTP/2 expect',
  async (tt) => {
    const { port } = await openClientPort(tt)
    const offer = [
      'Upgrade: h2c',
      'HTTP2-Settings: AAMAAABk',
      'Connection: Upgrade, HTTP2-Settings',
    ]
    const sent = [
      put('/v2/keys/k', 'value=v1', ...offer),
      get('/v2/keys/k', ...offer),
      get('/v2/keys/k', 'Upgrade: websocket', 'Connection: Upgrade'),
      get('/v2/keys/k'),
    ]
    const connection = await Exchange.open(port)
    // One after the other: nobody sends more before the offer was answered.
    for (const [at, { text }] of sent.entries()) {
      await connection.send(text)
      const replies = await connection.replies(sent.slice(0, at + 1))
      tt.equal(valueOf(replies[at]), 'v1', text.slice(0, 30))
    }
    connection.socket.destroy()
  },
)

t.test('an interim answer comes before the body is sent', async (tt) => {
  const { port } = await openClientPort(tt)
  const connection = await Exchange.open(port)
  const sent = put('/v2/keys/k', 'value=late', 'Expect: 100-continue')
  await connection.send(sent.text.slice(0, -'value=late'.length))
  await connection.until(() => connection.text.includes('\r\n\r\n'))
  tt.equal(connection.text, 'HTTP/1.1 100 Continue\r\n\r\n')
  await connection.send('value=late')
  tt.equal(valueOf((await connection.replies([sent]))[0]), 'late')
  connection.socket.destroy()
})

t.test('requests that are none end the connection', async (tt) => {
  const { port } = await openClientPort(tt)
  const cases: [what: string, text: string][] = [
    ['two lengths', requestText('PUT', '/v2/keys/k', ['Content-Length: 1', 'Content-Length: 2'])],
    ['a length that is none', requestText('PUT', '/v2/keys/k', ['Content-Length: x'])],
    ['a blank before the colon', requestText('GET', '/version', ['Accept : x'])],
    ['a line break alone', 'GET /version HTTP/1.1\nHost: x\n\n\r\n\r\n'],
    ['an endless head', `GET /version HTTP/1.1\r\nX: ${'y'.repeat(200_000)}`],
    ['a NUL', requestText('GET', '/version', ['X: \0'])],
  ]
  for (const [what, text] of cases) {
    const connection = await Exchange.open(port)
    await connection.send(text)
    const answer = await connection.untilOver()
    tt.match(answer, /^(HTTP\/1\.1 4\d\d [\s\S]*)?$/, `${what}: ${answer.slice(0, 40)}`)
  }
  tt.equal((await exchange(port, [get('/version')]))[0]?.status, 200, 'others are served')
})

t.test('a connection stays open, until one side says otherwise', async (tt) => {
  for (const headers of [[], [UNUSUAL]]) {
    const { port, store } = await openClientPort(tt)
    const connection = await Exchange.open(port)
    const first = get('/version', ...headers)
    await connection.send(first.text)
    const [kept] = await connection.replies([first])
    tt.not(kept?.headers['connection'], 'close')
    const last = get('/version', 'Connection: close')
    await connection.send(last.text + put('/v2/keys/after-close', 'value=1').text)
    const text = await connection.untilOver()
    tt.ok((text.match(/HTTP\/1\.1 2/g)?.length ?? 0) <= 2, 'what follows a close is not answered')
    tt.match(text, /\r\nConnection: close\r\n/)
    await exchange(port, [put('/v2/keys/other', 'value=1')])
    tt.equal(store.peek('keys', '/after-close'), undefined, 'and not carried out')
  }
})

t.test('nothing is carried out behind an answer that ends the connection', async (tt) => {
  for (const headers of [[], [UNUSUAL]]) {
    const { port, store } = await openClientPort(tt)
    const connection = await Exchange.open(port)
    const malformed = get('/v2/keys/%zz', ...headers).text
    await connection.send(malformed + put('/v2/keys/after', 'value=1').text)
    const text = await connection.untilOver()
    tt.match(text, /^HTTP\/1\.1 400 Bad Request\r\n/)
    tt.equal(text.match(/HTTP\/1\.1/g)?.length, 1)
    await exchange(port, [put('/v2/keys/other', 'value=1')])
    tt.equal(store.peek('keys', '/after'), undefined, headers.join())
  }
})

t.test('a write behind a close that comes later is not carried out either', async (tt) => {
  const { port, store } = await openClientPort(tt)
  const connection = await Exchange.open(port)
  await connection.send(put('/v2/keys/k', 'value=1', 'Connection: close').text)
  await connection.until(() => connection.text.includes('"value":"1"'))
  await connection.send(put('/v2/keys/after-close', 'value=1').text)
  await connection.untilOver()
  await exchange(port, [put('/v2/keys/other', 'value=1')])
  tt.equal(store.peek('keys', '/after-close'), undefined)
})

t.test('a client that ends its side gets all its answers', async (tt) => {
  const { port } = await openClientPort(tt)
  const sent = Array.from({ length: 20 }, (_, at) => put(`/v2/keys/k${at}`, `value=${at}`))
  for (const first of [get('/version'), get('/version', UNUSUAL)]) {
    const connection = await Exchange.open(port)
    await connection.send([first, ...sent].map(({ text }) => text).join(''))
    connection.socket.end()
    const replies = await connection.replies([first, ...sent])
    tt.same(
      replies.slice(1).map(valueOf),
      sent.map((_, at) => String(at)),
    )
    await connection.untilOver()
  }
})

t.test(
  'a client that ends its side behind an unusual request gets its answers, too',
  async (tt) => {
    const { port, disk, replica } = await openClientPort(tt, { isByHand: true })
    const sent = [
      put('/v2/keys/a', 'value=1'),
      put('/v2/keys/b', 'value=2', UNUSUAL),
      get('/v2/keys/b'),
    ]
    const connection = await Exchange.open(port)
    await connection.send(sent.map(({ text }) => text).join(''))
    connection.socket.end()
    while (replica.pending === 0) await turn()
    // The first write is answered long after the client's end has come: only then the second is read.
    for (let turns = 0; turns < 20; turns += 1) await turn()
    for (let writes = 0; writes < 2; writes += 1) {
      while (disk.waiting === 0) await turn()
      disk.commit()
    }
    tt.same((await connection.replies(sent)).map(valueOf), ['1', '2', '2'])
    await connection.untilOver()
  },
)

t.test('what a client sends ahead is bounded', async (tt) => {
  const { port, disk, store, replica } = await openClientPort(tt, { isByHand: true })
  const value = 'x'.repeat(60_000)
  const ahead = Array.from({ length: 10 }, (_, at) => put(`/v2/keys/k${at}`, `value=${value}`))
  const connection = await Exchange.open(port)
  await connection.send(ahead.map(({ text }) => text).join(''))
  while (replica.pending === 0) await turn()
  for (let writes = 0; writes < ahead.length; writes += 1) {
    while (disk.waiting === 0) await turn()
    disk.commit()
  }
  tt.equal((await connection.replies(ahead)).length, 10, 'it waits, and is answered in the end')
  const poll = get('/v2/keys/k?wait=true')
  await connection.send(poll.text)
  while (store.watchers.count === 0) await turn()
  await connection.send(ahead.map(({ text }) => text).join(''))
  await connection.untilOver()
  while (store.watchers.count > 0) await turn()
  tt.equal(store.watchers.count, 0, 'behind a long poll the connection is cut')
})

t.test('HEAD has the head of GET and no body', async (tt) => {
  const { port } = await openClientPort(tt)
  await exchange(port, [put('/v2/keys/k', 'value=v')])
  for (const headers of [[], [UNUSUAL]]) {
    const head = { text: requestText('HEAD', '/v2/keys/k', headers), isHead: true }
    const missing = { text: requestText('HEAD', '/v2/keys/none', headers), isHead: true }
    const replies = await exchange(port, [head, get('/v2/keys/k'), missing, get('/v2/keys/none')])
    tt.equal(replies.length, 4)
    const [one, two, three, four] = replies.map((reply) => visible({ ...reply, body: '' }))
    tt.same(one, two)
    tt.same(three, four)
    tt.equal(replies[0]?.headers['content-length'], String(replies[1]?.body.length))
  }
})

t.test('what comes behind a long poll is answered after it', async (tt) => {
  const { port, store } = await openClientPort(tt)
  const connection = await Exchange.open(port)
  const sent = [get('/v2/keys/k?wait=true'), get('/v2/keys/k')]
  await connection.send(sent.map(({ text }) => text).join(''))
  await connection.until(() => connection.text.includes('\r\n\r\n'))
  tt.match(connection.text, /Transfer-Encoding: chunked\r\n\r\n$/, 'its head is sent at once')
  tt.equal(store.watchers.count, 1)
  await exchange(port, [put('/v2/keys/k', 'value=v')])
  const replies = await connection.replies(sent)
  tt.match(replies[0]?.body, '"action":"set"')
  tt.match(replies[1]?.body, '"action":"get"')
  connection.socket.destroy()
})

t.test('no more connections than the system allows', async (tt) => {
  const { port, lines } = await openClientPort(tt, { fdLimit: 152 })
  const connections = [await Exchange.open(port), await Exchange.open(port)]
  await served(tt, connections)
  for (const late of [await Exchange.open(port), await Exchange.open(port)])
    tt.equal(await late.untilOver(), '')
  tt.match(lines, [/^<4>http: too many connections, one was refused/])
  tt.equal(lines.length, 1, 'one line, however many come')
  for (const { socket } of connections) {
    socket.destroy()
    await once(socket, 'close')
  }
  tt.equal(
    (await exchange(port, [get('/version')]))[0]?.status,
    200,
    'when they are gone, others come',
  )
})

t.test('connections that node:http serves count, too', async (tt) => {
  const { port } = await openClientPort(tt, { fdLimit: 152 })
  const connections = [await Exchange.open(port), await Exchange.open(port)]
  await served(tt, connections, UNUSUAL)
  const third = await Exchange.open(port)
  tt.equal(await third.untilOver(), '', 'a third one is refused')
  for (const { socket } of connections) socket.destroy()
})

async function served(
  tt: Test,
  connections: readonly Exchange[],
  ...headers: string[]
): Promise<void> {
  const version = get('/version', ...headers)
  for (const connection of connections) {
    await connection.send(version.text)
    tt.equal((await connection.replies([version]))[0]?.status, 200)
  }
}

t.test(
  'drain: long polls end, idle connections close, what is under way is answered',
  async (tt) => {
    const { port, clients, disk, replica } = await openClientPort(tt, { isByHand: true })
    const idle = await Exchange.open(port)
    const polls = [get('/v2/keys/k?wait=true'), get('/v2/keys/k?wait=true', UNUSUAL)]
    const waiting: Exchange[] = []
    for (const poll of polls) {
      const connection = await Exchange.open(port)
      await connection.send(poll.text)
      await connection.until(() => connection.text.includes('\r\n\r\n'))
      waiting.push(connection)
    }
    const writing = await Exchange.open(port)
    const write = put('/v2/keys/w', 'value=1')
    await writing.send(write.text)
    while (replica.pending === 0) await turn()
    clients.drain()
    tt.equal(await idle.untilOver(), '')
    for (const connection of waiting) tt.match(await connection.untilOver(), /\r\n\r\n0\r\n\r\n$/)
    while (disk.waiting === 0) await turn()
    disk.commit()
    tt.match(await writing.untilOver(), /"value":"1"/)
    const refused = connect({ port, host: '127.0.0.1' })
    const [error] = await once(refused, 'error')
    tt.match(error, { code: 'ECONNREFUSED' })
  },
)

/** Ends of TCP connections in this process, clients' and servers'. */
function openEnds(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length
}

/** Those of earlier tests may still be closing. */
async function untilNoneIsOpen(): Promise<void> {
  while (openEnds() > 0) await turn()
}

t.test('of clients that come together none is served before all are there', async (tt) => {
  await untilNoneIsOpen()
  const counts: number[] = []
  const routes: Routes = new Map([
    [
      '/count',
      (_request, responder) => {
        counts.push(openEnds())
        responder.reply(200, '', '')
      },
    ],
  ])
  // Of a clock that only goes on when it is asked the machine cannot take any time.
  let elapsed = 0
  const { port } = await openClientPort(tt, { routes, elapsedMs: () => (elapsed += 0.05) })
  const sent = get('/count')
  const clients = await Promise.all(Array.from({ length: 60 }, () => Exchange.open(port)))
  await Promise.all(clients.map((client) => client.send(sent.text)))
  for (const client of clients) {
    tt.equal((await client.replies([sent]))[0]?.status, 200)
    client.socket.destroy()
  }
  tt.equal(counts[0], 120, 'both ends of all')
})

t.test(
  'drain: what a client has sent before it was read for the first time is answered',
  async (tt) => {
    const { port, clients } = await openClientPort(tt)
    await untilNoneIsOpen()
    const sent = get('/version')
    const client = await Exchange.open(port)
    client.socket.write(sent.text)
    while (openEnds() < 2) await turn()
    clients.drain()
    const [reply] = await client.replies([sent])
    tt.equal(reply?.status, 200)
    await client.untilOver()
  },
)

t.test('drain: what takes a connection to node:http meanwhile is answered there', async (tt) => {
  const { port, clients } = await openClientPort(tt)
  await untilNoneIsOpen()
  const sent = put('/v2/keys/k', `value=${'x'.repeat(100_000)}`)
  const client = await Exchange.open(port)
  client.socket.write(sent.text)
  while (openEnds() < 2) await turn()
  clients.drain()
  const [reply] = await client.replies([sent])
  tt.equal(reply?.status, 201)
  await client.untilOver()
})

t.test('drain: a port that is opened meanwhile takes nobody', async (tt) => {
  const { clients } = await openClientPort(tt)
  clients.drain()
  const { client } = await freePorts()
  await clients.listen(new URL(`http://127.0.0.1:${client}`))
  const refused = await once(connect(client, '127.0.0.1'), 'connect').catch(
    (error: unknown) => error,
  )
  tt.match(refused, { code: 'ECONNREFUSED' })
})
