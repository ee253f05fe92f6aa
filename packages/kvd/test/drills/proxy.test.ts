import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect, createServer as createTcpServer, type Server } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openServer } from '../helpers/loopback.ts'
import { dialRaw } from '../helpers/peer-ports.ts'
import { freePorts, kvdPath, launch, type StoreProcess } from '../helpers/store-process.ts'

interface Proxy {
  readonly url: string
  readonly process: ChildProcess
  log(): string
  /** Resolves when the log has this. */
  said(text: string | RegExp): Promise<void>
}

/** A kvd in proxy mode; gone with the test. */
async function startProxy(
  tt: Test,
  options: {
    dir: string
    peers: readonly string[]
    mode?: string
    flags?: readonly string[]
    /** What runs kvd. */
    wrapper?: readonly string[]
  },
): Promise<Proxy> {
  const { client } = await freePorts()
  const url = `http://127.0.0.1:${client}`
  const cluster = options.peers.map((peer, at) => `m${at}=${peer}`).join(',')
  const argv = [
    ['--data-dir', options.dir, '--proxy', options.mode ?? 'on'],
    ['--listen-client-urls', url, '--advertise-client-urls', url],
    ['--initial-cluster', cluster],
    options.flags ?? [],
  ].flat()
  const command = [...(options.wrapper ?? []), process.execPath, kvdPath, ...argv]
  const child = spawn(command[0] ?? '', command.slice(1))
  tt.teardown(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    await once(child, 'exit')
  })
  let text = ''
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
    child.emit('said')
  })
  const proxy: Proxy = {
    url,
    process: child,
    log: () => text,
    said: async (wanted) => {
      while (!(typeof wanted === 'string' ? text.includes(wanted) : wanted.test(text))) {
        if (child.exitCode !== null) throw new Error(`the proxy ended:\n${text}`)
        await Promise.race([once(child, 'said'), once(child, 'exit')])
      }
    },
  }
  await proxy.said('proxy: listening for client requests on')
  return proxy
}

async function startMember(tt: Test, dir: string): Promise<StoreProcess> {
  const store = await launch({ dir })
  tt.teardown(async () => await store.kill('SIGKILL'))
  return store
}

function peerOf(store: StoreProcess): string {
  return `http://127.0.0.1:${store.ports.peer}`
}

function urlOf(server: Server): string {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server does not listen')
  return `http://127.0.0.1:${address.port}`
}

/** A peer port of a cluster whose clients are served there. */
async function peerWith(tt: Test, clientURLs: readonly string[]): Promise<string> {
  const peer = createServer((_request, response) =>
    response.end(JSON.stringify([{ peerURLs: [], name: 'x', clientURLs }])),
  ).listen(0, '127.0.0.1')
  await once(peer, 'listening')
  tt.teardown(() => peer.close())
  return urlOf(peer)
}

async function put(url: string, value: string): Promise<Response> {
  return await fetch(url, { method: 'PUT', body: new URLSearchParams({ value }) })
}

/** One request as it is, on a connection of its own; the whole answer. Texts are latin1. */
async function ask(
  url: string,
  { method, path, body = '' }: { method: string; path: string; body?: string },
): Promise<string> {
  const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1' })
  const form = `Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ${body.length}`
  const head = `${method} ${path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n${form}`
  socket.write(`${head}\r\n\r\n${body}`, 'latin1')
  let text = ''
  for await (const chunk of socket.setEncoding('latin1')) text += String(chunk)
  return text
}

t.test('requests go to the members, answers come back', async (tt) => {
  const dir = tt.testdir({ member: {}, proxy: {} })
  const store = await startMember(tt, join(dir, 'member'))
  const proxy = await startProxy(tt, { dir: join(dir, 'proxy'), peers: [peerOf(store)] })
  tt.match(proxy.log(), `proxy: endpoints found ["${store.url}"]`)
  const written = await put(`${proxy.url}/v2/keys/a`, 'through')
  tt.equal(written.status, 201)
  tt.ok(written.headers.get('x-etcd-index'))
  const read: unknown = await (await fetch(`${store.url}/v2/keys/a`)).json()
  tt.match(read, { node: { value: 'through' } })
  const config = await fetch(`${proxy.url}/v2/config/local/proxy`)
  tt.equal(await config.text(), `{"endpoints":["${store.url}"]}\n`)
  const metrics = await (await fetch(`${proxy.url}/metrics`)).text()
  tt.match(metrics, /^etcd_proxy_handled_total\{method="PUT",code="201"\} 1$/m)
  const file: unknown = JSON.parse(readFileSync(join(dir, 'proxy/proxy/cluster'), 'utf8'))
  tt.same(file, { PeerURLs: [peerOf(store)] })
})

