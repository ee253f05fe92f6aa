import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { memberId } from '../../src/cluster.ts'
import { discoveryRoutes } from '../../src/http/discovery.ts'
import { openClientPort } from '../helpers/client-port.ts'
import {
  freePorts,
  kvdPath,
  launch,
  spawnStore,
  type LaunchOptions,
  type StoreProcess,
} from '../helpers/store-process.ts'

// What becomes of a kvd whose cluster is found by discovery.

/** The URL of a new token of a service in this process. */
async function newToken(tt: Test, size: number): Promise<string> {
  const service = await openClientPort(tt, { routes: discoveryRoutes })
  return await (await fetch(`${service.url}/new?size=${size}`)).text()
}

async function start(tt: Test, options: LaunchOptions): Promise<StoreProcess> {
  const store = await launch(options)
  tt.teardown(async () => await store.kill('SIGKILL'))
  return store
}

async function until(isDone: () => boolean): Promise<void> {
  while (!isDone()) await new Promise((resolve) => setTimeout(resolve, 5))
}

t.test('a cluster of one begins at a token; who comes later serves it as a proxy', async (tt) => {
  const url = await newToken(tt, 1)
  const dir = tt.testdir({})
  const discovery = url
  const first = await start(tt, { dir: join(dir, 'a'), discovery })
  const peerURL = `http://127.0.0.1:${first.ports.peer}`
  const { members }: { members: object[] } = JSON.parse(
    await (await fetch(`${first.url}/v2/members`)).text(),
  )
  tt.match(members, [{ id: memberId([peerURL], url), name: 'default', peerURLs: [peerURL] }])
  tt.match(first.log(), 'discovery: found 1 needed peer(s)')
  const second = await start(tt, { dir: join(dir, 'b'), discovery })
  tt.match(second.log(), 'etcdmain: discovery cluster full, falling back to proxy')
  const body = new URLSearchParams({ value: 'through' })
  tt.equal((await fetch(`${second.url}/v2/keys/x`, { method: 'PUT', body })).status, 201)
  tt.match(await (await fetch(`${first.url}/v2/keys/x`)).text(), '"value":"through"')
  tt.notOk(existsSync(join(dir, 'b/member')), 'it has no data of its own')
  await Promise.all([first.kill('SIGTERM'), second.kill('SIGTERM')])
  const again = await start(tt, { dir: join(dir, 'a'), discovery, ports: first.ports })
  tt.match(
    again.log(),
    `etcdserver: discovery token ignored since a cluster has already been initialized. Valid log found at "${join(dir, 'a/member')}"`,
  )
  tt.match(await (await fetch(`${again.url}/v2/keys/x`)).text(), '"value":"through"')
  const proxy = await start(tt, { dir: join(dir, 'b'), discovery, ports: second.ports })
  tt.match(
    proxy.log(),
    `proxy: discovery token ignored since the proxy has already been initialized. Valid cluster file found at "${join(dir, 'b/proxy/cluster')}"`,
  )
})

t.test('a kvd hands out tokens when it is told to', async (tt) => {
  const dir = tt.testdir({})
  const flags = ['--discovery-service']
  const service = await start(tt, { dir: join(dir, 'service'), flags })
  const answer = await fetch(`${service.url}/new?size=1`)
  const url = await answer.text()
  tt.match(url, new RegExp(`^${service.url}/[0-9a-f]{32}$`))
  const member = await start(tt, { dir: join(dir, 'a'), discovery: url })
  tt.match(member.log(), 'discovery: found 1 needed peer(s)')
  tt.equal((await fetch(`${member.url}/new`)).status, 404, 'and not unless it is')
})

