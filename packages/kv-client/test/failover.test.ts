import { createServer as createTcpServer } from 'node:net'
import { test } from 'tap'
import {
  answering,
  client,
  EVENT,
  good,
  listen,
  member,
  mute,
  refusing,
  resetting,
} from './helpers/members.ts'

test('an answer below 500 is final, also an error', async (t) => {
  const body = '{"errorCode":100,"message":"Key not found","cause":"/a","index":4}'
  const first = await answering(t, 404, body)
  const second = await good(t)
  const kv = client(t, [first.url, second.url])
  await t.rejects(kv.get('/a'), {
    name: 'KvError',
    errorCode: 100,
    subject: '/a',
    index: 4,
    status: 404,
  } as const)
  t.equal(second.seen.length, 0)
})

test('a read goes on to the next endpoint, which is then kept', async (t) => {
  const broken = [await resetting(t), await answering(t, 500), await answering(t, 502)]
  const works = await good(t)
  const kv = client(t, [await refusing(t), ...broken.map(({ url }) => url), works.url])
  t.equal((await kv.get('/a')).node.value, 'v')
  await kv.get('/a')
  t.strictSame(
    [...broken, works].map(({ seen }) => seen.length),
    [1, 1, 1, 2],
  )
})

test('when no endpoint answers the error names each of them', async (t) => {
  const refused = await refusing(t)
  const one = await answering(t, 503)
  const two = await answering(t, 502)
  const kv = client(t, [refused, one.url, two.url])
  await t.rejects(kv.get('/a'), {
    name: 'ClusterError',
    code: 'UNAVAILABLE',
    message: 'client: etcd cluster is unavailable or misconfigured',
    errors: [
      { endpoint: refused, error: { code: 'ECONNREFUSED', sent: false } },
      { endpoint: one.url, error: { message: `client: etcd member ${one.url} has no leader` } },
      { error: { message: `client: etcd member ${two.url} returns server error [Bad Gateway]` } },
    ],
  })
  await t.rejects(client(t, []).get('/a'), { code: 'NO_ENDPOINTS', errors: [] })
})

test('a write goes on only when the endpoint certainly did not take it', async (t) => {
  const refused = await refusing(t)
  const works = await good(t)
  const safe: readonly (readonly [string, string])[] = [
    ['refused', refused],
    ['503', (await answering(t, 503)).url],
  ]
  for (const [name, url] of safe) {
    const kv = client(t, [url, works.url])
    t.equal((await kv.set('/a', 'v')).node.value, 'v', name)
  }
  const count = works.seen.length
  const unsafe: readonly (readonly [string, string])[] = [
    ['reset', (await resetting(t)).url],
    ['500', (await answering(t, 500)).url],
    ['502', (await answering(t, 502)).url],
    ['mute', (await mute(t)).url],
  ]
  for (const [name, url] of unsafe) {
    // Long enough for a connection on a busy machine: one that was never made is safe to leave.
    const kv = client(t, [url, works.url], { requestTimeoutMs: name === 'mute' ? 500 : 10_000 })
    const calls: readonly Promise<unknown>[] = [
      kv.set('/a', 'v'),
      kv.delete('/a'),
      kv.createInOrder('/a', 'v'),
      kv.addMember('http://x:1'),
    ]
    for (const call of calls) {
      await t.rejects(call, { name: 'ClusterError', code: 'OUTCOME_UNKNOWN' }, name)
    }
  }
  t.equal(works.seen.length, count, 'nothing was written twice')
})

test('with retryWrites always a write goes on as in the original', async (t) => {
  const works = await good(t)
  const broken = [await resetting(t), await answering(t, 500), await mute(t)]
  const endpoints = [...broken.map(({ url }) => url), works.url]
  const kv = client(t, endpoints, { retryWrites: 'always', requestTimeoutMs: 50 })
  t.equal((await kv.set('/a', 'v')).node.value, 'v')
})

test('redirects are followed ten times, with method and body, without the password', async (t) => {
  const works = await good(t)
  let hops = 10
  const first = await member(t, (response, _, request) => {
    const location = --hops > 0 ? `http://${request.headers.host}/next` : `${works.url}/end`
    response.writeHead(307, { Location: location }).end()
  })
  const kv = client(t, [first.url], { username: 'u', password: 'p' })
  await kv.set('/a', 'v')
  t.equal(first.seen.length, 10)
  t.match(first.seen.at(-1), { line: 'PUT /next', headers: { authorization: 'Basic dTpw' } })
  t.match(works.seen[0], { line: 'PUT /end', body: 'value=v' })
  t.equal(works.seen[0]?.headers.authorization, undefined, 'a stranger is told no password')
  hops = 11
  await t.rejects(kv.get('/a'), { errors: [{ error: { code: 'TOO_MANY_REDIRECTS' } }] })
})

