import t from 'tap'
import { clusterId, memberId } from '../../src/cluster.ts'
import { openClientPort, type ClientPort } from '../helpers/client-port.ts'
import { NOW, set } from '../helpers/commands.ts'
import { PEER_URL } from '../helpers/alone.ts'
import { ask, check, send } from '../helpers/asking.ts'
import { FORM, get, requestText, type Reply } from '../helpers/exchange.ts'

const ID = memberId([PEER_URL], 'etcd-cluster')
const CLUSTER = clusterId([ID])

t.test('answers of keys carry the headers of their kind', async (tt) => {
  const member = await openClientPort(tt)
  const { port } = member
  const common = { 'content-type': 'application/json', 'x-etcd-cluster-id': CLUSTER }
  const raft = (index: number): object => ({ 'x-raft-index': String(index), 'x-raft-term': '2' })
  check(
    tt,
    await ask(port, { text: requestText('PUT', '/v2/keys/k', [FORM], 'value=v') }),
    201,
    { ...common, 'x-etcd-index': '4', ...raft(5) },
    '{"action":"set","node":{"key":"/k","value":"v","modifiedIndex":4,"createdIndex":4}}\n',
  )
  check(
    tt,
    await send(member, 'PUT', '/v2/keys/k?prevValue=x', 'value=w', FORM),
    412,
    { ...common, 'x-etcd-index': '4' },
    '{"errorCode":101,"message":"Compare failed","cause":"[x != v]","index":4}\n',
  )
  check(
    tt,
    await ask(port, get('/v2/keys/k')),
    200,
    { ...common, 'x-etcd-index': '4', ...raft(6) },
    '{"action":"get","node":{"key":"/k","value":"v","modifiedIndex":4,"createdIndex":4}}\n',
  )
  check(
    tt,
    await ask(port, get('/v2/keys/none?sorted=maybe')),
    400,
    { ...common, 'x-etcd-index': '0' },
    '{"errorCode":209,"message":"Invalid field","cause":"invalid value for \\"sorted\\"","index":0}\n',
  )
  check(
    tt,
    await send(member, 'POST', '/v2/keys/q?noValueOnSuccess=true', 'value=v', FORM),
    201,
    { ...common, 'x-etcd-index': '5', ...raft(7) },
    '{"action":"create"}\n',
  )
  const removed = await send(member, 'DELETE', '/v2/keys/q?recursive=true')
  tt.match(removed.body, /^\{"action":"delete","node":\{"key":"\/q","dir":true/)
  const again = await send(member, 'PUT', '/v2/keys/k', 'value=', FORM)
  tt.equal(again.status, 200, 'a set over a file is no creation')
})

t.test('the term of an answer is that of now, also when no entry came with it', async (tt) => {
  const { port, replica } = await openClientPort(tt)
  tt.equal((await ask(port, get('/v2/keys/'))).headers['x-raft-term'], '2')
  const vote = { lastIndex: 0, lastTerm: 0, isTransfer: true }
  replica.receive([{ type: 'vote', ...vote, from: 'b', to: ID, term: 3, incarnation: 1 }])
  const { headers } = await ask(port, get('/v2/keys/'))
  tt.match(headers, { 'x-raft-index': '4' })
  tt.equal(Number(headers['x-raft-term']), replica.term)
  tt.ok(replica.term > 2)
})

t.test('a key has at most a thousand components', async (tt) => {
  const member = await openClientPort(tt)
  const deepest = `/v2/keys${'/a'.repeat(1000)}`
  tt.equal((await send(member, 'PUT', deepest, 'value=v', FORM)).status, 201)
  tt.match((await ask(member.port, get(deepest))).body, '"value":"v"')
  for (const method of ['PUT', 'GET', 'DELETE']) {
    const { status, body } = await send(member, method, `${deepest}/a`)
    tt.equal(status, 400)
    tt.match(
      body,
      '"errorCode":209,"message":"Invalid field","cause":"a key has at most 1000 components"',
    )
  }
  const long = `/v2/keys/${'n'.repeat(8000)}`
  tt.equal((await send(member, 'PUT', long, 'value=v', FORM)).status, 201, 'a name may be long')
})

t.test('a quorum read is the local one in a cluster of one, and costs no log entry', async (tt) => {
  const { port, replica } = await openClientPort(tt)
  const before = replica.lastIndex
  const reply = await ask(port, get('/v2/keys/?quorum=true'))
  tt.equal(reply.status, 200)
  tt.equal(replica.lastIndex, before)
})

t.test('a write that the disk does not take is error 300', async (tt) => {
  const { port, disk, clock, lines } = await openClientPort(tt, { isByHand: true })
  const write = { text: requestText('PUT', '/v2/keys/k', [FORM], 'value=v') }
  const late = ask(port, write)
  while (disk.waiting === 0) await new Promise((resolve) => setImmediate(resolve))
  clock.now += 7001
  check(
    tt,
    await late,
    500,
    { 'content-type': 'application/json', 'x-etcd-cluster-id': CLUSTER, 'x-etcd-index': '0' },
    '{"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: request timed out","index":0}\n',
  )
  disk.commit()
  const full = ask(port, write)
  while (disk.waiting === 0) await new Promise((resolve) => setImmediate(resolve))
  disk.fill('database or disk is full')
  const refused = await ask(port, write)
  tt.match(refused.body, /"cause":"etcdserver: no space left on the disk"/, 'what comes is refused')
  tt.match(lines, [/^<3>storage: no room left/])
  const health = await ask(port, get('/health'))
  tt.equal(health.status, 503)
  tt.equal(health.body, '{"health": "false", "reason": "no room left on the disk"}\n')
  while (disk.waiting === 0) await new Promise((resolve) => setImmediate(resolve))
  disk.commit()
  tt.equal((await full).status, 200, 'what was under way is answered when there is room')
})

const PLAIN = { 'content-type': 'text/plain; charset=utf-8' }
const REFUSED = { ...PLAIN, 'x-content-type-options': 'nosniff' }

t.test('paths that lead nowhere, and methods that are not allowed', async (tt) => {
  const member = await openClientPort(tt)
  for (const path of ['/', '/v2', '/v2/', '/v2/keysfoo', '/version/', '/v2/machines/', '/v2/stats'])
    check(tt, await ask(member.port, get(path)), 404, REFUSED, '404 page not found\n')
  const allowed: [path: string, method: string, allow: string][] = [
    ['/v2/keys/a', 'PATCH', 'HEAD,GET,PUT,POST,DELETE'],
    ['/v2/members', 'HEAD', 'GET,POST,DELETE,PUT'],
    ['/v2/members/abc', 'PATCH', 'GET,POST,DELETE,PUT'],
    ['/v2/machines', 'POST', 'GET,HEAD'],
    ['/v2/stats/self', 'PUT', 'GET'],
    ['/v2/stats/leader', 'HEAD', 'GET'],
    ['/v2/stats/store', 'DELETE', 'GET'],
    ['/health', 'PUT', 'GET'],
    ['/version', 'HEAD', 'GET'],
    ['/debug/vars', 'POST', 'GET'],
    ['/config/local/log', 'GET', 'PUT'],
  ]
  for (const [path, method, allow] of allowed) {
    const { status, headers, body } = await send(member, method, path)
    tt.match({ status, headers }, { status: 405, headers: { ...REFUSED, allow } }, path)
    tt.equal(body, method === 'HEAD' ? '' : 'Method Not Allowed\n')
  }
})

t.test('unclean paths lead to the clean ones', async (tt) => {
  const member = await openClientPort(tt)
  const cases: [path: string, location: string][] = [
    ['/v2/keys//a', '/v2/keys/a'],
    ['/v2//keys/a/', '/v2/keys/a/'],
    ['/v2/keys/../stats/store', '/v2/stats/store'],
    ['/v2/keys/%2e%2e/x?y=%zz&b', '/v2/x?y=%zz&b'],
    ['/v2/keys/a%2F%2Fb', '/v2/keys/a/b'],
    ['/v2/keys/a b//'.replace(' ', '%20'), '/v2/keys/a%20b/'],
    ['/..', '/'],
    ['/v2/keys//%ff', '/v2/keys/%FF'],
  ]
  for (const [path, location] of cases) {
    const page = `<a href="${location.replaceAll('&', '&amp;')}">Moved Permanently</a>.\n\n`
    const html = { 'content-type': 'text/html; charset=utf-8', location }
    check(tt, await ask(member.port, get(path)), 301, html, page)
    check(tt, await send(member, 'PUT', path), 301, { location }, '')
    const head = await send(member, 'HEAD', path)
    tt.match(head, { status: 301, headers: html, body: '' })
  }
  const { status, headers, body } = await ask(member.port, get('/v2/keys/%zz'))
  tt.same([status, headers['connection'], body], [400, 'close', '400 Bad Request'])
})

t.test('version, health and machines', async (tt) => {
  const member = await openClientPort(tt)
  const { port } = member
  check(
    tt,
    await ask(port, get('/version')),
    200,
    { 'content-type': 'application/json' },
    '{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}',
  )
  check(tt, await ask(port, get('/health')), 200, PLAIN, '{"health": "true"}')
  const machines = 'http://127.0.0.1:2379, http://127.0.0.1:4001'
  check(tt, await ask(port, get('/v2/machines')), 200, PLAIN, machines)
  const head = await send(member, 'HEAD', '/v2/machines')
  tt.equal(head.headers['content-length'], String(machines.length))
})

t.test('statistics', async (tt) => {
  const { port, store, clock } = await openClientPort(tt)
  const json = { 'content-type': 'application/json' }
  store.apply(set('/k'))
  check(tt, await ask(port, get('/v2/stats/store')), 200, json, store.statsJson())
  check(
    tt,
    await ask(port, get('/v2/stats/leader')),
    200,
    json,
    `{"leader":"${ID}","followers":{}}`,
  )
  const uptimes: [ms: number, text: string][] = [
    [0, '0s'],
    [999, '999ms'],
    [1500, '1.5s'],
    [61_001, '1m1.001s'],
    [90_061_500, '25h1m1.5s'],
  ]
  for (const [ms, uptime] of uptimes) {
    clock.now = NOW + ms
    check(
      tt,
      await ask(port, get('/v2/stats/self')),
      200,
      json,
      `{"name":"default","id":"${ID}","state":"StateLeader","startTime":"2016-01-01T00:00:00.000Z",` +
        `"leaderInfo":{"leader":"${ID}","uptime":"${uptime}","startTime":"2016-01-01T00:00:00.000Z"},` +
        '"recvAppendRequestCnt":0,"sendAppendRequestCnt":0}',
    )
  }
  const { headers, body } = await ask(port, get('/debug/vars'))
  tt.equal(headers['content-type'], 'application/json; charset=utf-8')
  tt.match(JSON.parse(body), {
    cmdline: [String],
    file_descriptor_limit: 1000,
    memstats: Object,
    'raft.status': { id: ID, term: 2, lead: ID, raftState: 'StateLeader', progress: {} },
  })
})

t.test('the log level', async (tt) => {
  const member = await openClientPort(tt)
  const put = async (body: string): Promise<Reply> =>
    await send(member, 'PUT', '/config/local/log', body)
  const levels: [asked: string, level: string][] = [
    ['CRITICAL', 'error'],
    ['ERROR', 'error'],
    ['warning', 'warn'],
    ['Notice', 'info'],
    ['INFO', 'info'],
    ['DEBUG', 'debug'],
    ['trace', 'debug'],
  ]
  for (const [asked] of levels) check(tt, await put(`{"LEVEL":"${asked}"}`), 204, {}, '')
  tt.same(
    member.levels,
    levels.map(([, level]) => level),
  )
  const json = { 'content-type': 'application/json' }
  const wrong: [body: string, message: string][] = [
    ['', 'Invalid json body'],
    ['{', 'Invalid json body'],
    ['[]', 'Invalid json body'],
    ['{"Level":5}', 'Invalid json body'],
    ['{"Level":"LOUD"}', 'Invalid log level LOUD'],
    ['{}', 'Invalid log level '],
  ]
  for (const [body, message] of wrong)
    check(tt, await put(body), 400, json, `{"message":"${message}"}`)
})

t.test('CORS', async (tt) => {
  const rules = (origin: string): object => ({
    'access-control-allow-methods': 'POST, GET, OPTIONS, PUT, DELETE',
    'access-control-allow-origin': origin,
    'access-control-allow-headers': 'accept, content-type, authorization',
  })
  const some = await openClientPort(tt, { cors: ['http://a', 'http://b'] })
  const any = await openClientPort(tt, { cors: ['*'] })
  const none = await openClientPort(tt)
  const json = { 'content-type': 'application/json' }
  const version = '{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}'
  const cases: [member: ClientPort, origin: string | undefined, headers: object][] = [
    [some, 'http://a', rules('http://a')],
    [some, 'http://b', rules('http://b')],
    [some, 'http://c', {}],
    [some, undefined, {}],
    [any, 'http://c', rules('*')],
    [any, undefined, rules('*')],
    [none, 'http://a', {}],
  ]
  for (const [member, origin, headers] of cases) {
    const lines = origin === undefined ? [] : [`Origin: ${origin}`]
    check(
      tt,
      await ask(member.port, get('/version', ...lines)),
      200,
      { ...json, ...headers },
      version,
    )
    check(tt, await send(member, 'OPTIONS', '/any/path', '', ...lines), 200, headers, '')
  }
  some.store.apply(set('/k'))
  const watch = await ask(some.port, get('/v2/keys/k?wait=true&waitIndex=4', 'Origin: http://a'))
  tt.match(watch.headers, rules('http://a'), 'watches too')
})

t.test('routes may be plugged in, by path and by prefix', async (tt) => {
  const routes = new Map([
    ['/exact', 'exact'],
    ['/tree/', 'tree'],
  ] as const)
  const { port } = await openClientPort(tt, {
    routes: new Map(
      [...routes].map(([path, name]) => [
        path,
        (_request, responder, full) => responder.reply(200, '', `${name} ${full}`),
      ]),
    ),
  })
  const paths: [path: string, body: string][] = [
    ['/exact', 'exact /exact'],
    ['/exact/x', '404 page not found\n'],
    ['/tree/', 'tree /tree/'],
    ['/tree/a%20b', 'tree /tree/a b'],
    ['/tree', '404 page not found\n'],
  ]
  for (const [path, body] of paths) tt.equal((await ask(port, get(path))).body, body, path)
})

t.test('metrics have the names of the original, and ours', async (tt) => {
  const member = await openClientPort(tt)
  const { port } = member
  await send(member, 'PUT', '/v2/keys/k', 'value=v', FORM)
  await send(member, 'PUT', '/v2/keys/k?prevValue=x', 'value=w', FORM)
  await ask(port, get('/v2/keys/k'))
  await ask(port, get('/v2/keys/k?quorum=true'))
  const { status, headers, body } = await ask(port, get('/metrics'))
  tt.equal(status, 200)
  tt.match(headers['content-type'], /^text\/plain; version=0\.0\.4/)
  const names = [
    'etcd_http_received_total{method="PUT"} 2',
    'etcd_http_received_total{method="GET"} 1',
    'etcd_http_received_total{method="QGET"} 1',
    'etcd_http_failed_total{method="PUT",code="412"} 1',
    'etcd_http_successful_duration_second_count{method="GET"} 1',
    'etcd_http_successful_duration_second_bucket{method="PUT",le="+Inf"} 1',
    'etcd_store_reads_total{action="get"} 2',
    'etcd_store_writes_total{action="set"} 3',
    'etcd_store_writes_total{action="create"} 1',
    'etcd_store_expires_total 0',
    'etcd_store_watchers 0',
    'etcd_store_watch_requests_total 0',
    'etcd_server_proposal_durations_seconds',
    'etcd_server_proposal_failed_total 0',
    'etcd_server_pending_proposal_total 0',
    'etcd_server_file_descriptors_used_total 7',
    'etcd_wal_last_index_saved 6',
    'etcd_wal_fsync_durations_seconds_count 2',
    'etcd_wal_fsync_durations_seconds_bucket{le="0.001"} 2',
    'kvd_store_index 4',
    'kvd_history_events 4',
    'kvd_history_oldest_index 1',
    'kvd_disk_full 0',
    'kvd_file_descriptors_limit 1000',
    'process_resident_memory_bytes',
    'process_cpu_seconds_total',
    'process_start_time_seconds',
    'process_open_fds',
    'process_max_fds',
  ]
  for (const name of names) tt.ok(body.includes(`\n${name}`), name)
  for (const line of body.split('\n'))
    if (
      !/^(|# (HELP|TYPE) \w+ .+|[a-z_A-Z0-9]+(\{[^{}]*\})? (NaN|Nan|[-+.e\d]+|[+-]Inf))$/.test(line)
    )
      tt.fail(`no line of Prometheus' format: ${line}`)
  tt.equal((await send(member, 'POST', '/metrics')).status, 200, 'any method')
})

t.test(
  'a member that is told that it has lost something serves nobody from then on',
  async (tt) => {
    const { port, replica } = await openClientPort(tt)
    tt.equal((await ask(port, get('/v2/keys/'))).status, 200)
    Object.defineProperty(replica, 'isDamaged', { value: true })
    for (const path of ['/v2/keys/', '/v2/keys/?quorum=true', '/v2/members', '/v2/machines']) {
      const { status, headers, body } = await ask(port, get(path))
      tt.equal(status, 503, path)
      tt.equal(headers['x-kvd-diverged'], 'true', 'a proxy asks the next one')
      tt.match(body, /"cause":"etcdserver: this member has lost what it had acknowledged/)
    }
    tt.equal((await ask(port, get('/version'))).status, 200)
    const upgrade = ['Connection: Upgrade', 'Upgrade: websocket']
    const watch = { text: requestText('GET', '/kvd/v1/watch', upgrade) }
    tt.match(await ask(port, watch), { status: 503, headers: { 'x-kvd-diverged': 'true' } })
  },
)
