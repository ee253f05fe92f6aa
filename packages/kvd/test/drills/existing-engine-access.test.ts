// How a front comes to its etcd, and what it tells of it.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ask, NO_ETCD, startEtcd, startFront, until } from '../helpers/etcd-process.ts'
import { freePorts, tryLaunch } from '../helpers/store-process.ts'

t.setTimeout(300_000)
const needsEtcd = { skip: NO_ETCD }

t.test(
  'v3 auth: the user of the flag, and a token that etcd has forgotten',
  needsEtcd,
  async (tt) => {
    const etcd = await startEtcd(tt, ['--auth-token-ttl', '1'])
    etcd.ctl('user', 'add', 'root:pw', '--interactive=false')
    etcd.ctl('user', 'grant-role', 'root', 'root')
    etcd.ctl('auth', 'enable')
    const front = await startFront(tt, etcd.url, ['--existing-engine-user', 'root:pw'])
    tt.notMatch(front.log(), /root:pw/, 'no password in the log')
    tt.match(front.log(), /existing-engine-user value=root:\.\.\./)
    await ask(front, 'PUT', '/k', { value: '1' })
    // etcd keeps its tokens in memory.
    await etcd.kill()
    await etcd.start()
    await until(front, '/k', 200)
    tt.equal((await ask(front, 'PUT', '/k', { value: '2' })).status, 200)
    const { client, peer } = await freePorts()
    const wrong = ['--existing-engine', etcd.url, '--existing-engine-user', 'root:no']
    const result = await tryLaunch({ dir: tt.testdirName, ports: { client, peer }, flags: wrong })
    if ('store' in result) throw new Error('a wrong password was taken')
    tt.equal(result.exit.code, 1)
    tt.match(
      result.exit.stderr,
      /flag -existing-engine: http:\S+: etcdserver: authentication failed/,
    )
  },
)

t.test('TLS to etcd, with a client certificate', needsEtcd, async (tt) => {
  const files = certificates(tt)
  if (files === undefined) {
    tt.comment('there is no openssl on this machine')
    return
  }
  const { ca, cert, key } = files
  const server = ['--cert-file', cert, '--key-file', key, '--trusted-ca-file', ca]
  const etcd = await startEtcd(tt, [...server, '--client-cert-auth'])
  const trust = ['--existing-engine-ca-file', ca]
  const own = ['--existing-engine-cert-file', cert, '--existing-engine-key-file', key]
  const front = await startFront(tt, etcd.url, [...trust, ...own])
  tt.equal((await ask(front, 'PUT', '/k', { value: '1' })).status, 201)
  const lone = { dir: tt.testdirName, flags: ['--existing-engine', etcd.url, ...trust] }
  const result = await tryLaunch(lone)
  tt.ok('exit' in result && result.exit.code === 1, 'without a certificate etcd is not to be had')
})

