import { createServer as createTlsServer } from 'node:https'
import { startProxy } from './helpers/proxy.ts'
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
} from './helpers/members.ts'
import { makeCertificates } from './helpers/tls.ts'

test('requests are those of etcd 2.3, parameter for parameter', async (t) => {
  const { url, seen } = await good(t)
  const kv = client(t, [url])
  const calls: readonly (readonly [() => Promise<unknown>, string, string])[] = [
    [() => kv.get('/a'), 'GET /v2/keys/a?quorum=false&recursive=false&sorted=false', ''],
    [
      () => kv.get('/a', { recursive: true, sorted: true, quorum: true }),
      'GET /v2/keys/a?quorum=true&recursive=true&sorted=true',
      '',
    ],
    [() => kv.set('/a', 'v w'), 'PUT /v2/keys/a', 'value=v+w'],
    [() => kv.set('/a', '', { ttl: 5.9 }), 'PUT /v2/keys/a', 'ttl=5&value='],
    [() => kv.set('/a', 'v', { ttl: 0, prevValue: '', prevIndex: 0 }), 'PUT /v2/keys/a', 'value=v'],
    [
      () => kv.set('/a', 'v', { prevValue: 'o', prevIndex: 7, prevExist: true }),
      'PUT /v2/keys/a?prevExist=true&prevIndex=7&prevValue=o',
      'value=v',
    ],
    [() => kv.set('/a', 'v', { refresh: true, ttl: 9 }), 'PUT /v2/keys/a', 'refresh=true&ttl=9'],
    [() => kv.set('/a', 'v', { dir: true }), 'PUT /v2/keys/a?dir=true', ''],
    [() => kv.create('/a', 'v'), 'PUT /v2/keys/a?prevExist=false', 'value=v'],
    [() => kv.update('/a', 'v', { ttl: 1 }), 'PUT /v2/keys/a?prevExist=true', 'ttl=1&value=v'],
    [() => kv.mkdir('/a', { ttl: 1 }), 'PUT /v2/keys/a?dir=true&prevExist=false', 'ttl=1'],
    [() => kv.createInOrder('/q', 'v', { ttl: 1 }), 'POST /v2/keys/q', 'ttl=1&value=v'],
    [() => kv.delete('/a'), 'DELETE /v2/keys/a', ''],
    [
      () => kv.delete('/a', { recursive: true, dir: true, prevValue: 'o', prevIndex: 7 }),
      'DELETE /v2/keys/a?dir=true&prevIndex=7&prevValue=o&recursive=true',
      '',
    ],
    [() => kv.waitOnce('/a'), 'GET /v2/keys/a?recursive=false&wait=true&waitIndex=0', ''],
    [
      () => kv.waitOnce('/a', { recursive: true, waitIndex: 8 }),
      'GET /v2/keys/a?recursive=true&wait=true&waitIndex=8',
      '',
    ],
  ]
  for (const [call, line, body] of calls) {
    await call()
    const last = seen.at(-1)
    t.equal(last?.line, line)
    t.equal(last?.body, body, `${line} body`)
    const isForm = /^P(UT|OST)/.test(line)
    t.equal(last?.headers['content-type'], isForm ? 'application/x-www-form-urlencoded' : undefined)
  }
})

test('keys may be served below another path, or at the root', async (t) => {
  const { url, seen } = await good(t)
  const lines: [keysPrefix: string, line: string][] = [
    ['', 'GET /token/_config/size?quorum=false&recursive=false&sorted=false'],
    ['/app', 'GET /app/token/_config/size?quorum=false&recursive=false&sorted=false'],
  ]
  for (const [keysPrefix, line] of lines) {
    await client(t, [url], { keysPrefix }).get('/token/_config/size')
    t.equal(seen.at(-1)?.line, line)
  }
  const root = client(t, [url], { keysPrefix: '' })
  await root.create('/token/id', 'v')
  t.equal(seen.at(-1)?.line, 'PUT /token/id?prevExist=false')
  const changes = root.watch('/a', { afterIndex: 3 })
  t.match(await changes.next(), { value: { type: 'event' } })
  await changes.return?.()
  const polled = 'GET /a?recursive=false&wait=true&waitIndex=4'
  t.ok(
    seen.some(({ line }) => line === polled),
    'a watch is a long poll',
  )
})

