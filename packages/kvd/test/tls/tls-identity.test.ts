import { once } from 'node:events'
import { readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  connect,
  createServer,
  type ConnectionOptions,
  type Server,
  type TLSSocket,
} from 'node:tls'
import t, { type Test } from 'tap'
import { ensureSelfSigned } from '../../src/tls/self-signed.ts'
import type { TlsConfig } from '../../src/tls/tls-config.ts'
import { TlsError } from '../../src/tls/tls-error.ts'
import { openTlsIdentity, type TlsIdentity } from '../../src/tls/tls-identity.ts'
import { Authority, opensslSkip, read, replacePair, type Pair } from '../helpers/certificates.ts'
import { LogLines } from '../helpers/log-lines.ts'

const skip = opensslSkip()
const DAY_MS = 24 * 3_600_000

function configOf(pair: Pair, more: Partial<TlsConfig> = {}): TlsConfig {
  const { cert: certFile, key: keyFile } = pair
  const common = {
    side: 'client',
    caFiles: [],
    clientCertAuth: false,
    isSelfSigned: false,
  } as const
  return { certFile, keyFile, ...common, ...more }
}

interface Opened {
  readonly identity: TlsIdentity
  readonly log: LogLines
}

async function open(tt: Test, config: TlsConfig, lookMs?: number): Promise<Opened> {
  const log = new LogLines()
  const { logger } = log
  const often = lookMs === undefined ? {} : { lookMs }
  const identity = await openTlsIdentity({ config, logger, nowMs: Date.now, ...often })
  tt.teardown(() => identity.close())
  return { identity, log }
}

