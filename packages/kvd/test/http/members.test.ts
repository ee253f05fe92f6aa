import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { clusterId, memberId } from '../../src/cluster.ts'
import { PEER_URL } from '../helpers/alone.ts'
import { ask, check, send } from '../helpers/asking.ts'
import { CLIENT_URLS, openClientPort, type ClientPort } from '../helpers/client-port.ts'
import { NOW, set } from '../helpers/commands.ts'
import { FORM, get, type Reply } from '../helpers/exchange.ts'

const ID = memberId([PEER_URL], 'etcd-cluster')
const CLUSTER = clusterId([ID])
const JSON_HEAD = 'Content-Type: application/json'
const REFUSED = {
  'content-type': 'text/plain; charset=utf-8',
  'x-content-type-options': 'nosniff',
}

t.test('ids are computed as the original computes them', async (tt) => {
  // etcd 2.3, one member at its default URLs: seen with a running one.
  const id = memberId(['http://localhost:2380', 'http://localhost:7001'], 'etcd-cluster')
  tt.same([id, clusterId([id])], ['ce2a822cea30bfca', '7e27652122e8b2ae'])
  tt.equal(memberId(['http://localhost:7001', 'http://localhost:2380'], 'etcd-cluster'), id)
  tt.not(memberId(['http://localhost:2380', 'http://localhost:7001'], 'other'), id)
  tt.equal(clusterId(['ab', '2']), clusterId(['2', 'ab']))
})

const SELF = `{"id":"${ID}","name":"default","peerURLs":["${PEER_URL}"],"clientURLs":["${CLIENT_URLS.join('","')}"]}`

t.test('members', async (tt) => {
  const member = await openClientPort(tt)
  const json = { 'content-type': 'application/json', 'x-etcd-cluster-id': CLUSTER }
  const read = async (path: string): Promise<Reply> => await ask(member.port, get(path))
  for (const path of ['/v2/members', '/v2/members/'])
    check(tt, await read(path), 200, json, `{"members":[${SELF}]}\n`)
  check(tt, await read('/v2/members/leader'), 200, json, `${SELF}\n`)
  check(tt, await read(`/v2/members/${ID}`), 404, json, '{"message":"Not found"}')
  for (const method of ['DELETE', 'PUT'])
    check(
      tt,
      await send(member, method, '/v2/members/'),
      405,
      { ...REFUSED, 'x-etcd-cluster-id': CLUSTER },
      'Method Not Allowed\n',
    )
})

t.test('members: requests that are refused', async (tt) => {
  const member = await openClientPort(tt)
  member.store.apply(set('/removed_members/ab', { space: 'cluster' }))
  const urls = (...list: string[]): string => JSON.stringify({ peerURLs: list })
  const bad = '{"message":"Bad Content-Type , accept application/json"}'
  const cases: [method: string, path: string, body: string, status: number, answer: string][] = [
    ['POST', '', '', 415, bad],
    ['POST', '', urls(), 400, '{"message":"no valid URLs given"}'],
    ['POST', '', '{}', 400, '{"message":"no valid URLs given"}'],
    [
      'POST',
      '',
      urls('ftp://h:1'),
      400,
      '{"message":"URL scheme must be http or https: ftp://h:1"}',
    ],
    [
      'POST',
      '',
      urls('http://h'),
      400,
      '{"message":"URL address does not have the form \\"host:port\\": http://h"}',
    ],
    [
      'POST',
      '',
      urls('http://h:1/p'),
      400,
      '{"message":"URL must not contain a path: http://h:1/p"}',
    ],
    ['POST', '', urls('http://h:1', PEER_URL), 409, '{"message":"etcdserver: peerURL exists"}'],
    ['PUT', '/xyz', urls('http://h:1'), 404, '{"message":"No such member: xyz"}'],
    ['PUT', '/0aB', urls('http://h:1'), 500, '{"message":"Internal Server Error"}'],
    ['PUT', '/abc', urls('http://h:1'), 404, '{"message":"No such member: abc"}'],
    ['PUT', `/${ID}`, '', 415, bad],
    ['DELETE', '/abc', '', 404, '{"message":"No such member: abc"}'],
    ['DELETE', '/ab', '', 410, '{"message":"Member permanently removed: ab"}'],
    ['DELETE', '/12345678901234567', '', 404, '{"message":"No such member: 12345678901234567"}'],
  ]
  for (const [method, path, body, status, answer] of cases) {
    const headers = body === '' ? [] : [JSON_HEAD]
    const reply = await send(member, method, `/v2/members${path}`, body, ...headers)
    tt.same([reply.status, reply.body], [status, answer], `${method} ${path} ${body}`)
    tt.equal(reply.headers['x-etcd-cluster-id'], CLUSTER)
  }
  for (const body of ['{', '[]', '{"peerURLs":"http://h:1"}', '{"peerURLs":[1]}'])
    tt.match(
      await send(member, 'POST', '/v2/members', body, JSON_HEAD),
      { status: 400, body: /^\{"message":"[^"]/ },
      body,
    )
  const charset = await send(
    member,
    'POST',
    '/v2/members',
    urls('http://h:1'),
    `${JSON_HEAD}; charset=utf-8`,
  )
  tt.equal(charset.status, 415)
})

