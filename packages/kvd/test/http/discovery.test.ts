import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { clusterId, memberId } from '../../src/cluster.ts'
import type { Gate } from '../../src/http/context.ts'
import { discoveryRoutes } from '../../src/http/discovery.ts'
import { command } from '../../src/store/command.ts'
import { check, send, ask } from '../helpers/asking.ts'
import { PEER_URL } from '../helpers/alone.ts'
import { openClientPort, type ClientPort } from '../helpers/client-port.ts'
import { NOW } from '../helpers/commands.ts'
import { FORM, get, requestText, valueOf, type Reply } from '../helpers/exchange.ts'

const TEXT = { 'content-type': 'text/plain; charset=utf-8' }
const REFUSED = { ...TEXT, 'x-content-type-options': 'nosniff' }
const CLUSTER = clusterId([memberId([PEER_URL], 'etcd-cluster')])

async function openService(tt: Test, gate?: Gate): Promise<ClientPort> {
  const context = gate === undefined ? {} : { gate: () => gate }
  return await openClientPort(tt, { routes: (shared) => discoveryRoutes(shared), context })
}

/** Asks for a token and gives its path, with the slash. */
async function newToken(service: ClientPort, query = ''): Promise<string> {
  const { status, body } = await ask(service.port, get(`/new${query}`))
  const path = /^http:\/\/kvd(\/[0-9a-f]{32})$/.exec(body)?.[1]
  if (status !== 200 || path === undefined) throw new Error(`${status} ${body}`)
  return path
}

t.test(
  '/new makes a token and answers with its URL, as the client calls this server',
  async (tt) => {
    const service = await openService(tt)
    const sizeOf = async (path: string): Promise<string | undefined> =>
      valueOf(await ask(service.port, get(`/v2/keys/_etcd/registry${path}/_config/size`)))
    tt.equal(await sizeOf(await newToken(service)), '3', 'unless a size is given')
    tt.equal(await sizeOf(await newToken(service, '?size=1')), '1')
    tt.equal(await sizeOf(await newToken(service, '?size=%2B007')), '7')
    const other = requestText('GET', '/new').replace('Host: kvd', 'Host: [::1]:2379')
    const answer = await ask(service.port, { text: other })
    check(tt, answer, 200, TEXT, answer.body)
    tt.match(answer.body, /^http:\/\/\[::1\]:2379\/[0-9a-f]{32}$/)
    const put = await send(service, 'PUT', '/new?size=4', 'size=5', FORM)
    tt.equal(await sizeOf(put.body.slice('http://kvd'.length)), '5', 'the form comes first')
    const old = await ask(service.port, { text: 'GET /new HTTP/1.0\r\n\r\n' })
    tt.match(old.body, /^http:\/\/127\.0\.0\.1:4001\/[0-9a-f]{32}$/, 'without Host: as advertised')
    tt.not(await newToken(service), await newToken(service), 'each is another one')
  },
)

t.test('/new refuses a size that is none, and a Host that is none', async (tt) => {
  const service = await openService(tt)
  const before = service.store.index
  const wrong: [size: string, problem: string][] = [
    ['three', 'strconv.ParseInt: parsing "three": invalid syntax'],
    ['1.5', 'strconv.ParseInt: parsing "1.5": invalid syntax'],
    ['9223372036854775808', 'strconv.ParseInt: parsing "9223372036854775808": value out of range'],
    ['0', 'size 0: a cluster has at least 1 member'],
    ['-3', 'size -3: a cluster has at least 1 member'],
  ]
  for (const [size, problem] of wrong)
    check(tt, await ask(service.port, get(`/new?size=${size}`)), 400, REFUSED, `${problem}\n`)
  const evil = requestText('GET', '/new').replace('Host: kvd', 'Host: a"><script>')
  check(tt, await ask(service.port, { text: evil }), 400, REFUSED, 'invalid host "a\\"><script>"\n')
  tt.equal(service.store.index, before, 'nothing was written')
})

