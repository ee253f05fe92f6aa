import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { answerOddRequests, readOddRequest } from '../../src/proxy/odd-requests.ts'

const PUT =
  'PUT /caf\xc3\xa9?x=\xff HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 2\r\n\r\nhi'

function bytes(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}

/** Where a server with such an answer listens. */
async function serve(tt: Test, answer: RequestListener, maxHeaderSize = 16_384): Promise<number> {
  const server = createServer({ maxHeaderSize }, answer)
  answerOddRequests(server, answer)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  tt.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const address = server.address()
  return typeof address === 'object' ? (address?.port ?? 0) : 0
}

async function dial(tt: Test, port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true }).setEncoding('latin1')
  tt.teardown(() => socket.destroy())
  await once(socket, 'connect')
  return socket
}

/** All that comes until the other side ends. */
async function rest(socket: Socket): Promise<string> {
  let text = ''
  socket.on('data', (chunk: string) => (text += chunk))
  await once(socket, 'close')
  return text
}

const echo: RequestListener = (incoming, outgoing) => {
  void (async () => {
    const parts: unknown[] = []
    for await (const part of incoming.setEncoding('latin1')) parts.push(part)
    outgoing.end(`${incoming.method} ${incoming.url} ${parts.join('')}`, 'latin1')
  })()
}

t.test('a packet that is exactly one request is read', async (tt) => {
  tt.same(readOddRequest(bytes(PUT)), {
    method: 'PUT',
    target: '/caf\xc3\xa9?x=\xff',
    headers: { host: 'h', 'x-a': '1, 2', 'content-length': '2' },
    body: Buffer.from('hi'),
  })
  tt.match(readOddRequest(bytes('FOO / HTTP/1.1\r\nHost: h\r\n\r\n')), {
    method: 'FOO',
    target: '/',
  })
})

t.test('what is not whole, not alone or not plain is left alone', async (tt) => {
  const head = 'FOO / HTTP/1.1\r\nHost: h\r\n'
  for (const text of [
    '',
    '\r\n\r\n',
    'FOO\r\n\r\n',
    head,
    PUT.slice(0, -1),
    `${PUT}!`,
    `${head}\r\n${head}\r\n`,
    `${head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `${head}Content-Length: 1\r\nContent-Length: 2\r\n\r\nhi`,
    `${head}No colon\r\n\r\n`,
    'FOO / HTTP/1.0\r\nHost: h\r\n\r\n',
    'foo / HTTP/1.1\r\nHost: h\r\n\r\n',
    'FOO /a b HTTP/1.1\r\nHost: h\r\n\r\n',
    'FOO / HTTP/1.1\r\n\r\n',
  ])
    tt.equal(readOddRequest(bytes(text)), undefined, JSON.stringify(text))
})

t.test('an unknown method and raw UTF-8 are answered, also behind another request', async (tt) => {
  const port = await serve(tt, echo)
  for (const [sent, wanted] of [
    [PUT, 'PUT /caf\xc3\xa9?x=\xff hi'],
    ['FOO /a HTTP/1.1\r\nHost: h\r\n\r\n', 'FOO /a '],
  ] as const) {
    const socket = await dial(tt, port)
    socket.write('GET /first HTTP/1.1\r\nHost: h\r\n\r\n')
    const [first] = await once(socket, 'data')
    tt.match(first, 'GET /first ')
    const answered = rest(socket)
    socket.write(bytes(sent))
    const text = await answered
    tt.match(text, /^HTTP\/1\.1 200 OK\r\n/)
    tt.match(text, 'Connection: close\r\n')
    tt.ok(text.includes(wanted), wanted)
  }
})

t.test('what cannot be read is refused as node:http does', async (tt) => {
  const port = await serve(tt, echo, 1024)
  const cases: [sent: string, status: string][] = [
    ['no request\r\n\r\n', '400 Bad Request'],
    ['FOO /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n', '400 Bad Request'],
    [
      `GET / HTTP/1.1\r\nHost: h\r\nA: ${'a'.repeat(2000)}\r\n\r\n`,
      '431 Request Header Fields Too Large',
    ],
  ]
  for (const [sent, status] of cases) {
    const socket = await dial(tt, port)
    const answered = rest(socket)
    socket.write(bytes(sent))
    tt.equal(await answered, `HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`)
  }
})

t.test('behind a request that waits for its answer, nothing is answered', async (tt) => {
  const asked: string[] = []
  const port = await serve(tt, (incoming, outgoing) => {
    asked.push(incoming.url ?? '')
    outgoing.write('open')
  })
  for (const more of ['FOO /b HTTP/1.1\r\nHost: h\r\n\r\n', PUT, 'nonsense\r\n\r\n']) {
    const socket = await dial(tt, port)
    const answered = rest(socket)
    socket.write('GET /a HTTP/1.1\r\nHost: h\r\n\r\n')
    await once(socket, 'data')
    socket.write(bytes(more))
    const text = await answered
    tt.match(text, /open\r\n$/)
    tt.equal(text.match(/HTTP\/1\.1/g)?.length, 1, 'one answer')
  }
  tt.same(asked, ['/a', '/a', '/a'])
})

t.test('what is sent behind the last request changes nothing', async (tt) => {
  const asked: string[] = []
  let end = (): void => undefined
  const port = await serve(tt, (incoming, outgoing) => {
    asked.push(incoming.url ?? '')
    outgoing.write('begun')
    end = () => outgoing.end('ended')
  })
  const socket = await dial(tt, port)
  const answered = rest(socket)
  socket.write('FOO /a HTTP/1.1\r\nHost: h\r\n\r\n')
  await once(socket, 'data')
  socket.write('FOO /b HTTP/1.1\r\nHost: h\r\n\r\n')
  end()
  tt.match(await answered, /begun.*ended/s)
  tt.same(asked, ['/a'])
})