test('a redirect must say where to', async (t) => {
  const nowhere = await answering(t, 307)
  const elsewhere = await member(t, (response) =>
    response.writeHead(307, { Location: 'ftp://x' }).end(),
  )
  const invalid = await member(t, (response) =>
    response.writeHead(307, { Location: 'http://' }).end(),
  )
  await t.rejects(client(t, [nowhere.url, elsewhere.url, invalid.url]).get('/a'), {
    errors: [
      { error: { code: 'BAD_REDIRECT', message: 'Location header not set' } },
      { error: { code: 'BAD_REDIRECT', message: 'Location header not valid URL: ftp://x' } },
      { error: { code: 'BAD_REDIRECT' } },
    ],
  })
})

test('an endpoint may have a path of its own', async (t) => {
  const { url, seen } = await good(t)
  const kv = client(t, [`${url}/prefix/`])
  await kv.get('/a')
  t.match(seen[0]?.line, /^GET \/prefix\/v2\/keys\/a/)
  t.strictSame(kv.endpoints, [`${url}/prefix/`])
})

test('the header timeout is for each endpoint and not for long polls', async (t) => {
  const silent = await mute(t)
  const works = await good(t)
  const kv = client(t, [silent.url, works.url], { requestTimeoutMs: 50 })
  t.equal((await kv.get('/a')).node.value, 'v')
  const alone = client(t, [silent.url], { requestTimeoutMs: 50 })
  await t.rejects(alone.get('/a'), {
    errors: [
      {
        error: {
          code: 'HEADER_TIMEOUT',
          message: `client: endpoint ${silent.url} exceeded header timeout`,
        },
      },
    ],
  })
  const late = await member(t, (response) => setTimeout(() => response.end(EVENT), 120))
  const patient = client(t, [late.url], { requestTimeoutMs: 50 })
  t.equal((await patient.waitOnce('/a'))?.node.value, 'v')
})

test('a header timeout longer than any timer is a long one', async (t) => {
  const late = await member(t, (response) => setTimeout(() => response.end(EVENT), 20))
  for (const requestTimeoutMs of [2 ** 31, 1e12, Infinity]) {
    const kv = client(t, [late.url], { requestTimeoutMs })
    t.equal((await kv.get('/a')).node.value, 'v', String(requestTimeoutMs))
  }
})

test('a call is given up with the reason of its signal, and no other endpoint is asked', async (t) => {
  const silent = await mute(t)
  const works = await good(t)
  const kv = client(t, [silent.url, works.url])
  const reason = new Error('enough')
  const controller = new AbortController()
  const call = kv.set('/a', 'v', { signal: controller.signal })
  controller.abort(reason)
  await t.rejects(call, reason)
  await t.rejects(kv.get('/a', { signal: controller.signal }), reason)
  await t.rejects(kv.get('/a', { signal: AbortSignal.timeout(20) }), { name: 'TimeoutError' })
  t.equal(works.seen.length, 0)
})

test('a call is given up by its signal while the members are still being read', async (t) => {
  const silent = await mute(t)
  const kv = client(t, [silent.url], { sync: true, requestTimeoutMs: 0 })
  const reason = new Error('enough')
  const controller = new AbortController()
  const call = kv.get('/a', { signal: controller.signal })
  const other = kv.get('/b')
  controller.abort(reason)
  await t.rejects(call, reason)
  kv.close()
  await t.rejects(other, { message: 'client: closed' }, 'the others wait on')
})

test('an answer cut in its body or longer than the limit is a failure of its endpoint', async (t) => {
  const cut = await member(t, (response) => {
    response.writeHead(200, { 'Content-Length': 1000 })
    response.write('{"action"', () => response.destroy())
  })
  const long = await member(t, (response) => response.end(EVENT.padEnd(2000)))
  const fits = await member(t, (response) => response.end(EVENT.padEnd(1999)))
  const options = { answerBytesMax: 1999 }
  t.equal((await client(t, [cut.url, long.url, fits.url], options).get('/a')).node.value, 'v')
  await t.rejects(client(t, [cut.url, long.url], options).get('/a'), {
    errors: [{ error: { name: 'TransportError' } }, { error: { code: 'ANSWER_TOO_LARGE' } }],
  })
})

test('an https endpoint that speaks no TLS has taken nothing', async (t) => {
  const plain = createTcpServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  const url = (await listen(t, plain)).replace('http', 'https')
  const works = await good(t)
  const kv = client(t, [url, works.url])
  t.equal((await kv.set('/a', 'v')).node.value, 'v')
})