/** One self-signed certificate serves both sides. */
function certificates(tt: Test): { ca: string; cert: string; key: string } | undefined {
  const dir = mkdtempSync(join(tmpdir(), 'kvd-tls-'))
  tt.teardown(() => rmSync(dir, { recursive: true }))
  const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')]
  try {
    const request = [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=kvd',
    ]
    const names = ['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert]
    execFileSync('openssl', [...request, ...names], { stdio: 'ignore' })
    return { ca: cert, cert, key }
  } catch {
    return undefined
  }
}

t.test('an etcd that is not there: exit 1 and a line that names the flag', async (tt) => {
  const { client, peer } = await freePorts()
  const flags = ['--existing-engine', `http://127.0.0.1:${peer}`, '--election-timeout', '500']
  const result = await tryLaunch({ dir: tt.testdir({}), ports: { client, peer }, flags })
  if ('store' in result) throw new Error('it started')
  tt.equal(result.exit.code, 1)
  tt.match(result.exit.stderr, /etcdmain: flag -existing-engine: http:\S+: no etcd answers/)
})

t.test('the bounds of etcd are told as errors', needsEtcd, async (tt) => {
  const etcd = await startEtcd(tt)
  const flags = ['--existing-engine-serializable-reads']
  const front = await startFront(tt, etcd.url, flags)
  tt.equal((await ask(front, 'PUT', '/d'.repeat(60), { value: '1' })).status, 201)
  const deep = await ask(front, 'PUT', '/d'.repeat(61), { value: '1' })
  tt.match(deep.body, { errorCode: 300, cause: 'etcdserver: too many operations in txn request' })
  const large = await ask(front, 'PUT', '/large', { value: 'x'.repeat(1_600_000) })
  tt.match(large.body, { errorCode: 300, cause: 'etcdserver: request is too large' })
  tt.equal((await ask(front, 'GET', '/large')).status, 404)
  tt.equal((await ask(front, 'PUT', '/large', { value: 'x'.repeat(1_400_000) })).status, 201)
  tt.equal((await ask(front, 'GET', '/large')).status, 200)
})

t.test('members, machines and stats', needsEtcd, async (tt) => {
  const etcd = await startEtcd(tt)
  const front = await startFront(tt, etcd.url)
  const read = async (path: string): Promise<string> => await (await fetch(front.url + path)).text()
  const { members }: { members: { id: string; clientURLs: string[] }[] } = JSON.parse(
    await read('/v2/members'),
  )
  tt.equal(members.length, 1)
  tt.same(members[0]?.clientURLs, [front.url], 'where the v2 API is served')
  tt.equal(await read('/v2/machines'), front.url)
  tt.same(JSON.parse(await read('/v2/members/leader')), members[0])
  tt.match(JSON.parse(await read('/v2/stats/self')), { id: members[0]?.id, state: 'StateLeader' })
  const leader = await fetch(`${front.url}/v2/stats/leader`)
  tt.same([leader.status, await leader.text()], [403, '{"message":"not current leader"}'])
  await ask(front, 'PUT', '/k', { value: '1' })
  tt.match(JSON.parse(await read('/v2/stats/store')), { setsSuccess: 1, watchers: 0 })
  tt.match(await read('/metrics'), /^kvd_engine_revision \d+$/m)
  tt.match(JSON.parse(await read('/debug/vars')), { 'raft.status': { id: members[0]?.id } })
  const json = { 'Content-Type': 'application/json' }
  const taken = await fetch(`${front.url}/v2/members/${members[0]?.id}`, {
    method: 'PUT',
    headers: json,
    body: '{"peerURLs":["http://127.0.0.1:1"]}',
  })
  tt.equal(taken.status, 204)
  tt.match(await read('/v2/members'), /"peerURLs":\["http:\/\/127.0.0.1:1"\]/)
  const unknown = await fetch(`${front.url}/v2/members/abc`, { method: 'DELETE' })
  tt.same([unknown.status, await unknown.text()], [404, '{"message":"No such member: abc"}'])
  const added = await fetch(`${front.url}/v2/members`, {
    method: 'POST',
    headers: json,
    body: '{"peerURLs":["http://127.0.0.1:2"]}',
  })
  tt.equal(added.status, 201)
  tt.match(
    await added.text(),
    /^\{"id":"[0-9a-f]+","name":"","peerURLs":\["http:\/\/127.0.0.1:2"\],"clientURLs":\[\]\}\n$/,
  )
})

t.test('a peer port, when it is asked for, leads proxies to the fronts', needsEtcd, async (tt) => {
  const etcd = await startEtcd(tt)
  const ports = await freePorts()
  const told = `http://127.0.0.1:${ports.peer}`
  const urls = [`http://127.0.0.1:${ports.client}`, 'http://f2:4001']
  const flags = ['--existing-engine', etcd.url, '--advertise-client-urls', urls.join(',')]
  flags.push('--initial-advertise-peer-urls', `${told},http://f2:2380`)
  const result = await tryLaunch({ dir: tt.testdir({}), ports, flags })
  if (!('store' in result)) throw new Error(result.exit.stderr)
  const { store } = result
  tt.teardown(async () => await store.kill('SIGTERM'))
  const members = await fetch(`${told}/members`)
  tt.match(members.headers.get('x-etcd-cluster-id'), /^[0-9a-f]+$/)
  tt.match(await members.json(), [
    { name: 'default', peerURLs: [told, 'http://f2:2380'], clientURLs: urls },
  ])
  tt.equal((await fetch(`${told}/v2/keys/`)).status, 404)
})