test('a client that was closed rejects calls, those in flight too', async (t) => {
  const silent = await mute(t)
  const kv = client(t, [silent.url])
  const call = kv.get('/a')
  kv.close()
  await t.rejects(call, { message: 'client: closed' })
  await t.rejects(kv.get('/a'), { message: 'client: closed' })
})

test('connections are kept and used again', async (t) => {
  const { url, server } = await good(t)
  let connections = 0
  server.on('connection', () => (connections += 1))
  const kv = client(t, [url])
  for (let n = 0; n < 5; n++) await kv.get('/a')
  t.equal(connections, 1)
})

test('one signal may serve any number of calls without a warning', async (t) => {
  const { url } = await good(t)
  const kv = client(t, [url])
  const warnings: Error[] = []
  const onWarning = (warning: Error): void => void warnings.push(warning)
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  const { signal } = new AbortController()
  await Promise.all(Array.from({ length: 30 }, () => kv.get('/a', { signal })))
  t.strictSame(warnings, [])
})

test('endpoints are shuffled, members are read once before the first call', async (t) => {
  const spread = client(t, ['a:1', 'b:1', 'c:1'], { random: () => 0.99 })
  t.strictSame(spread.endpoints, ['http://c:1', 'http://b:1', 'http://a:1'])
  const works = await good(t)
  const clientURLs = [works.url]
  const members = JSON.stringify({
    members: [
      { id: 'a', name: 'a', peerURLs: ['http://p:1'], clientURLs },
      { id: 'b', name: '', peerURLs: ['http://q:1'], clientURLs: [] },
    ],
  })
  const first = await answering(t, 200, members)
  const kv = client(t, [first.url], { sync: true })
  await Promise.all([kv.get('/a'), kv.get('/a')])
  t.strictSame(
    first.seen.map(({ line }) => line),
    ['GET /v2/members'],
  )
  t.strictSame(kv.endpoints, [works.url])
  t.equal(works.seen.length, 2)

  const unpublished = client(t, [(await answering(t, 200, '{"members":[]}')).url], { sync: true })
  await t.rejects(unpublished.get('/a'), { code: 'NO_ENDPOINTS' })
  await t.rejects(unpublished.get('/a'), { code: 'NO_ENDPOINTS' }, 'and again')
})

test('the hook is told every request', async (t) => {
  const works = await good(t)
  const broken = await answering(t, 500)
  const traces: unknown[] = []
  const onRequest = (trace: unknown): void => void traces.push(trace)
  const kv = client(t, [broken.url, works.url], { onRequest, retryWrites: 'always' })
  await kv.set('/a b', 'v')
  await kv.delete('/a')
  t.strictSame(traces, [
    { method: 'PUT', url: `${broken.url}/v2/keys/a%20b`, body: 'value=v' },
    { method: 'PUT', url: `${works.url}/v2/keys/a%20b`, body: 'value=v' },
    { method: 'DELETE', url: `${works.url}/v2/keys/a` },
  ])
})

test('members, health, version and statistics', async (t) => {
  const one = { id: 'ab', name: 'n', peerURLs: ['http://p:1'], clientURLs: ['http://c:1'] }
  const answers: Record<string, string> = {
    'GET /v2/members': JSON.stringify({ members: [one, { id: 'cd' }] }),
    'GET /v2/members/leader': JSON.stringify(one),
    'POST /v2/members': JSON.stringify(one),
    'GET /version': '{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}',
    'GET /v2/stats/store': '{"watchers":1}',
    'GET /health': '{"health": "true"}',
    'GET /v2/machines': 'http://c:1, http://d:1',
  }
  let health = answers['GET /health']
  const { url, seen } = await member(t, (response, { line }) => {
    if (line === 'GET /health') response.end(health)
    else response.writeHead(answers[line] === undefined ? 204 : 200).end(answers[line])
  })
  const kv = client(t, [url])
  t.strictSame(await kv.members(), [one, { id: 'cd', name: '', peerURLs: [], clientURLs: [] }])
  t.strictSame(await kv.leader(), one)
  t.strictSame(await kv.addMember('http://p:1'), one)
  t.equal(seen.at(-1)?.body, '{"peerURLs":["http://p:1"]}')
  t.equal(seen.at(-1)?.headers['content-type'], 'application/json')
  await kv.removeMember('ab')
  t.equal(seen.at(-1)?.line, 'DELETE /v2/members/ab')
  await kv.updateMember('ab', ['http://p:2'])
  t.match(seen.at(-1), { line: 'PUT /v2/members/ab', body: '{"peerURLs":["http://p:2"]}' })
  t.strictSame(await kv.version(), { etcdserver: '2.3.8', etcdcluster: '2.3.0' })
  t.strictSame(await kv.stats('store'), { watchers: 1 })
  t.strictSame(await kv.machines(), ['http://c:1', 'http://d:1'])
  const denied = await answering(t, 403, 'no')
  await t.rejects(client(t, [denied.url]).machines(), { message: 'no', status: 403 } as const)
  t.equal(await kv.health(url), true)
  health = '{"health":true}'
  t.equal(await kv.health(`${url}/`), true)
  health = '{"health": "false"}'
  t.equal(await kv.health(url), false)
  health = 'x'
  await t.rejects(kv.health(url), { code: 'BAD_ANSWER' })
  await t.rejects(kv.health(await refusing(t)), { code: 'ECONNREFUSED' })
})

