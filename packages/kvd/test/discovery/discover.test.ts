import { once } from 'node:events'
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { memberId } from '../../src/cluster.ts'
import type { DiscoveryConfig } from '../../src/config.ts'
import {
  discoverCluster,
  discoverPeers,
  type Discovered,
  type DiscoverOptions,
} from '../../src/discovery/discover.ts'
import { DiscoveryError } from '../../src/discovery/discovery-error.ts'
import { discoveryRoutes } from '../../src/http/discovery.ts'
import { openClientPort, type ClientPort } from '../helpers/client-port.ts'
import { openLog } from '../helpers/log.ts'
import { freePorts } from '../helpers/store-process.ts'

interface Token {
  readonly service: ClientPort
  readonly url: string
}

/** A token of a service in this process, at the keys' path or at the service's. */
async function newToken(tt: Test, size: number): Promise<Token> {
  const service = await openClientPort(tt, { routes: discoveryRoutes })
  const answer = await fetch(`${service.url}/new?size=${size}`)
  return { service, url: await answer.text() }
}

interface Member {
  readonly lines: readonly string[]
  /** The waits that were asked for, in milliseconds. */
  readonly waits: readonly number[]
  readonly found: Promise<Discovered>
}

const urlOf = (name: string): string => `http://${name}:2380`

/** Lets a member look for its cluster. Waits end at once unless the test says otherwise. */
function join(
  tt: Test,
  url: string,
  name: string,
  options: Partial<DiscoverOptions> & Partial<Extract<DiscoveryConfig, { type: 'url' }>> = {},
): Member {
  const { logger, lines } = openLog()
  const stop = new AbortController()
  tt.teardown(() => stop.abort(new Error('the test is over')))
  const waits: number[] = []
  const { proxy, fallback = 'proxy', pause, ...rest } = options
  const config = {
    name,
    peerURLs: [urlOf(name)],
    clusterToken: url,
    discovery: { type: 'url', url, proxy, fallback },
  } as const
  const found = discoverCluster(config, {
    logger,
    signal: stop.signal,
    pause: async (ms, signal) => {
      waits.push(ms)
      await pause?.(ms, signal)
    },
    ...rest,
  })
  found.catch(() => undefined)
  return { lines, waits, found }
}

async function outcome(found: Promise<Discovered>): Promise<unknown> {
  try {
    const result = await found
    return 'full' in result ? { full: result.full } : Object.fromEntries(result.initialCluster)
  } catch (error) {
    if (!(error instanceof DiscoveryError)) throw error
    return `${error.code} ${error.message}`
  }
}

async function register(token: Token, id: string, value: string): Promise<void> {
  const body = new URLSearchParams({ value })
  const answer = await fetch(`${token.url}/${id}`, { method: 'PUT', body })
  if (!answer.ok) throw new Error(await answer.text())
}

/** Resolves when a member has said this. */
async function said(member: Pick<Member, 'lines'>, text: string): Promise<void> {
  await until(() => member.lines.some((line) => line.includes(text)))
}

async function until(isDone: () => boolean): Promise<void> {
  while (!isDone()) await new Promise((resolve) => setTimeout(resolve, 1))
}

t.test('three members find each other, each says whom it sees', async (tt) => {
  const token = await newToken(tt, 3)
  const idOf = (name: string): string => memberId([urlOf(name)], token.url)
  const first = join(tt, token.url, 'a')
  await said(first, 'found 1 peer(s), waiting for 2 more')
  tt.same(first.lines, [
    `<6>discovery: found self ${idOf('a')} in the cluster`,
    '<6>discovery: found 1 peer(s), waiting for 2 more',
  ])
  const second = join(tt, token.url, 'b')
  await said(first, 'found 2 peer(s), waiting for 1 more')
  const third = join(tt, token.url, 'c')
  const cluster = { a: [urlOf('a')], b: [urlOf('b')], c: [urlOf('c')] }
  for (const { found } of [first, second, third]) tt.same(await outcome(found), cluster)
  tt.same(first.lines.slice(2), [
    `<6>discovery: found peer ${idOf('b')} in the cluster`,
    '<6>discovery: found 2 peer(s), waiting for 1 more',
    `<6>discovery: found peer ${idOf('c')} in the cluster`,
    '<6>discovery: found 3 needed peer(s)',
  ])
  tt.same(third.lines, [
    `<6>discovery: found peer ${idOf('a')} in the cluster`,
    `<6>discovery: found peer ${idOf('b')} in the cluster`,
    `<6>discovery: found self ${idOf('c')} in the cluster`,
    '<6>discovery: found 3 needed peer(s)',
  ])
  tt.same([first.waits, third.waits], [[], []], 'nobody has waited by the clock')
})

