import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { openDisk } from '../../src/storage/disk.ts'
import { ask } from '../helpers/asking.ts'
import { batchOf, commit, OWNER } from '../helpers/batches.ts'
import { exchange, FORM, get, requestText } from '../helpers/exchange.ts'
import { freePorts, launch, spawnStore, type StoreProcess } from '../helpers/store-process.ts'

const kvd = fileURLToPath(new URL('../../../bin/kvd.js', import.meta.url))
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(ETCD|KVD)_|^JOURNAL|^NOTIFY/.test(name)),
)

interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs kvd to its end. */
function run(argv: readonly string[], more: Record<string, string> = {}, cwd?: string): Ended {
  const options = { encoding: 'utf8', env: { ...env, ...more }, cwd, timeout: 60_000 } as const
  const { status, stdout, stderr } = spawnSync(process.execPath, [kvd, ...argv], options)
  return { status, stdout, stderr }
}

/** Flags for ports that nobody uses. */
async function addresses(): Promise<string[]> {
  const { client, peer } = await freePorts()
  const [clientUrl, peerUrl] = [`http://127.0.0.1:${client}`, `http://127.0.0.1:${peer}`]
  const forClients = ['--listen-client-urls', clientUrl, '--advertise-client-urls', clientUrl]
  return forClients.concat('--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl)
}

async function put(store: StoreProcess, key: string, form: string): Promise<string> {
  const text = requestText('PUT', `/v2/keys${key}`, [FORM], form)
  return (await ask(store.ports.client, { text })).body
}

t.test('asked for its version or its flags, kvd says them and ends', async (tt) => {
  const version = run(['--version'])
  tt.match(version, { status: 0, stdout: /^etcd Version: 2\.3\.8\nGit SHA: kvd \d/, stderr: '' })
  const help = run(['-h'])
  tt.match(help, { status: 0, stdout: /^usage: kvd \[flags\]\n/, stderr: '' })
})

t.test('a wrong configuration is said on stderr, with its status', async (tt) => {
  const unknown = run(['--nope'])
  tt.match(unknown, {
    status: 2,
    stdout: '',
    stderr: /^flag provided but not defined: -nope\nusage: kvd/,
  })
  const extra = run(['foo'])
  tt.same(extra, {
    status: 1,
    stdout: '',
    stderr: "error verifying flags, 'foo' is not a valid flag. See 'etcd --help'.\n",
  })
})

t.test('a data directory that is not ours is left alone', async (tt) => {
  const dir = tt.testdir({
    etcd: { member: { wal: {}, snap: {} } },
    proxy: { proxy: {}, member: {} },
    file: 'no directory',
  })
  const flags = await addresses()
  const start = (name: string): Ended => run(['--data-dir', join(dir, name), ...flags])
  const etcd = start('etcd')
  tt.equal(etcd.status, 1)
  tt.match(etcd.stderr, /belongs to etcd \(it holds member\/wal\).*kvctl/)
  tt.equal(existsSync(join(dir, 'etcd/member/kvd.db')), false)
  const proxy = start('proxy')
  tt.equal(proxy.status, 1)
  tt.match(proxy.stderr, /invalid datadir\. Both member and proxy directories exist\./)
  const file = start('file')
  tt.equal(file.status, 1)
  tt.match(file.stderr, /cannot write the data directory .*file: /)
  for (const { stderr } of [etcd, proxy, file]) tt.notMatch(stderr, /\n +at /, 'no stack')
})

t.test('a port that is taken is named', async (tt) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  tt.teardown(() => taken.close())
  const address = taken.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const flags = await addresses()
  const url = `http://127.0.0.1:${port}`
  const ended = run(['--data-dir', tt.testdir(), ...flags, '--listen-client-urls', url])
  tt.equal(ended.status, 1)
  tt.match(ended.stderr, `listen tcp 127.0.0.1:${port}: bind: address already in use`)
  const peer = run(['--data-dir', join(tt.testdirName, 'p'), ...flags, '--listen-peer-urls', url])
  tt.equal(peer.status, 1)
  tt.match(peer.stderr, `listen tcp 127.0.0.1:${port}: bind: address already in use`)
})