test('health waits for a member that finds no majority, longer than other calls do', async (t) => {
  let answer = (): void => undefined
  const { url } = await member(t, (response, { line }) => {
    if (line === 'GET /health') answer = () => response.writeHead(503).end('{"health": "false"}')
  })
  const kv = client(t, [url], { requestTimeoutMs: 50 })
  const health = kv.health(url)
  await t.rejects(kv.version(), { code: 'UNAVAILABLE' }, 'which was asked later')
  answer()
  t.equal(await health, false)
})

test('users, roles and the switch', async (t) => {
  const role = { role: 'r', permissions: { kv: { read: ['/a'], write: [] } } }
  const answers: Record<string, string> = {
    'GET /v2/auth/enable': '{"enabled":true}',
    'GET /v2/auth/users': JSON.stringify({ users: [{ user: 'u', roles: [role] }] }),
    'GET /v2/auth/users/u': JSON.stringify({ user: 'u', roles: [role] }),
    'PUT /v2/auth/users/u': JSON.stringify({ user: 'u', roles: ['r'] }),
    'GET /v2/auth/roles': JSON.stringify({ roles: [role] }),
    'GET /v2/auth/roles/r': JSON.stringify(role),
    'PUT /v2/auth/roles/r': JSON.stringify({
      role: 'r',
      permissions: { kv: { read: null, write: null } },
    }),
  }
  const { url, seen } = await member(t, (response, { line }) => response.end(answers[line]))
  const kv = client(t, [url], { username: 'root', password: 'pw' })
  const user = { user: 'u', roles: ['r'] }
  const empty = { role: 'r', permissions: { kv: { read: [], write: [] } } }
  const kvA = { read: ['/a'], write: [] }
  const calls: readonly (readonly [() => Promise<unknown>, unknown, string, string])[] = [
    [() => kv.authEnabled(), true, 'GET /v2/auth/enable', ''],
    [() => kv.enableAuth(), undefined, 'PUT /v2/auth/enable', ''],
    [() => kv.disableAuth(), undefined, 'DELETE /v2/auth/enable', ''],
    [() => kv.users(), ['u'], 'GET /v2/auth/users', ''],
    [() => kv.user('u'), user, 'GET /v2/auth/users/u', ''],
    [() => kv.addUser('u', 'p'), undefined, 'PUT /v2/auth/users/u', '{"user":"u","password":"p"}'],
    [
      () => kv.changePassword('u', 'q'),
      user,
      'PUT /v2/auth/users/u',
      '{"user":"u","password":"q"}',
    ],
    [() => kv.grantUser('u', ['r']), user, 'PUT /v2/auth/users/u', '{"user":"u","grant":["r"]}'],
    [() => kv.revokeUser('u', ['r']), user, 'PUT /v2/auth/users/u', '{"user":"u","revoke":["r"]}'],
    [() => kv.removeUser('u'), undefined, 'DELETE /v2/auth/users/u', ''],
    [() => kv.roles(), ['r'], 'GET /v2/auth/roles', ''],
    [() => kv.role('r'), role, 'GET /v2/auth/roles/r', ''],
    [
      () => kv.addRole('r'),
      undefined,
      'PUT /v2/auth/roles/r',
      '{"role":"r","permissions":{"kv":{"read":[],"write":[]}}}',
    ],
    [
      () => kv.grantRole('r', kvA),
      empty,
      'PUT /v2/auth/roles/r',
      '{"role":"r","grant":{"kv":{"read":["/a"],"write":[]}}}',
    ],
    [
      () => kv.revokeRole('r', kvA),
      empty,
      'PUT /v2/auth/roles/r',
      '{"role":"r","revoke":{"kv":{"read":["/a"],"write":[]}}}',
    ],
    [() => kv.removeRole('r'), undefined, 'DELETE /v2/auth/roles/r', ''],
  ]
  for (const [call, result, line, body] of calls) {
    t.strictSame(await call(), result, line)
    t.match(seen.at(-1), { line, body, headers: { authorization: 'Basic cm9vdDpwdw==' } })
  }
  const denied = await answering(t, 401, '{"message":"Insufficient credentials"}')
  await t.rejects(client(t, [denied.url]).enableAuth(), {
    name: 'KvError',
    message: 'Insufficient credentials',
    status: 401,
  })
})