t.test('members: a member moves', async (tt) => {
  const member = await openClientPort(tt)
  const body = '{"peerURLs":[" http://b:2380 ","http://a:2380"]}'
  const reply = await send(member, 'PUT', `/v2/members/00${ID.toUpperCase()}`, body, JSON_HEAD)
  tt.same([reply.status, reply.body, reply.headers['x-etcd-cluster-id']], [204, '', CLUSTER])
  tt.match(
    (await ask(member.port, get('/v2/members'))).body,
    `"id":"${ID}","name":"default","peerURLs":["http://a:2380","http://b:2380"]`,
  )
  const same = await send(member, 'PUT', `/v2/members/${ID}`, body, JSON_HEAD)
  tt.equal(same.status, 204, 'its own URLs are no conflict')
})

function urlsOf(...urls: string[]): string {
  return JSON.stringify({ peerURLs: urls })
}

async function add(member: ClientPort, ...urls: string[]): Promise<Reply> {
  return await send(member, 'POST', '/v2/members', urlsOf(...urls), JSON_HEAD)
}

async function remove(member: ClientPort, id: string): Promise<Reply> {
  return await send(member, 'DELETE', `/v2/members/${id}`)
}

t.test('members: one that is added gets the log first, and does not count', async (tt) => {
  const member = await openClientPort(tt)
  const urls = ['http://b:2380', 'http://a:2380']
  // Its id is made of its URLs, no token, and the second in which it came.
  const id = memberId(urls, String(NOW / 1000))
  const added = await add(member, ...urls)
  const shown = `{"id":"${id}","name":"","peerURLs":["http://a:2380","http://b:2380"],"clientURLs":[]}`
  const json = { 'content-type': 'application/json', 'x-etcd-cluster-id': CLUSTER }
  check(tt, added, 201, json, `${shown}\n`)
  const { body } = await ask(member.port, get('/v2/members'))
  for (const one of [shown, SELF]) tt.ok(body.includes(one), one)
  tt.same(member.replica.machine.conf, { voters: [ID], learners: [id] })
  const { status } = await send(member, 'PUT', '/v2/keys/a', 'value=1', FORM)
  tt.equal(status, 201, 'writes do not wait for it')
  const refusals: [what: string, reply: Reply, status: number, message: string][] = [
    ['its URLs are taken', await add(member, 'http://b:2380'), 409, 'etcdserver: peerURL exists'],
    [
      'nobody else may have them',
      await send(member, 'PUT', `/v2/members/${ID}`, urlsOf('http://a:2380'), JSON_HEAD),
      409,
      'etcdserver: peerURL exists',
    ],
  ]
  for (const [what, reply, code, message] of refusals)
    tt.same([reply.status, reply.body], [code, JSON.stringify({ message })], what)
  const moved = await send(member, 'PUT', `/v2/members/${id}`, urlsOf('http://c:1'), JSON_HEAD)
  tt.equal(moved.status, 204)
  tt.same(member.replica.machine.conf.learners, [id], 'one that moves stays what it is')
})