t.test('too few open files are refused', async (tt) => {
  const flags = ['--data-dir', tt.testdir(), ...(await addresses())]
  const command = `ulimit -n 150; exec "$@"`
  const argv = ['-c', command, 'sh', process.execPath, kvd, ...flags]
  const { status, stderr } = spawnSync('sh', argv, { encoding: 'utf8', env })
  tt.equal(status, 1)
  tt.match(
    stderr,
    'file descriptor limit[150] of kvd process is too low, and should be set higher than 150',
  )
})

t.test('the log has the lines that others wait for, and what is not default', async (tt) => {
  const dir = tt.testdir({ data: { stray: 'x' } })
  const flags = ['--name', 'one', '--initial-cluster-token', 'x', '--event-history', '50', '-vv']
  const { client, peer } = await freePorts()
  const own = `one=http://127.0.0.1:${peer}`
  const store = await launch({
    dir: join(dir, 'data'),
    ports: { client, peer },
    flags: [...flags, '--initial-cluster', own],
  })
  tt.teardown(() => store.kill('SIGKILL'))
  const { code, stderr } = await store.kill('SIGTERM')
  tt.equal(code, 0)
  const lines = stderr.trimEnd().split('\n')
  for (const line of lines) tt.match(line, /^\d{4}-\d\d-\d\dT[\d:.]+Z (ERROR|WARN |INFO |DEBUG) \S/)
  const wanted = [
    'etcdmain: starting kvd version=',
    'etcdmain: option name=name value=one source=flag',
    'etcdmain: option name=event-history value=50 source=flag',
    'flags: flag "-vv" is no longer supported - ignoring.',
    `etcdmain: found invalid file/dir stray under data dir ${join(dir, 'data')} (Ignore this if you are upgrading etcd)`,
    ' elected leader ',
    `etcdserver: published {Name:one ClientURLs:[http://127.0.0.1:${client}]} to cluster `,
    'etcdserver: set the initial cluster version to 2.3',
    `etcdmain: listening for client requests on http://127.0.0.1:${client}`,
    'etcdmain: received terminated signal, shutting down...',
  ]
  for (const text of wanted) tt.ok(stderr.includes(text), text)
  tt.match(stderr, /raft: raft\.node: ([0-9a-f]+) elected leader \1 at term 2/)
})

t.test('the first write has index 4, and a restart keeps everything', async (tt) => {
  const dir = tt.testdir()
  let store = await launch({ dir })
  tt.match(await put(store, '/a', 'value=1'), '"modifiedIndex":4,"createdIndex":4')
  const members = (await ask(store.ports.client, get('/v2/members'))).body
  const { code } = await store.kill('SIGINT')
  tt.equal(code, 0)
  tt.match(store.log(), 'received interrupt signal, shutting down...')
  for (const name of ['kvd.db', 'hwm']) tt.equal(existsSync(join(dir, 'member', name)), true, name)
  tt.equal(existsSync(join(dir, 'member/kvd.db-wal')), false, 'a clean stop leaves no log behind')

  store = await launch({ dir, ports: store.ports })
  tt.teardown(() => store.kill('SIGKILL'))
  const { body, headers } = await ask(store.ports.client, get('/v2/keys/a'))
  tt.match(body, '"value":"1"')
  tt.same([headers['x-etcd-index'], headers['x-raft-term']], ['4', '3'])
  tt.equal((await ask(store.ports.client, get('/v2/members'))).body, members)
  const past = await ask(store.ports.client, get('/v2/keys/a?wait=true&waitIndex=4'))
  tt.match(past.body, '"value":"1"', 'the history too')
  await store.kill('SIGTERM')
})

t.test(
  'a member that has joined, and heard nothing yet, begins no cluster of its own',
  async (tt) => {
    const dir = tt.testdir({ member: {} })
    const disk = await openDisk({ directory: join(dir, 'member'), source: 'image' })
    tt.equal(
      await commit(disk, batchOf([], { hard: { term: 4, vote: 'ab', isDamaged: false } })),
      'persisted',
    )
    await disk.close()
    const ended = run(['--data-dir', dir, ...(await addresses())])
    tt.equal(ended.status, 1)
    tt.match(ended.stderr, 'etcdmain: cannot fetch cluster info from peer urls')
    const again = await openDisk({ directory: join(dir, 'member'), source: 'image' })
    tt.teardown(async () => await again.close())
    tt.match(again.recovered.loaded, {
      identity: OWNER,
      hard: { term: 4, vote: 'ab', isDamaged: false },
      lastIndex: 0,
    })
  },
)

