import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Director } from '../../src/proxy/director.ts'
import { Forwarder } from '../../src/proxy/forward.ts'
import { inTurn } from '../../src/proxy/in-turn.ts'
import { Liveness } from '../../src/proxy/liveness.ts'
import { answerOddRequests } from '../../src/proxy/odd-requests.ts'
import { ProxyMetrics } from '../../src/proxy/proxy-metrics.ts'
import { Exchange, get, put } from '../helpers/exchange.ts'
import { LogLines } from '../helpers/log-lines.ts'
import { openServer } from '../helpers/loopback.ts'
import { withoutTls } from '../helpers/no-tls.ts'

interface Asked {
  readonly url: string
  readonly response: ServerResponse
}

/** A proxy before one member, which answers when the test says so. */
async function proxyBefore(
  tt: Test,
): Promise<{ port: number; asked: Asked[]; untilAsked: (count: number) => Promise<void> }> {
  const asked: Asked[] = []
  const member = await openServer(tt, ({ url = '' }, response) => {
    asked.push({ url, response })
  })
  const director = new Director(60_000, () => 0)
  director.update([member])
  const { logger } = new LogLines()
  const tls = await withoutTls(tt, 'client', logger)
  const forwarder = new Forwarder({
    director,
    logger,
    metrics: new ProxyMetrics(),
    tls,
    nowMs: () => 0,
    dialMs: 60_000,
    writeMs: 60_000,
    readMs: 0,
    liveness: new Liveness(60_000),
  })
  tt.teardown(() => forwarder.close())
  const answer = inTurn(
    (incoming, outgoing, body) => void forwarder.forward(incoming, outgoing, body),
  )
  const server = createServer(answer).listen(0, '127.0.0.1')
  answerOddRequests(server, answer)
  await once(server, 'listening')
  tt.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const address = server.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0
  const untilAsked = async (count: number): Promise<void> => {
    while (asked.length < count) await turn()
  }
  return { port, asked, untilAsked }
}

t.test('of a connection one request after the other comes to a member', async (tt) => {
  const { port, asked, untilAsked } = await proxyBefore(tt)
  const sent = [put('/v2/keys/x', 'value=1'), put('/v2/keys/x', 'value=2'), get('/v2/keys/x')]
  const connection = await Exchange.open(port)
  await connection.send(sent.map(({ text }) => text).join(''))
  for (const [at] of sent.entries()) {
    await untilAsked(at + 1)
    for (let turns = 0; turns < 20; turns += 1) await turn()
    tt.equal(asked.length, at + 1)
    asked[at]?.response.end(String(at))
  }
  const replies = await connection.replies(sent)
  tt.same(
    replies.map(({ body }) => body),
    ['0', '1', '2'],
  )
  connection.socket.destroy()
})

t.test('a client that goes takes all its watches with it', async (tt) => {
  const { port, asked, untilAsked } = await proxyBefore(tt)
  const connection = await Exchange.open(port)
  const polls = Array.from({ length: 100 }, (_, at) => get(`/v2/keys/${at}?wait=true`))
  await connection.send(polls.map(({ text }) => text).join(''))
  await untilAsked(1)
  const [first] = asked
  const left = first === undefined ? undefined : once(first.response, 'close')
  connection.socket.destroy()
  await left
  for (let turns = 0; turns < 50; turns += 1) await turn()
  tt.equal(asked.length, 1)
})

for (const query of ['wait=true', '%77ait=true'])
  t.test(
    `more requests than a proxy keeps behind a watch end the connection: ${query}`,
    async (tt) => {
      const { port, asked, untilAsked } = await proxyBefore(tt)
      const connection = await Exchange.open(port)
      await connection.send(get(`/v2/keys/k?${query}`).text)
      await untilAsked(1)
      await connection.send(Array.from({ length: 300 }, () => get('/v2/keys/k').text).join(''))
      await connection.untilOver()
      tt.equal(asked.length, 1)
    },
  )

t.test('a header that belongs to the connection stays there', async (tt) => {
  const { port, asked, untilAsked } = await proxyBefore(tt)
  const connection = await Exchange.open(port)
  const sent = get('/v2/keys/k', 'Trailer: X')
  await connection.send(sent.text)
  await untilAsked(1)
  asked[0]?.response.end('done')
  const [reply] = await connection.replies([sent])
  tt.equal(reply?.body, 'done')
  connection.socket.destroy()
})

t.test('what can be read but not passed on is refused', async (tt) => {
  const { port, asked } = await proxyBefore(tt)
  const connection = await Exchange.open(port)
  const sent = get('/v2/keys/\u00e4', 'X-A: \u0001')
  await connection.send(sent.text)
  const [reply] = await connection.replies([sent])
  tt.equal(reply?.status, 400)
  tt.equal(asked.length, 0)
  connection.socket.destroy()
})

t.test('a body that is too large is refused, and the refusal arrives', async (tt) => {
  const { port, asked } = await proxyBefore(tt)
  const connection = await Exchange.open(port)
  const sent = put('/v2/keys/k', `value=${'x'.repeat(17 << 20)}`)
  connection.socket.write(sent.text + put('/v2/keys/behind', 'value=1').text)
  const [reply] = await connection.replies([sent])
  tt.match(reply, { status: 413, headers: { connection: 'close' } })
  await connection.untilOver()
  tt.equal(asked.length, 0)
})