t.test('for one that comes too late there is no place: it is told whom to serve', async (tt) => {
  const token = await newToken(tt, 1)
  tt.same(await outcome(join(tt, token.url, 'a').found), { a: [urlOf('a')] })
  const before = token.service.store.index
  tt.same(await outcome(join(tt, token.url, 'b').found), { full: [urlOf('a')] })
  const strict = join(tt, token.url, 'b', { fallback: 'exit' })
  tt.equal(await outcome(strict.found), 'FULL discovery: cluster is full')
  tt.equal(token.service.store.index, before, 'it has not registered')
})

t.test('one that registers at the same moment as the last one may be too late, too', async (tt) => {
  const token = await newToken(tt, 1)
  const late = await startRelay(tt, token.service.url, async ({ method }): Promise<Verdict> => {
    if (method === 'PUT') await register(token, 'ab', `x=${urlOf('x')}`)
    return 'pass'
  })
  const url = token.url.replace(token.service.url, late.url)
  tt.same(await outcome(join(tt, url, 'b').found), { full: [urlOf('x')] })
})

t.test('a member that has lost its data does not come back by the same token', async (tt) => {
  const token = await newToken(tt, 2)
  const first = join(tt, token.url, 'a')
  await said(first, 'waiting for 1 more')
  const again = join(tt, token.url, 'a')
  tt.equal(await outcome(again.found), 'DUPLICATE_ID discovery: found duplicate id')
})

t.test('what is wrong with a token is said in the original’s words', async (tt) => {
  const token = await newToken(tt, 2)
  const keys = `${token.service.url}/v2/keys`
  const put = async (key: string, value: string): Promise<void> => {
    const answer = await fetch(`${keys}${key}`, {
      method: 'PUT',
      body: new URLSearchParams({ value }),
    })
    await answer.text()
  }
  await put('/bad/_config/size', 'three')
  await put('/file', 'x')
  await put('/names/_config/size', '2')
  await put('/names/ff', `a=${urlOf('other')}`)
  await put('/urls/_config/size', '2')
  await put('/urls/ff', `b=${urlOf('a')}`)
  await put('/text/_config/size', '2')
  await put('/text/ff', 'nonsense')
  await put('/huge/_config/size', '8')
  const cases: [url: string, problem: string | RegExp][] = [
    [`${keys}/none`, /^REFUSED 100: Key not found \(\/none\) \[\d+\]$/],
    [`${keys}/bad`, 'BAD_SIZE discovery: size key is bad'],
    [`${keys}/file`, /^REFUSED 104: Not a directory \(\/file\) \[\d+\]$/],
    [`${keys}/names`, 'DUPLICATE_NAME discovery: found duplicate name'],
    [
      `${keys}/urls`,
      `DUPLICATE_URL discovery cluster b=${urlOf('a')},a=${urlOf('a')} has duplicate url`,
    ],
    [`${keys}/text`, 'INVALID_URL discovery: invalid URL'],
    [`${keys}/huge`, 'TOO_MANY discovery: a cluster of 8 members is too large'],
    [`${token.service.url}/nothing/here`, 'BAD_ENDPOINT discovery: bad discovery endpoint'],
    [`${token.service.url}/%zz`, 'INVALID_URL discovery: invalid URL'],
  ]
  for (const [url, problem] of cases) {
    const end = await outcome(join(tt, url, 'a', { sizeMax: 7 }).found)
    if (typeof problem === 'string') tt.equal(end, problem, url)
    else tt.match(end, problem, url)
  }
  tt.match(
    await outcome(join(tt, token.url, 'a,b').found),
    'INVALID_URL flag -name: "a,b" cannot be registered for discovery',
  )
})