test('https with a CA of its own and a client certificate', async (t) => {
  const made = makeCertificates(t.testdir())
  if (made === undefined) return t.comment('skipped: openssl is not installed')
  const { ca } = made
  const server = createTlsServer(
    { ...made.server, ca, requestCert: true, rejectUnauthorized: true },
    (_, response) => response.end(EVENT),
  )
  const url = await listen(t, server, 'https')
  const kv = client(t, [url], { tls: { ca: [ca], ...made.client } })
  t.equal((await kv.get('/a')).node.value, 'v')
  t.equal((await kv.set('/a', 'v')).node.value, 'v', 'and again, over the same connection')
  const insecure = client(t, [url], { tls: { ...made.client, rejectUnauthorized: false } })
  t.equal((await insecure.waitOnce('/a'))?.node.value, 'v')
  const stranger = client(t, [url], { tls: made.client })
  await t.rejects(stranger.set('/a', 'v'), {
    code: 'UNAVAILABLE',
    errors: [{ error: { sent: false } }],
  })
})

test('requests go through an HTTP proxy: http with the whole URL, https by CONNECT', async (t) => {
  const { url, seen } = await good(t)
  const proxy = await startProxy(t)
  const kv = client(t, [url], { proxy: proxy.url.replace('http://', 'http://user:p%40ss@') })
  t.equal((await kv.get('/a')).node.value, 'v')
  t.equal((await kv.set('/a', 'v w')).node.value, 'v')
  t.equal((await kv.waitOnce('/a'))?.node.value, 'v')
  t.same(
    proxy.requests.map(({ line }) => line.split('?')[0]),
    [`GET ${url}/v2/keys/a`, `PUT ${url}/v2/keys/a`, `GET ${url}/v2/keys/a`],
  )
  const authorization = `Basic ${Buffer.from('user:p@ss').toString('base64')}`
  for (const request of proxy.requests) t.equal(request.authorization, authorization)
  t.equal(seen[1]?.body, 'value=v+w')
  const made = makeCertificates(t.testdir())
  if (made === undefined) return t.comment('skipped: openssl is not installed')
  const server = createTlsServer(made.server, (_, response) => response.end(EVENT))
  const secure = await listen(t, server, 'https')
  const hidden = client(t, [secure], { proxy: proxy.url, tls: { ca: made.ca } })
  t.equal((await hidden.get('/a')).node.value, 'v')
  t.equal(proxy.requests.at(-1)?.line, `CONNECT ${secure.replace('https://', '')}`)
})

test('a proxy that is away has been told nothing', async (t) => {
  const { url, seen } = await good(t)
  const kv = client(t, [url], { proxy: (await refusing(t)).replace('http://', '') })
  await t.rejects(kv.set('/a', 'v'), { code: 'UNAVAILABLE', errors: [{ error: { sent: false } }] })
  t.equal(seen.length, 0, 'nothing goes around it')
  t.throws(() => client(t, [url], { proxy: 'socks5://127.0.0.1:1' }), {
    name: 'TypeError',
    message: 'client: proxy socks5://127.0.0.1:1 is neither http nor https',
  })
})