t.test('a proxy by its flag finds its cluster by the token', async (tt) => {
  const url = await newToken(tt, 1)
  const dir = tt.testdir({})
  const flags = ['--proxy', 'readonly']
  const early = await spawnStore({ dir: join(dir, 'p'), discovery: url, flags })
  tt.teardown(async () => await early.kill('SIGKILL'))
  await until(() => early.log().includes('found 0 peer(s), waiting for 1 more'))
  const member = await start(tt, { dir: join(dir, 'a'), discovery: url })
  await until(() => early.log().includes('proxy: listening for client requests on'))
  tt.match(early.log(), `proxy: using peer urls [http://127.0.0.1:${member.ports.peer}]`)
  let answer = await fetch(`${early.url}/v2/members`)
  while (!answer.ok) answer = await fetch(`${early.url}/v2/members`)
  tt.match(await answer.text(), member.url, 'as soon as the member can be asked')
})

interface Ended {
  readonly status: number | null
  readonly lines: readonly string[]
}

/** Runs kvd to its end; the lines are without the time and what comes before the discovery. */
async function run(dir: string, url: string, ...flags: string[]): Promise<Ended> {
  const { client, peer } = await freePorts()
  const argv = [
    '--name=m',
    `--data-dir=${dir}`,
    ...(url === '' ? [] : [`--discovery=${url}`]),
    `--listen-client-urls=http://127.0.0.1:${client}`,
    `--advertise-client-urls=http://127.0.0.1:${client}`,
    `--listen-peer-urls=http://127.0.0.1:${peer}`,
    '--initial-advertise-peer-urls=http://127.0.0.1:2380',
    ...flags,
  ]
  const { status, stderr } = spawnSync(process.execPath, [kvdPath, ...argv], { encoding: 'utf8' })
  const lines = stderr
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/^\S+ (\w+) +/, '$1 '))
    .filter((line) => !/etcdmain: (starting|option)/.test(line))
  return { status, lines }
}

const GIVE_UP = (url: string): string[] => [
  `INFO etcdmain: discovery token ${url} was used, but failed to bootstrap the cluster.`,
  'INFO etcdmain: please generate a new discovery token and try to bootstrap again.',
]

t.test('without a cluster kvd says why, what to do, and ends with status 1', async (tt) => {
  const own = await launch({ dir: tt.testdir({}) })
  tt.teardown(async () => await own.kill('SIGKILL'))
  const set = async (key: string, value: string): Promise<string> => {
    const url = `${own.url}/v2/keys${key}`
    await fetch(url, { method: 'PUT', body: new URLSearchParams({ value }) })
    return url
  }
  const dir = join(tt.testdirName, 'x')
  await set('/full/_config/size', '1')
  await set('/full/ab', 'other=http://127.0.0.1:9')
  const full = `${own.url}/v2/keys/full`
  tt.same(await run(dir, full, '--discovery-fallback', 'exit'), {
    status: 1,
    lines: [
      'ERROR etcdmain: failed to join discovery cluster (discovery: cluster is full)',
      ...GIVE_UP(full),
    ],
  })
  tt.notOk(existsSync(join(dir, 'member')), 'it has not begun a log')
})

t.test('a signal ends the wait for others, but a hang-up does not', async (tt) => {
  const url = await newToken(tt, 2)
  const proxy = await spawnStore({ dir: tt.testdir({}), discovery: url, flags: ['--proxy', 'on'] })
  tt.teardown(async () => await proxy.kill('SIGKILL'))
  await until(() => proxy.log().includes('waiting for 2 more'))
  process.kill(proxy.pid, 'SIGHUP')
  const { code, stderr } = await proxy.kill('SIGTERM')
  tt.equal(code, 0)
  tt.match(stderr, 'etcdmain: stopped while looking for the members of the cluster')
})

t.test('DNS without records is an error that names what was asked for', async (tt) => {
  const ended = await run(tt.testdir({}), '', '--discovery-srv=a..invalid')
  tt.equal(ended.status, 1)
  tt.match(
    ended.lines.at(-1),
    'ERROR etcdmain: error setting up initial cluster: lookup _etcd-server._tcp.a..invalid: ',
  )
})