/** A server that sends back what it is sent. */
async function serve(tt: Test, identity: TlsIdentity): Promise<{ port: number; server: Server }> {
  const server = createServer(identity.serverOptions(), (socket) => {
    socket.on('error', () => undefined).pipe(socket)
  })
  identity.follow(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  tt.teardown(() => server.close())
  const address = server.address()
  return { port: typeof address === 'object' && address !== null ? address.port : 0, server }
}

async function dial(tt: Test, port: number, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connect({ port, host: '127.0.0.1', ...options })
  tt.teardown(() => socket.destroy())
  socket.on('error', () => undefined)
  await once(socket, 'secureConnect')
  return socket
}

/** The name in the certificate that a new connection is shown. */
async function shown(tt: Test, port: number, ca: Authority): Promise<string> {
  const socket = await dial(tt, port, { ca: ca.pem })
  const name = socket.getPeerCertificate().subject.CN
  socket.destroy()
  return String(name)
}

async function echo(socket: TLSSocket, text: string): Promise<string> {
  socket.write(text)
  const [data]: unknown[] = await once(socket, 'data')
  return String(data)
}

t.test('files that cannot be used are named', { skip }, async (tt) => {
  const dir = tt.testdir({ empty: '', text: 'no certificate' })
  const ca = new Authority(dir, 'ca')
  const [one, two] = [ca.issue('one'), ca.issue('two')]
  const bad = join(dir, 'bad.pem')
  writeFileSync(bad, readFileSync(one.cert, 'latin1').replace(/\n.{20}/, '\nAAAAAAAAAAAAAAAAAAAA'))
  const none = join(dir, 'none')
  const cases: [config: TlsConfig, problem: RegExp][] = [
    [configOf({ ...one, cert: none }), /^cannot read .*\/none: ENOENT/],
    [configOf({ ...one, key: none }), /^cannot read .*\/none: ENOENT/],
    [configOf({ ...one, cert: join(dir, 'text') }), /\/text holds no certificate in PEM form$/],
    [configOf({ ...one, cert: bad }), /\/bad.pem holds a certificate that is damaged: /],
    [
      configOf({ ...one, key: join(dir, 'text') }),
      /\/text holds no private key that can be read: /,
    ],
    [configOf({ ...one, key: two.key }), /two.key is not that of the certificate in .*one.pem$/],
    [configOf(one, { caFiles: [join(dir, 'empty')] }), /\/empty holds no certificate in PEM form$/],
    [configOf(one, { caFiles: [ca.file, none] }), /^cannot read .*\/none: ENOENT/],
  ]
  for (const [config, message] of cases) {
    const { logger } = new LogLines()
    const opened = openTlsIdentity({ config, logger, nowMs: Date.now })
    await tt.rejects(opened, { name: 'TlsError', code: 'TLS', message })
  }
})

t.test('new handshakes see new files, connections go on', { skip }, async (tt) => {
  const ca = new Authority(tt.testdir(), 'ca')
  const pair = ca.issue('old')
  const { identity, log } = await open(tt, configOf(pair))
  const { port } = await serve(tt, identity)
  const old = await dial(tt, port, { ca: ca.pem })
  tt.equal(await shown(tt, port, ca), 'old')
  replacePair(pair, ca.issue('new'))
  tt.equal(identity.generation, 0)
  await identity.reload()
  tt.equal(identity.generation, 1)
  tt.equal(await shown(tt, port, ca), 'new')
  tt.equal(await echo(old, 'still here'), 'still here')
  tt.match(log.lines, [/^<6>tls: certificates were read again side=client until=\d{4}-/])
})

t.test('files that change are read without being asked for', { skip }, async (tt) => {
  const ca = new Authority(tt.testdir(), 'ca')
  const pair = ca.issue('old')
  const { identity, log } = await open(tt, configOf(pair), 5)
  const { port } = await serve(tt, identity)
  replacePair(pair, ca.issue('new'))
  await log.said(/certificates were read again/)
  tt.equal(await shown(tt, port, ca), 'new')
  const { atime } = statSync(pair.cert)
  utimesSync(pair.cert, atime, new Date(Date.now() + 5_000))
  while (identity.generation < 2) await new Promise((resolve) => setImmediate(resolve))
  tt.equal(await shown(tt, port, ca), 'new', 'the time alone says that there is something new')
})

t.test('a broken file changes nothing, is named once, and may be mended', { skip }, async (tt) => {
  const ca = new Authority(tt.testdir(), 'ca')
  const pair = ca.issue('old')
  const { identity, log } = await open(tt, configOf(pair, { caFiles: [ca.file] }), 5)
  const { port } = await serve(tt, identity)
  const good = readFileSync(pair.cert)
  writeFileSync(pair.cert, 'half a cert')
  const line = await log.said(/old.pem holds no certificate/)
  tt.match(line, /^<3>tls: .* side=client effect="the old certificates stay in use"$/)
  tt.equal(await shown(tt, port, ca), 'old')
  rmSync(pair.cert)
  await log.said(/cannot read .*old.pem: ENOENT/)
  tt.equal(await shown(tt, port, ca), 'old')
  tt.equal(identity.generation, 0)
  writeFileSync(`${pair.cert}.next`, good)
  renameSync(`${pair.cert}.next`, pair.cert)
  await log.said(/certificates were read again/)
  tt.equal(log.lines.filter((text) => text.startsWith('<3>')).length, 2, 'one line for each change')
})

t.test('who was trusted by an old CA is not by the new one', { skip }, async (tt) => {
  const dir = tt.testdir()
  const [ca, next] = [new Authority(dir, 'ca'), new Authority(dir, 'next')]
  const trusted = join(dir, 'trusted.pem')
  writeFileSync(trusted, ca.pem)
  const config = configOf(ca.issue('server'), { caFiles: [trusted], clientCertAuth: true })
  const { identity } = await open(tt, config)
  const { port } = await serve(tt, identity)
  const client = { ca: ca.pem, ...read(ca.issue('client')) }
  const before = await dial(tt, port, { ...client, maxVersion: 'TLSv1.2' })
  tt.equal(await echo(before, 'a'), 'a')
  const session = before.getSession()
  if (session === undefined) throw new Error('there is no session')
  const resumed = await dial(tt, port, { ...client, session, maxVersion: 'TLSv1.2' })
  tt.ok(resumed.isSessionReused(), 'without a reload a session is taken up')
  writeFileSync(trusted, next.pem)
  await identity.reload()
  for (const options of [{ session, maxVersion: 'TLSv1.2' }, {}] as const) {
    const socket = connect({ port, host: '127.0.0.1', ...client, ...options })
    socket.on('error', () => undefined).resume()
    await new Promise((resolve) => socket.once('close', resolve))
  }
  tt.pass('not even by taking up a session')
  tt.equal(await echo(before, 'b'), 'b', 'but a connection goes on')
  const other = await dial(tt, port, { ca: ca.pem, ...read(next.issue('newcomer')) })
  tt.equal(await echo(other, 'c'), 'c')
})

t.test('a certificate that has expired is told', { skip }, async (tt) => {
  const ca = new Authority(tt.testdir(), 'ca')
  const { log } = await open(tt, configOf(ca.issue('late', { days: -1 })))
  tt.match(log.lines, [/^<4>tls: the certificate has expired file=.*late.pem since=\d{4}-/])
})

t.test(
  'a certificate that comes to its end while it is used is told of twice',
  { skip },
  async (tt) => {
    const ca = new Authority(tt.testdir(), 'ca')
    const log = new LogLines()
    const { logger, lines } = log
    let nowMs = Date.now()
    const config = configOf(ca.issue('short', { days: 8 }))
    const identity = await openTlsIdentity({ config, logger, nowMs: () => nowMs, lookMs: 1 })
    tt.teardown(() => identity.close())
    // The looks by themselves keep no process alive.
    await serve(tt, identity)
    tt.same(lines, [], 'nothing to say yet')
    nowMs += 2 * DAY_MS
    await log.said(/expires within a week file=.*short.pem until=\d{4}-/)
    nowMs += 7 * DAY_MS
    await log.said(/has expired file=.*short.pem/)
    tt.equal(lines.length, 2)
  },
)

t.test(
  'dialling checks the host, and shows a certificate where there is one',
  { skip },
  async (tt) => {
    const ca = new Authority(tt.testdir(), 'ca')
    const config = configOf(ca.issue('server'), { caFiles: [ca.file], clientCertAuth: true })
    const { identity } = await open(tt, config)
    const { port } = await serve(tt, identity)
    const socket = await dial(tt, port, identity.dialOptions())
    tt.equal(await echo(socket, 'mutual'), 'mutual')
    tt.equal(identity.dialOptions().secureContext, identity.dialOptions().secureContext)
    const wrong = connect({
      port,
      host: '127.0.0.1',
      ...identity.dialOptions(),
      servername: 'other',
    })
    const [error]: unknown[] = await once(wrong, 'error')
    tt.match(error, { code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
    const trusting = configOf({ cert: '', key: '' }, { caFiles: [ca.file] })
    const { identity: bare } = await open(tt, trusting)
    tt.equal(bare.hasCertificate, false)
    const { identity: open2 } = await open(tt, configOf(ca.issue('open')))
    const { port: openPort } = await serve(tt, open2)
    tt.equal(await echo(await dial(tt, openPort, bare.dialOptions()), 'one way'), 'one way')
  },
)

t.test('without CA files the CAs of the system count', { skip }, async (tt) => {
  const ca = new Authority(tt.testdir(), 'ca')
  const { identity } = await open(tt, configOf(ca.issue('server')))
  const { port } = await serve(tt, identity)
  const socket = connect({ port, host: '127.0.0.1', ...identity.dialOptions() })
  const [error]: unknown[] = await once(socket, 'error')
  tt.match(error, { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' })
})

t.test('a self-signed certificate is made once, for its owner alone', { skip }, async (tt) => {
  const dir = join(tt.testdir(), 'fixtures/client')
  const pair = { cert: join(dir, 'cert.pem'), key: join(dir, 'key.pem') }
  const config = configOf(pair, { isSelfSigned: true })
  const hosts = ['kvd.example', '10.1.2.3', '0.0.0.0', '::', 'fd00::1']
  const make = async (wanted: readonly string[], nowMs = Date.now()): Promise<string> => {
    await ensureSelfSigned({ config, hosts: wanted, nowMs })
    return readFileSync(pair.cert, 'utf8')
  }
  const first = await make(hosts)
  tt.equal(statSync(pair.key).mode & 0o777, 0o600)
  tt.equal(statSync(dir).mode & 0o777, 0o700)
  tt.equal(await make(hosts), first, 'the next start takes it as it is')
  const { identity } = await open(tt, config)
  const { port } = await serve(tt, identity)
  for (const servername of ['kvd.example', 'localhost', ''])
    tt.equal(await echo(await dial(tt, port, { ca: first, servername }), 'a'), 'a', servername)
  tt.equal(await echo(await dial(tt, port, identity.dialOptions()), 'b'), 'b', 'peers do not ask')
  const named = await make([...hosts, 'new.example'])
  tt.not(named, first, 'a new name needs a new certificate')
  tt.equal(await make(hosts), named)
  tt.not(await make(hosts, Date.now() + 336 * DAY_MS), named, 'so does one that ends soon')
  rmSync(dir, { recursive: true })
  writeFileSync(dir, 'in the way')
  await tt.rejects(ensureSelfSigned({ config, hosts, nowMs: 0 }), TlsError)
})
