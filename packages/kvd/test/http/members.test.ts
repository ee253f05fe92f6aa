import t from 'tap'
import { clusterId, memberId } from '../../src/cluster.ts'
import { ask, check, send } from '../helpers/asking.ts'
import { CLIENT_URLS, openClientPort, PEER_URL } from '../helpers/client-port.ts'
import { set } from '../helpers/commands.ts'
import { get, type Reply } from '../helpers/exchange.ts'

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
    ['PUT', '/0aB', urls('http://h:1'), 410, '{"message":"Member permanently removed: 0aB"}'],
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
  for (const [method, path] of [
    ['POST', ''],
    ['DELETE', `/${ID}`],
  ] as const) {
    const reply = await send(member, method, `/v2/members${path}`, urls('http://h:1'), JSON_HEAD)
    tt.equal(reply.status, 501, 'what this version cannot do is said')
    tt.match(reply.body, /^\{"message":"kvd: adding and removing members needs a cluster/)
  }
})

t.test('members: a member moves', async (tt) => {
  const member = await openClientPort(tt)
  const body = '{"peerURLs":["http://b:2380","http://a:2380"]}'
  const reply = await send(member, 'PUT', `/v2/members/00${ID.toUpperCase()}`, body, JSON_HEAD)
  tt.same([reply.status, reply.body, reply.headers['x-etcd-cluster-id']], [204, '', CLUSTER])
  tt.match(
    (await ask(member.port, get('/v2/members'))).body,
    `"id":"${ID}","name":"default","peerURLs":["http://a:2380","http://b:2380"]`,
  )
  const same = await send(member, 'PUT', `/v2/members/${ID}`, body, JSON_HEAD)
  tt.equal(same.status, 204, 'its own URLs are no conflict')
})