t.test('what node:http cannot read is passed on; header names stay', async (tt) => {
  const dir = tt.testdir({ member: {}, proxy: {}, readonly: {} })
  const store = await startMember(tt, join(dir, 'member'))
  const peers = [peerOf(store)]
  const proxy = await startProxy(tt, { dir: join(dir, 'proxy'), peers })
  const readonly = await startProxy(tt, { dir: join(dir, 'readonly'), peers, mode: 'readonly' })
  const raw = Buffer.from('caf\u00e9').toString('latin1')
  const cafe = { method: 'PUT', path: `/v2/keys/${raw}`, body: 'value=1' }
  tt.match(await ask(readonly.url, cafe), /^HTTP\/1\.1 501 /)
  const written = await ask(proxy.url, cafe)
  tt.match(written, /^HTTP\/1\.1 201 /)
  tt.match(written, /^X-Etcd-Index: \d+\r$/m)
  tt.ok(written.includes(`"key":"/${raw}"`))
  tt.match(await ask(readonly.url, { method: 'GET', path: cafe.path }), '"value":"1"')
  const foo = await ask(proxy.url, { method: 'FOO', path: '/v2/keys/a' })
  tt.match(foo, /^HTTP\/1\.1 405 /)
  tt.match(foo, 'Allow: HEAD,GET,PUT,POST,DELETE\r\n')
  const metrics = await (await fetch(`${proxy.url}/metrics`)).text()
  tt.match(metrics, /^etcd_proxy_handled_total\{method="other",code="405"\} 1$/m)
})

t.test('a watch through a proxy shows its headers and its events at once', async (tt) => {
  const dir = tt.testdir({ member: {}, proxy: {} })
  const store = await startMember(tt, join(dir, 'member'))
  const proxy = await startProxy(tt, { dir: join(dir, 'proxy'), peers: [peerOf(store)] })
  const abort = new AbortController()
  const watch = await fetch(`${proxy.url}/v2/keys/w?wait=true&stream=true`, {
    signal: abort.signal,
  })
  tt.equal(watch.status, 200, 'before anything happened')
  const reader = watch.body?.pipeThrough(new TextDecoderStream()).getReader()
  for (const value of ['1', '2']) {
    await put(`${store.url}/v2/keys/w`, value)
    tt.match((await reader?.read())?.value, `"value":"${value}"`)
  }
  abort.abort()
})

