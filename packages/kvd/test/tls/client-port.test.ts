import { once } from 'node:events'
import { request } from 'node:https'
import { connect, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import type { TlsConfig } from '../../src/tls/tls-config.ts'
import { openTlsIdentity, type TlsIdentity } from '../../src/tls/tls-identity.ts'
import { Authority, opensslSkip, read, type Pair } from '../helpers/certificates.ts'
import { openClientPort, type ClientPort } from '../helpers/client-port.ts'
import { set } from '../helpers/commands.ts'
import { Exchange, exchange, get, put, UNUSUAL, valueOf, visible } from '../helpers/exchange.ts'
import { LogLines } from '../helpers/log-lines.ts'

const skip = opensslSkip()

interface Secured {
  readonly member: ClientPort
  readonly identity: TlsIdentity
  readonly ca: Authority
  /** What a client needs that shows nothing. */
  readonly trusting: ConnectionOptions
  readonly place: (more?: ConnectionOptions) => { port: number; tls: ConnectionOptions }
}

function configOf(server: Pair, more: Partial<TlsConfig> = {}): TlsConfig {
  return {
    side: 'client',
    certFile: server.cert,
    keyFile: server.key,
    caFiles: [],
    clientCertAuth: false,
    isSelfSigned: false,
    ...more,
  }
}

/** A client port over TLS, its CA, and a way to connect. */
async function secure(
  tt: Test,
  options: { clientCertAuth?: boolean; fdLimit?: number; handshakeMs?: number } = {},
): Promise<Secured> {
  const ca = new Authority(tt.testdir(), 'ca')
  const { clientCertAuth = false, fdLimit = 1000, ...times } = options
  const config = configOf(ca.issue('server'), {
    clientCertAuth,
    caFiles: clientCertAuth ? [ca.file] : [],
  })
  const { logger } = new LogLines()
  const identity = await openTlsIdentity({ config, logger, nowMs: Date.now, ...times })
  tt.teardown(() => identity.close())
  const member = await openClientPort(tt, { tls: identity, fdLimit })
  const trusting = { ca: ca.pem, servername: '' }
  const place = (more: ConnectionOptions = {}) => ({
    port: member.port,
    tls: { ...trusting, ...more },
  })
  return { member, identity, ca, trusting, place }
}

/** How an attempt to be served ends: the status of an answer, or why there is none. */
async function outcome({ member, trusting }: Secured, more: ConnectionOptions): Promise<string> {
  const options = { host: '127.0.0.1', port: member.port, path: '/version', agent: false }
  return await new Promise((resolve) => {
    request({ ...options, ...trusting, ...more }, (answer) => {
      answer.resume()
      resolve(String(answer.statusCode))
    })
      .on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
      .end()
  })
}

t.test('a client that knows the CA is served, over TLS 1.2 and 1.3', { skip }, async (tt) => {
  const secured = await secure(tt)
  const other = new Authority(tt.testdirName, 'other')
  const cases: [what: string, options: ConnectionOptions, outcome: string][] = [
    ['1.3', { minVersion: 'TLSv1.3' }, '200'],
    ['1.2', { maxVersion: 'TLSv1.2' }, '200'],
    ['by its name', { servername: 'localhost' }, '200'],
    [
      'by a name that is not its own',
      { servername: 'kvd.example' },
      'ERR_TLS_CERT_ALTNAME_INVALID',
    ],
    ['another CA', { ca: other.pem }, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
    [
      '1.1',
      { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' },
      'EPROTO',
    ],
  ]
  for (const [what, options, expected] of cases)
    tt.equal(await outcome(secured, options), expected, what)
})

t.test(
  'with client-cert-auth a certificate of the CA gets in, and no other',
  { skip },
  async (tt) => {
    const secured = await secure(tt, { clientCertAuth: true })
    const { ca } = secured
    const other = new Authority(tt.testdirName, 'other')
    tt.equal(await outcome(secured, read(ca.issue('client'))), '200')
    tt.equal(await outcome(secured, read(ca.issue('one', { usage: 'clientAuth' }))), '200')
    const refused: [what: string, shown: ConnectionOptions, reason: RegExp][] = [
      ['none', {}, /ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED/],
      ['one of another CA', read(other.issue('stranger')), /ECONNRESET/],
      ['an expired one', read(ca.issue('late', { days: -1 })), /ECONNRESET/],
      ['one for servers alone', read(ca.issue('web', { usage: 'serverAuth' })), /ECONNRESET/],
    ]
    for (const [what, shown, reason] of refused)
      tt.match(await outcome(secured, shown), reason, what)
    const { lines } = secured.member
    tt.match(lines[0], /^<4>http: TLS handshake error from=127.0.0.1 reason="peer did not return/)
  },
)

t.test('requests are answered as they are without TLS, by both parsers', { skip }, async (tt) => {
  const { place } = await secure(tt)
  const plain = await openClientPort(tt)
  const large = 'x'.repeat(200_000)
  const sent = [
    put('/v2/keys/a', 'value=1'),
    get('/v2/keys/a'),
    get('/v2/keys/none'),
    put('/v2/keys/b', `value=${large}`),
    get('/v2/keys/b'),
    { ...get('/v2/keys/a', 'X-Head: 1'), isHead: false },
    get('/v2/keys/a', UNUSUAL),
    put('/v2/keys/c?value=2', '', 'Expect: 100-continue', 'Content-Length: 0'),
    get('/v2/keys/?recursive=true&sorted=true'),
  ]
  const cuts = [3, 70, 200, 1000]
  const [over, without] = [
    await exchange(place(), sent, cuts),
    await exchange(plain.port, sent, cuts),
  ]
  tt.same(over.map(visible), without.map(visible))
  tt.equal(over.length, sent.length)
  tt.same(
    over.slice(0, 3).map(({ headers }) => headers['connection']),
    [undefined, undefined, undefined],
    'the first ones by the fast parser',
  )
  tt.equal(valueOf(over[4])?.length, large.length)
})

t.test('thousands of requests on kept connections, in order', { skip }, async (tt) => {
  const { place } = await secure(tt)
  const connections = await Promise.all([1, 2, 3].map(async () => await Exchange.open(place())))
  for (const [at, connection] of connections.entries()) {
    const key = `/v2/keys/k${at}`
    const values = Array.from({ length: 500 }, (_, n) => `value-${n}.`)
    const sent = values.flatMap((value) => [put(key, `value=${value}`), get(key)])
    for (let from = 0; from < sent.length; from += 100) {
      const part = sent.slice(from, from + 100)
      await connection.send(part.map(({ text }) => text).join(''))
      const last = `"action":"get","node":{"key":"/k${at}","value":"${values[from / 2 + 49]}"`
      await connection.until(() => connection.text.includes(last))
    }
    const replies = await connection.replies(sent)
    tt.same(
      replies.filter((_, n) => n % 2 === 1).map((reply) => valueOf(reply)),
      values,
    )
    connection.socket.destroy()
  }
})

t.test('long polls, streams and watch sockets work over TLS', { skip }, async (tt) => {
  const { member, place, trusting } = await secure(tt)
  const poll = await Exchange.open(place())
  await poll.send(get('/v2/keys/w?wait=true').text)
  const stream = await Exchange.open(place())
  await stream.send(get('/v2/keys/w?wait=true&stream=true').text)
  const slow = await Exchange.open(place())
  await slow.send(get('/v2/keys/w?wait=true&stream=true', UNUSUAL).text)
  for (const connection of [poll, stream, slow])
    await connection.until(() => connection.text.includes('\r\n\r\n'))
  const url = `wss://127.0.0.1:${member.port}/kvd/v1/watch`
  const socket = new WebSocket(url, 'kvd-watch.1', trusting)
  tt.teardown(() => socket.terminate())
  await once(socket, 'open')
  const heard: string[] = []
  socket.on('message', (data) => heard.push(Buffer.isBuffer(data) ? data.toString() : ''))
  socket.send(JSON.stringify({ op: 'watch', id: 1, key: '/w' }))
  while (heard.length < 1) await once(socket, 'message')
  for (let n = 1; n <= 50; n += 1) member.store.apply(set('/w', { value: `v${n}` }))
  for (const connection of [stream, slow])
    await connection.until(() => connection.text.includes('"value":"v50"'))
  await poll.until(() => poll.text.includes('\r\n0\r\n\r\n'))
  tt.match(poll.text, '"value":"v1"')
  while (heard.length < 51) await once(socket, 'message')
  tt.match(heard.at(-1), '"value":"v50"')
  for (const connection of [poll, stream, slow]) connection.socket.destroy()
  while (member.store.watchers.count > 1) await new Promise((resolve) => setImmediate(resolve))
  tt.pass('the watches of those who left are gone')
})

t.test(
  'plain HTTP gets no answer from a TLS port, and the other way round',
  { skip },
  async (tt) => {
    const { member, trusting } = await secure(tt)
    const plain = await Exchange.open(member.port)
    await plain.send(get('/version').text)
    tt.notMatch(await plain.untilOver(), 'HTTP')
    tt.match(member.lines, [/TLS handshake error from=127.0.0.1 reason="http request"/])
    const other = await openClientPort(tt)
    const socket = connectTls({ port: other.port, host: '127.0.0.1', ...trusting })
    const [error]: unknown[] = await once(socket, 'error')
    tt.match(error, { code: /ERR_SSL_WRONG_VERSION_NUMBER|ECONNRESET/ })
    tt.equal((await exchange(other.port, [get('/version')]))[0]?.status, 200, 'it serves others')
  },
)

t.test('a client that connects and says nothing holds up nobody', { skip }, async (tt) => {
  const { member, place } = await secure(tt, { handshakeMs: 100 })
  const silent = connect(member.port, '127.0.0.1').resume()
  await once(silent, 'connect')
  const half = connect(member.port, '127.0.0.1').resume()
  half.write(Buffer.from([0x16, 0x03, 0x01]))
  const ended = [silent, half].map(async (socket) => await once(socket, 'close'))
  tt.equal((await exchange(place(), [get('/version')]))[0]?.status, 200, 'others are served')
  await Promise.all(ended)
  tt.match(member.lines, [/TLS handshake error from=127.0.0.1 reason="TLS handshake timeout"/])
})

t.test('connections in their handshake count, and end with the port', { skip }, async (tt) => {
  const { member, place } = await secure(tt, { fdLimit: 152 })
  const dial = async (): Promise<Socket> => {
    const socket = connect(member.port, '127.0.0.1').resume()
    await once(socket, 'connect')
    return socket
  }
  const silent = [await dial(), await dial()]
  const third = await dial()
  if (!third.closed) await once(third, 'close')
  tt.match(member.lines, [/too many connections, one was refused/])
  silent[0]?.destroy()
  while ((await tryVersion(place())) !== 200);
  tt.pass('another one comes in its place')
  member.clients.drain()
  member.clients.close()
  await once(silent[1] ?? third, 'close')
  tt.pass('what was in its handshake is ended')
})

async function tryVersion(place: ReturnType<Secured['place']>): Promise<number | undefined> {
  try {
    return (await exchange(place, [get('/version')]))[0]?.status
  } catch {
    return undefined
  }
}

t.test('a client that says it sends no more still gets its answer', { skip }, async (tt) => {
  const { place } = await secure(tt)
  for (const headers of [[], [UNUSUAL]]) {
    const connection = await Exchange.open(place())
    connection.socket.end(get('/version', ...headers).text)
    tt.match(await connection.untilOver(), /^HTTP\/1\.1 200 OK/)
  }
})

t.test('a client cannot ask for one handshake after the other', { skip }, async (tt) => {
  const { place } = await secure(tt)
  const { port, tls } = place({ maxVersion: 'TLSv1.2' })
  const socket: TLSSocket = connectTls({ port, host: '127.0.0.1', ...tls })
  await once(socket, 'secureConnect')
  const refused = new Promise((resolve) => {
    socket.renegotiate({}, (error) => resolve(error))
    socket.once('error', resolve)
  })
  tt.match(await refused, { message: /no renegotiation|socket/i })
  socket.destroy()
})