t.test('a new name or URL is published at the next start', async (tt) => {
  const dir = tt.testdir()
  const first = await launch({ dir })
  await first.kill('SIGTERM')
  const ports = { ...(await freePorts()), peer: first.ports.peer }
  const second = await launch({ dir, ports })
  tt.teardown(() => second.kill('SIGKILL'))
  const { body, headers } = await ask(ports.client, get('/v2/members'))
  tt.match(body, `"clientURLs":["http://127.0.0.1:${ports.client}"]`)
  tt.match(body, `"peerURLs":["http://127.0.0.1:${first.ports.peer}"]`)
  tt.ok(headers)
  tt.match((await ask(ports.client, get('/v2/keys/'))).headers, { 'x-etcd-index': '4' })
  await second.kill('SIGTERM')
})

t.test('the data directory is for its owner only', async (tt) => {
  const dir = join(tt.testdir(), 'new/deep')
  const store = await launch({ dir })
  await store.kill('SIGTERM')
  tt.equal(statSync(dir).mode & 0o777, 0o700)
  tt.equal(statSync(join(dir, 'member')).mode & 0o777, 0o700)
})

t.test('--wal-dir moves the files', async (tt) => {
  const dir = tt.testdir()
  const store = await launch({ dir: join(dir, 'data'), flags: ['--wal-dir', join(dir, 'wal')] })
  await store.kill('SIGTERM')
  tt.equal(existsSync(join(dir, 'wal/kvd.db')), true)
  tt.same(readdirSync(join(dir, 'data/member')), [])
  const flags = ['--wal-dir', join(dir, 'wal'), '--proxy', 'on']
  for (const isOld of [false, true]) {
    if (isOld) rmSync(join(dir, 'data/member'), { recursive: true })
    const again = await launch({ dir: join(dir, 'data'), flags })
    await again.kill('SIGTERM')
    tt.match(again.log(), 'the server is already initialized as member before')
  }
})

t.test('one data directory serves one kvd, and can be printed when it rests', async (tt) => {
  const dir = tt.testdir()
  const store = await launch({ dir })
  tt.teardown(() => store.kill('SIGKILL'))
  await put(store, '/a/b', 'value=v')
  await put(store, '/c', 'value=&ttl=1000')
  const second = run(['--data-dir', dir, ...(await addresses())])
  tt.equal(second.status, 1)
  tt.match(second.stderr, /member\/kvd\.db is in use by another process/)
  const busy = run(['--data-dir', dir, '--dump', 'image'])
  tt.equal(busy.status, 1)
  tt.match(busy.stderr, /kvd\.db is in use by another process/)
  await store.kill('SIGTERM')
  const image = run(['--data-dir', dir, '--dump', 'image'])
  tt.equal(image.status, 0)
  const [head, ...rows] = image.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  tt.match(head, { index: 5, raftIndex: Number })
  tt.match(
    rows.filter(({ space }) => space === 'keys'),
    [
      { key: '/a', createdIndex: 4 },
      { key: '/a/b', value: 'v', createdIndex: 4, modifiedIndex: 4, expireAt: 0 },
      { key: '/c', value: '', createdIndex: 5, expireAt: Number },
    ],
  )
  tt.equal(run(['--data-dir', dir, '--dump', 'log']).stdout, image.stdout)
  const unread = spawn(process.execPath, [kvd, '--data-dir', dir, '--dump', 'image'], { env })
  unread.stdout.destroy()
  let problems = ''
  unread.stderr.setEncoding('utf8').on('data', (chunk: string) => (problems += chunk))
  const [status]: unknown[] = await once(unread, 'close')
  tt.same([status, problems], [141, ''], 'a reader that has seen enough, such as head')
})