t.test('a readonly proxy passes reads on and nothing else', async (tt) => {
  const dir = tt.testdir({ member: {}, proxy: {} })
  const store = await startMember(tt, join(dir, 'member'))
  const peers = [peerOf(store)]
  const proxy = await startProxy(tt, { dir: join(dir, 'proxy'), peers, mode: 'readonly' })
  tt.equal((await fetch(`${proxy.url}/version`)).status, 200)
  for (const method of ['PUT', 'POST', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH']) {
    const answer = await fetch(`${proxy.url}/v2/keys/a`, { method })
    tt.same([answer.status, await answer.text()], [501, ''], method)
  }
})

t.test('a member that is away is passed over, and comes back', async (tt) => {
  const dir = tt.testdir({ member: {}, proxy: {} })
  const store = await startMember(tt, join(dir, 'member'))
  const flags = ['--proxy-failure-wait', '200', '--proxy-refresh-interval', '50']
  const proxy = await startProxy(tt, {
    dir: join(dir, 'proxy'),
    peers: ['http://127.0.0.1:1', peerOf(store)],
    flags,
  })
  await store.kill('SIGKILL')
  const away = await fetch(`${proxy.url}/v2/keys/a`)
  tt.same(
    [away.status, await away.json()],
    [502, { message: 'proxy: unable to get response from 1 endpoint(s)' }],
  )
  await proxy.said(`proxy: marked endpoint ${store.url} unavailable`)
  const none = await fetch(`${proxy.url}/v2/keys/a`)
  tt.same(
    [none.status, await none.json()],
    [503, { message: 'proxy: zero endpoints currently available' }],
  )
  const again = await launch({ dir: join(dir, 'member'), ports: store.ports })
  tt.teardown(async () => await again.kill('SIGKILL'))
  let status = 0
  while (status !== 201 && status !== 200)
    ({ status } = await put(`${proxy.url}/v2/keys/a`, 'back'))
  tt.pass('it is asked again')
})

t.test('a proxy turns to another member at each refresh, and tells of them once', async (tt) => {
  const clientURLs = ['http://127.0.0.1:1', 'http://127.0.0.1:2', 'http://127.0.0.1:3']
  const peers = [await peerWith(tt, clientURLs)]
  const flags = ['--proxy-refresh-interval', '20']
  const proxy = await startProxy(tt, { dir: tt.testdir(), peers, flags })
  const first = new Set<string>()
  while (first.size < clientURLs.length) {
    const answer = await fetch(`${proxy.url}/v2/config/local/proxy`)
    const { endpoints }: { endpoints: string[] } = JSON.parse(await answer.text())
    first.add(endpoints[0] ?? '')
  }
  tt.same([...first].toSorted(), clientURLs)
  tt.equal(proxy.log().split('proxy: endpoints found').length, 2)
})

t.test('a write that a member may have seen is not sent to another', async (tt) => {
  const seen: string[] = []
  const listen = async (name: string): Promise<string> => {
    // Takes the request, and hangs up instead of answering.
    const server = createTcpServer((socket) =>
      socket
        .on('error', () => undefined)
        .once('data', (bytes) => {
          seen.push(`${name} ${bytes.toString('latin1').split(' ')[0]}`)
          socket.destroy()
        }),
    ).listen(0, '127.0.0.1')
    await once(server, 'listening')
    tt.teardown(() => server.close())
    return urlOf(server)
  }
  const clientURLs = [await listen('one'), await listen('two')]
  const peers = [await peerWith(tt, clientURLs)]
  const flags = ['--proxy-failure-wait', '0']
  const proxy = await startProxy(tt, { dir: tt.testdir(), peers, flags })
  const answer = await put(`${proxy.url}/v2/keys/a`, 'once')
  tt.equal(answer.status, 502)
  tt.equal(seen.length, 1, seen.join())
  await fetch(`${proxy.url}/v2/keys/a`)
  tt.equal(seen.length, 3, 'a read may be asked twice')
})

t.test('a proxy goes on without what it cannot dial and without its file', async (tt) => {
  const member = await openServer(tt, (_request, response) => response.end('answered'))
  const clientURLs = ['nonsense', 'ftp://h:1', 'http://h:99999', member]
  const peer = await openServer(tt, (_request, response) =>
    response.end(JSON.stringify([{ peerURLs: ['http://127.0.0.1:1'], clientURLs }])),
  )
  const dir = tt.testdir({ proxy: { 'cluster.bak': {} } })
  const proxy = await startProxy(tt, { dir, peers: [peer] })
  tt.match(proxy.log(), `proxy: endpoints found ["${member}"]`)
  tt.match(proxy.log(), /proxy: cannot write .*proxy\/cluster: EISDIR/)
  tt.equal(await (await fetch(`${proxy.url}/v2/keys/a`)).text(), 'answered')
})

t.test('a proxy keeps files open for the members, however many clients come', async (tt) => {
  const member = await openServer(tt, (_request, response) => response.end('answered'))
  const peer = await openServer(tt, (_request, response) =>
    response.end(JSON.stringify([{ peerURLs: [], clientURLs: [member] }])),
  )
  const wrapper = ['prlimit', '--nofile=154']
  const proxy = await startProxy(tt, { dir: tt.testdir(), peers: [peer], wrapper })
  const request = 'GET /v2/keys/a HTTP/1.1\r\nHost: x\r\n\r\n'
  const port = Number(new URL(proxy.url).port)
  for (const [answer] of [
    await once(dialRaw(tt, port, request), 'data'),
    await once(dialRaw(tt, port, request), 'data'),
  ])
    tt.match(answer, /^HTTP\/1\.1 200 /)
  for (let late = 0; late < 2; late += 1) {
    const socket = dialRaw(tt, port, request).resume()
    await new Promise((resolve) => socket.once('end', resolve).once('close', resolve))
  }
  await proxy.said('http: too many connections, one was refused')
  tt.equal(proxy.log().split('too many connections').length, 2, 'said once')
})

t.test('a data directory stays what it was', async (tt) => {
  const dir = tt.testdir({ member: {}, proxy: {}, both: { member: {}, proxy: {} } })
  const store = await startMember(tt, join(dir, 'member'))
  const first = await startProxy(tt, { dir: join(dir, 'proxy'), peers: [peerOf(store)] })
  first.process.kill('SIGTERM')
  const [code]: unknown[] = await once(first.process, 'exit')
  tt.equal(code, 0)
  const again = await startProxy(tt, {
    dir: join(dir, 'proxy'),
    peers: ['http://127.0.0.1:1'],
    mode: 'off',
    flags: ['--name', 'm0', '--initial-advertise-peer-urls', 'http://127.0.0.1:1'],
  })
  tt.match(again.log(), 'the server is already initialized as proxy before, starting as etcd proxy')
  tt.match(again.log(), `proxy: using peer urls [${peerOf(store)}] from cluster file`)
  tt.equal((await fetch(`${again.url}/version`)).status, 200)

  mkdirSync(join(dir, 'bad/proxy'), { recursive: true })
  writeFileSync(join(dir, 'bad/proxy/cluster'), 'nonsense')
  for (const [name, problem] of [
    ['both', /invalid datadir\. Both member and proxy directories exist\./],
    ['bad', /cannot read .*bad\/proxy\/cluster/],
  ] as const) {
    const child = spawn(process.execPath, [kvdPath, '--data-dir', join(dir, name), '--proxy', 'on'])
    let text = ''
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
    const [status]: unknown[] = await once(child, 'close')
    tt.equal(status, 1, name)
    tt.match(text, problem)
    tt.notMatch(text, /\n +at /, 'no stack')
  }
})