t.test('a service that is away is asked again after 2, 4, 8, ... s, at most 60', async (tt) => {
  const { client: port } = await freePorts()
  const url = `http://user:pw@127.0.0.1:${port}/token`
  const away = new Error('enough')
  const stop = new AbortController()
  let count = 0
  const member = join(tt, url, 'a', {
    signal: stop.signal,
    pause: async () => {
      count += 1
      if (count === 7) stop.abort(away)
    },
  })
  await tt.rejects(member.found, away, 'a signal ends it, with its reason')
  tt.same(member.waits, [2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000])
  const refused = `<3>discovery: error #0: connect ECONNREFUSED 127.0.0.1:${port}`
  const retry = `<6>discovery: cluster status check: error connecting to http://127.0.0.1:${port}, retrying in`
  tt.same(member.lines.slice(0, 4), [refused, `${retry} 2s`, refused, `${retry} 4s`])
  tt.equal(member.lines.at(-1), `${retry} 1m0s`)
})

type Verdict = 'pass' | 'drop' | 'break' | { readonly status: number; readonly body: string }

/**
 * Stands between a member and its service. `drop`: the request ends there; `break`: it arrives, and
 * its answer does not come back.
 */
async function startRelay(
  tt: Test,
  to: string,
  judge: (incoming: IncomingMessage) => Verdict | Promise<Verdict>,
): Promise<{ readonly url: string; cut(): void }> {
  const sockets = new Set<Socket>()
  const pass = (incoming: IncomingMessage, outgoing: ServerResponse, isBroken: boolean): void => {
    const { method, headers } = incoming
    const upstream = request(`${to}${incoming.url}`, { method, headers }, (answer) => {
      answer.on('error', () => outgoing.destroy())
      if (isBroken) answer.resume().on('end', () => outgoing.destroy())
      else answer.pipe(outgoing.writeHead(answer.statusCode ?? 502, answer.headers))
    })
    upstream.on('error', () => outgoing.destroy())
    outgoing.on('close', () => upstream.destroy())
    incoming.pipe(upstream)
  }
  const serve = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const verdict = await judge(incoming)
    if (verdict === 'drop') outgoing.destroy()
    else if (typeof verdict === 'object') outgoing.writeHead(verdict.status).end(verdict.body)
    else pass(incoming, outgoing, verdict === 'break')
  }
  const server = createServer((incoming, outgoing) => {
    void serve(incoming, outgoing)
  })
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  tt.teardown(() => {
    cut()
    server.close()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return { url: `http://127.0.0.1:${address.port}`, cut }
}

t.test('a registration whose answer is lost counts once', async (tt) => {
  const token = await newToken(tt, 1)
  for (const fate of ['break', 'drop'] as const) {
    const fresh = await newToken(tt, 1)
    let puts = 0
    const relay = await startRelay(tt, fresh.service.url, ({ method }) => {
      if (method !== 'PUT') return 'pass'
      puts += 1
      return puts === 1 ? fate : 'pass'
    })
    const url = fresh.url.replace(fresh.service.url, relay.url)
    const member = join(tt, url, 'a')
    tt.same(await outcome(member.found), { a: [urlOf('a')] }, fate)
    tt.same(member.waits, [2000])
    tt.equal(puts, fate === 'break' ? 1 : 2)
    tt.match(
      member.lines.join('\n'),
      /discovery: registration: error connecting to .*, retrying in 2s/,
    )
  }
  tt.equal(token.service.store.index, 4, 'nothing has reached another token')
})

t.test(
  'a wait goes on across cut connections, errors and polls that end with nothing',
  async (tt) => {
    const token = await newToken(tt, 2)
    const answers: Verdict[] = [
      { status: 200, body: '' },
      { status: 503, body: '' },
      { status: 400, body: '{"errorCode":401,"message":"cleared","cause":"x","index":9}' },
    ]
    let polls = 0
    const relay = await startRelay(tt, token.service.url, ({ url = '' }) => {
      if (!url.includes('wait=true')) return 'pass'
      polls += 1
      return answers.shift() ?? 'pass'
    })
    const member = join(tt, token.url.replace(token.service.url, relay.url), 'a')
    await until(() => polls >= 4)
    relay.cut()
    await until(() => polls >= 5)
    await register(token, 'bb', `b=${urlOf('b')}`)
    tt.same(await outcome(member.found), { a: [urlOf('a')], b: [urlOf('b')] })
    tt.ok(
      member.waits.every((ms) => ms >= 2000),
      'never again at once',
    )
    tt.ok(member.waits.length >= 4)
    tt.match(
      member.lines.join('\n'),
      /waiting for other nodes: error connecting to .*, retrying in 2s/,
    )
    tt.equal(member.lines.filter((line) => line.includes('waiting for 1 more')).length, 1)
  },
)

t.test('a poll on a dead line is given up after its time', async (tt) => {
  const token = await newToken(tt, 2)
  let polls = 0
  const relay = await startRelay(tt, token.service.url, async ({ url = '' }): Promise<Verdict> => {
    if (!url.includes('wait=true')) return 'pass'
    polls += 1
    return polls < 3 ? await new Promise<Verdict>(() => undefined) : 'pass'
  })
  const url = token.url.replace(token.service.url, relay.url)
  const member = join(tt, url, 'a', { pollMs: 20 })
  await until(() => polls >= 3)
  await register(token, 'bb', `b=${urlOf('b')}`)
  tt.same(await outcome(member.found), { a: [urlOf('a')], b: [urlOf('b')] })
})

t.test('discovery goes through an HTTP proxy when there is one', async (tt) => {
  const token = await newToken(tt, 1)
  const seen: string[] = []
  const proxy = createServer((incoming, outgoing) => {
    const { method, headers, url = '' } = incoming
    seen.push(`${method} ${new URL(url).pathname}`)
    incoming.pipe(
      request(url, { method, headers }, (answer) =>
        answer.pipe(outgoing.writeHead(answer.statusCode ?? 502, answer.headers)),
      ),
    )
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  tt.teardown(() => proxy.closeAllConnections())
  tt.teardown(() => proxy.close())
  const address = proxy.address()
  const port = typeof address === 'object' ? address?.port : 0
  const member = join(tt, token.url, 'a', { proxy: `u:pw@127.0.0.1:${port}` })
  tt.same(await outcome(member.found), { a: [urlOf('a')] })
  const path = new URL(token.url).pathname
  const id = memberId([urlOf('a')], token.url)
  const check = [`GET ${path}/_config/size`, `GET ${path}`]
  tt.same(seen, [...check, `PUT ${path}/${id}`, ...check])
  tt.equal(member.lines[0], `<6>discovery: using proxy "u:xxxxx@127.0.0.1:${port}"`)
})

t.test(
  'a proxy learns the peer URLs of a whole cluster, and waits until it is whole',
  async (tt) => {
    const token = await newToken(tt, 2)
    const { logger, lines } = openLog()
    const { signal } = new AbortController()
    const source = { type: 'url', url: token.url, proxy: undefined, fallback: 'proxy' } as const
    const early = discoverPeers(source, { logger, signal })
    while (!lines.some((line) => line.includes('found 0 peer(s), waiting for 2 more')))
      await new Promise((resolve) => setImmediate(resolve))
    const members = ['b', 'a'].map((name) => join(tt, token.url, name))
    for (const { found } of members) await found
    tt.same(await early, [urlOf('a'), urlOf('b')])
    tt.same(await discoverPeers(source, { logger, signal }), [urlOf('a'), urlOf('b')])
    const before = token.service.store.index
    tt.equal(before, 6, 'the size and two members: it has not registered')
  },
)