t.test('members: who is removed is gone for ever', async (tt) => {
  const member = await openClientPort(tt)
  const { body } = await add(member, 'http://b:2380')
  const { id } = JSON.parse(body)
  check(tt, await remove(member, `0${id.toUpperCase()}`), 204, { 'x-etcd-cluster-id': CLUSTER }, '')
  tt.same(member.replica.machine.conf, { voters: [ID], learners: [] })
  tt.equal((await ask(member.port, get('/v2/members'))).body, `{"members":[${SELF}]}\n`)
  const gone = [410, `{"message":"Member permanently removed: ${id}"}`]
  const internal = [500, '{"message":"Internal Server Error"}']
  for (const [method, expected] of [
    ['DELETE', gone],
    ['PUT', internal],
  ] as const) {
    const reply = await send(member, method, `/v2/members/${id}`, urlsOf('http://c:1'), JSON_HEAD)
    tt.same([reply.status, reply.body], expected, method)
  }
  const again = await add(member, 'http://b:2380')
  tt.same([again.status, again.body], internal, 'in the same second it would be the same one')
  member.clock.now += 1000
  const other = await add(member, 'http://b:2380')
  tt.equal(other.status, 201)
  tt.not(JSON.parse(other.body).id, id)
})

t.test('members: one change at a time, and each is judged when its turn comes', async (tt) => {
  const member = await openClientPort(tt, { isByHand: true })
  const { replica, disk } = member
  const asked = ['b', 'c', 'b'].map((host) => add(member, `http://${host}:2380`))
  while (replica.pending < asked.length) await turn()
  while (replica.pending > 0) {
    if (disk.waiting > 0) disk.commit()
    await turn()
  }
  const replies = await Promise.all(asked)
  const taken = replies.filter(({ status }) => status === 409)
  tt.equal(replies.filter(({ status }) => status === 201).length, 2)
  tt.equal(taken.length, 1)
  tt.equal(taken[0]?.body, '{"message":"etcdserver: ID exists"}')
  tt.equal(member.replica.machine.conf.learners.length, 2)
})

t.test('members: --add-members-as-voters makes them count at once', async (tt) => {
  const membership = { isStrict: false, addsVoters: true }
  const member = await openClientPort(tt, { context: { membership } })
  const { status, body } = await add(member, 'http://b:2380')
  tt.equal(status, 201)
  const { id } = JSON.parse(body)
  const { voters, learners } = member.replica.machine.conf
  tt.same([new Set(voters), learners], [new Set([ID, id]), []])
  tt.equal(member.replica.isAlone, false)
  const late = send(member, 'PUT', '/v2/keys/a', 'value=1', FORM)
  while (member.replica.pending === 0) await turn()
  member.clock.now += 7001
  const { status: code, body: text } = await late
  tt.equal(code, 500)
  tt.match(
    text,
    'etcdserver: request timed out, possibly due to connection lost',
    'until it comes, nothing is committed',
  )
})

t.test('members: --strict-reconfig-check keeps a quorum of started members', async (tt) => {
  const membership = { isStrict: true, addsVoters: false }
  const member = await openClientPort(tt, { context: { membership } })
  const weak = [500, '{"message":"Internal Server Error"}']
  const alone = await remove(member, ID)
  tt.same([alone.status, alone.body], weak, 'the last one stays')
  const first = await add(member, 'http://b:2380')
  tt.equal(first.status, 201, 'from one to two there is no other way')
  const second = await add(member, 'http://c:2380')
  tt.same([second.status, second.body], weak, 'one of three would be started')
  tt.equal(member.replica.machine.conf.learners.length, 1)
  tt.equal((await remove(member, JSON.parse(first.body).id)).status, 204, 'one that never started')
})

t.test('members: the last one may be removed, and hears of it', async (tt) => {
  const member = await openClientPort(tt)
  let isRemoved = false
  member.replica.onRemoved(() => (isRemoved = true))
  check(tt, await remove(member, ID), 204, { 'x-etcd-cluster-id': CLUSTER }, '')
  tt.equal(isRemoved, true)
  tt.same(member.replica.machine.conf, { voters: [], learners: [] })
})

t.test('members: a change that the disk has no room for is error 500', async (tt) => {
  const member = await openClientPort(tt, { isByHand: true })
  const written = send(member, 'PUT', '/v2/keys/a', 'value=1', FORM)
  while (member.disk.waiting === 0) await turn()
  member.disk.fill('full')
  const reply = await add(member, 'http://b:2380')
  tt.same([reply.status, reply.body], [500, '{"message":"Internal Server Error"}'])
  while (member.disk.waiting === 0) await turn()
  member.disk.commit()
  tt.equal((await written).status, 201)
  tt.equal(member.replica.machine.conf.learners.length, 0)
})