t.test('what is below a token is a directory of keys', async (tt) => {
  const service = await openService(tt)
  const token = await newToken(service, '?size=2')
  const key = `/_etcd/registry${token}`
  const size = await ask(service.port, get(`${token}/_config/size`))
  const json = { 'content-type': 'application/json', 'x-etcd-cluster-id': CLUSTER }
  const raft = (index: number) => ({ 'x-raft-index': String(index), 'x-raft-term': '2' })
  check(
    tt,
    size,
    200,
    { ...json, 'x-etcd-index': '4', ...raft(5) },
    `{"action":"get","node":{"key":"${key}/_config/size","value":"2","modifiedIndex":4,"createdIndex":4}}\n`,
  )
  const watching = ask(service.port, get(`${token}?wait=true&recursive=true&waitIndex=5`))
  const form = 'value=a%3Dhttp://h:1'
  const made = await send(service, 'PUT', `${token}/ab?prevExist=false`, form, FORM)
  const node = `{"key":"${key}/ab","value":"a=http://h:1","modifiedIndex":5,"createdIndex":5}`
  check(
    tt,
    made,
    201,
    { ...json, 'x-etcd-index': '5', ...raft(6) },
    `{"action":"create","node":${node}}\n`,
  )
  tt.match((await watching).body, `{"action":"create","node":${node}}`, 'a watch sees it')
  tt.equal((await send(service, 'PUT', `${token}/ab?prevExist=false`, form, FORM)).status, 412)
  for (const path of [token, `${token}/`]) {
    const listing = await ask(service.port, get(path))
    tt.match(listing.body, `"nodes":[${node}]`, 'and the listing')
    tt.notMatch(listing.body, '_config', 'which does not show the size')
  }
  tt.equal((await send(service, 'DELETE', `${token}/ab`)).status, 200)
  tt.match(await ask(service.port, get(`${token}/ab`)), { status: 404, body: /"errorCode":100/ })
})

t.test('a token, its size and everything else of the port stay as they are', async (tt) => {
  const service = await openService(tt)
  const plain = await openClientPort(tt)
  const token = await newToken(service)
  const notFound = await ask(plain.port, get(token))
  tt.equal(notFound.status, 404, 'there is no service unless it is asked for')
  const forbidden: [method: string, path: string][] = [
    ['DELETE', token],
    ['POST', token],
    ['PUT', `${token}/_config`],
    ['DELETE', `${token}/_config`],
    ['PUT', `${token}/_config/size`],
    ['DELETE', `${token}/_config/size`],
    ['PUT', `${token}/_other`],
    ['PUT', `${token}/ab/cd`],
    ['GET', `${token}/_config/other`],
    ['GET', token.toUpperCase().replace(/\d/g, 'A')],
    ['GET', token.slice(0, -1)],
    ['GET', `${token}0`],
    ['GET', '/'],
    ['GET', '/new/'],
    ['GET', '/newer'],
    ['GET', `${token}/..%2f..%2f..%2fsecret`],
  ]
  const shapeOf = ({ status, headers, body }: Reply): object => {
    const rest = Object.entries(headers).filter(([name]) => !/^date$|-index$/.test(name))
    return { status, headers: rest, body: body.replace(/"index":\d+/, '') }
  }
  for (const [method, path] of forbidden)
    tt.equal((await send(service, method, path, '', FORM)).status, path.includes('%') ? 301 : 404)
  tt.equal(valueOf(await ask(service.port, get(`${token}/_config/size`))), '3')
  for (const path of ['/version', '/health', '/v2/keys/x', '/v2/members', '/v2/stats/self/', '/x'])
    tt.same(
      shapeOf(await ask(service.port, get(path))),
      shapeOf(await ask(plain.port, get(path))),
      path,
    )
})

t.test('with auth the rights are those to the keys', async (tt) => {
  const asked: string[] = []
  const gate: Gate = {
    mayAccess: (request, path, { write }) => {
      asked.push(`${write ? 'write' : 'read'} ${path.replace(/[0-9a-f]{32}/, 'TOKEN')}`)
      return request.authorization === 'Basic good' ? 'allowed' : 'refused'
    },
    mayAdminister: () => 'refused',
  }
  const service = await openService(tt, gate)
  const refused = await ask(service.port, get('/new'))
  tt.match(refused, { status: 401, body: /"errorCode":110/ })
  const good = 'Authorization: Basic good'
  const { status, body } = await ask(service.port, get('/new', good))
  tt.equal(status, 200)
  const token = body.slice('http://kvd'.length)
  tt.equal((await ask(service.port, get(token))).status, 401)
  tt.equal((await ask(service.port, get(token, good))).status, 200)
  tt.equal((await send(service, 'PUT', `${token}/ab`, 'value=x', FORM)).status, 401)
  tt.same(asked, [
    'write /_etcd/registry/TOKEN/_config/size',
    'write /_etcd/registry/TOKEN/_config/size',
    'read /_etcd/registry/TOKEN',
    'read /_etcd/registry/TOKEN',
    'write /_etcd/registry/TOKEN/ab',
  ])
})

t.test('when nothing can be written there is no token', async (tt) => {
  const service = await openClientPort(tt, { routes: discoveryRoutes, isByHand: true })
  service.replica.propose(command({ op: 'set', time: NOW, key: '/x', value: '1' }), () => undefined)
  while (service.disk.waiting === 0) await turn()
  service.disk.fill('no space left on the disk')
  const answer = await ask(service.port, get('/new'))
  check(tt, answer, 400, REFUSED, 'Unable to generate token\n')
})