t.test('there is nothing to print where there is no database', async (tt) => {
  const dir = tt.testdir({ empty: {} })
  for (const name of ['empty', 'missing']) {
    const ended = run(['--data-dir', join(dir, name), '--dump', 'image'])
    tt.equal(ended.status, 1, name)
    tt.match(ended.stderr, 'kvd.db')
    tt.notMatch(ended.stderr, /\n +at /, 'no stack')
    tt.equal(existsSync(join(dir, name, 'member')), false, 'and none is made')
  }
})

t.test('keys expire by themselves, soon after their time', async (tt) => {
  const store = await launch({ dir: tt.testdir() })
  tt.teardown(() => store.kill('SIGKILL'))
  const { client } = store.ports
  await put(store, '/short', 'value=v&ttl=1')
  const [reply] = await exchange(client, [get('/v2/keys/short?wait=true')])
  const { action, node, prevNode } = JSON.parse(reply?.body ?? '')
  tt.equal(action, 'expire')
  tt.same(node, { key: '/short', modifiedIndex: 5, createdIndex: 4 })
  const lateMs = Date.now() - Date.parse(prevNode.expiration)
  tt.ok(lateMs >= 0 && lateMs < 3000, `${lateMs} ms after its time`)
  tt.equal((await ask(client, get('/v2/keys/short'))).status, 404)
  await store.kill('SIGTERM')
})

t.test('the peer port tells who is a member', async (tt) => {
  const store = await launch({ dir: tt.testdir() })
  tt.teardown(() => store.kill('SIGKILL'))
  const { client, peer } = store.ports
  const listed = JSON.parse((await ask(client, get('/v2/members'))).body)
  const [{ id, peerURLs, name, clientURLs }] = listed.members
  const { status, headers, body } = await ask(peer, get('/members'))
  tt.equal(status, 200)
  tt.match(headers, { 'content-type': 'application/json', 'x-etcd-cluster-id': /^[0-9a-f]+$/ })
  const digits = /"id":(\d+),/.exec(body)?.[1] ?? '0'
  tt.equal(BigInt(digits).toString(16), id, 'a number of 64 bits')
  tt.same(JSON.parse(body.replace(digits, '0')), [{ id: 0, peerURLs, name, clientURLs }])
  tt.match(await ask(peer, get('/version')), {
    status: 200,
    body: '{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}',
  })
  tt.match(await ask(peer, get('/raft')), { status: 404, body: '404 page not found\n' })
  await store.kill('SIGTERM')
})

t.test('systemd is told when kvd is ready and when it stops', async (tt) => {
  const dir = tt.testdir()
  const said = join(dir, 'said')
  writeFileSync(join(dir, 'systemd-notify'), `#!/bin/sh\necho "$*" >> '${said}'\n`)
  chmodSync(join(dir, 'systemd-notify'), 0o755)
  const child = spawn(
    process.execPath,
    [kvd, '--data-dir', join(dir, 'data'), ...(await addresses())],
    { env: { ...env, PATH: `${dir}:${env['PATH']}`, NOTIFY_SOCKET: '/x' }, stdio: 'ignore' },
  )
  const ended = once(child, 'exit')
  while (!existsSync(said) || !readFileSync(said, 'utf8').includes('READY=1')) await turn()
  child.kill('SIGTERM')
  const [code] = await ended
  tt.equal(code, 0)
  tt.equal(readFileSync(said, 'utf8'), 'READY=1\nSTOPPING=1\n')
})

t.test('a second signal ends kvd at once', async (tt) => {
  const dir = tt.testdir()
  // systemd-notify that never comes back keeps the first signal's work going.
  writeFileSync(
    join(dir, 'systemd-notify'),
    '#!/bin/sh\ncase "$1" in STOPPING*) exec sleep 60;; esac\n',
  )
  chmodSync(join(dir, 'systemd-notify'), 0o755)
  const { client, peer } = await freePorts()
  const path = `${dir}:${env['PATH'] ?? ''}`
  const wrapper = ['env', `PATH=${path}`, 'NOTIFY_SOCKET=/x']
  const store = await spawnStore({ dir: join(dir, 'data'), ports: { client, peer }, wrapper })
  tt.teardown(() => store.kill('SIGKILL'))
  while (!store.log().includes('listening for client requests')) await turn()
  void store.kill('SIGTERM')
  while (!store.log().includes('received terminated signal')) await turn()
  const { code } = await store.kill('SIGTERM')
  tt.equal(code, 1)
})
