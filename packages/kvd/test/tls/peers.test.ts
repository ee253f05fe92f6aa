import { once } from 'node:events'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { attributesCommand, Cluster } from '../../src/cluster.ts'
import { HttpPort } from '../../src/http-port.ts'
import { Machine } from '../../src/machine.ts'
import { newBirth } from '../../src/membership/birth.ts'
import { PeerPort } from '../../src/peer-port.ts'
import { askPeer } from '../../src/peer-request.ts'
import { Peers } from '../../src/peers.ts'
import type { Message } from '../../src/raft/types.ts'
import { Store } from '../../src/store/store.ts'
import type { TlsConfig } from '../../src/tls/tls-config.ts'
import { openTlsIdentity, type TlsIdentity } from '../../src/tls/tls-identity.ts'
import { Acceptor } from '../../src/transport/acceptor.ts'
import { Transport } from '../../src/transport/transport.ts'
import { Authority, opensslSkip, replacePair, type Pair } from '../helpers/certificates.ts'
import { NOW } from '../helpers/commands.ts'
import { LogLines } from '../helpers/log-lines.ts'
import { freePorts } from '../helpers/store-process.ts'

const skip = opensslSkip()

async function identityOf(
  tt: Test,
  pair: Pair,
  ca: Authority,
  more: Partial<TlsConfig> = {},
): Promise<TlsIdentity> {
  const common = { side: 'peer', clientCertAuth: true, isSelfSigned: false } as const
  const { cert: certFile, key: keyFile } = pair
  const config = { ...common, certFile, keyFile, caFiles: [ca.file], ...more }
  const { logger } = new LogLines()
  const identity = await openTlsIdentity({ config, logger, nowMs: Date.now })
  tt.teardown(() => identity.close())
  return identity
}

async function freeUrl(): Promise<URL> {
  return new URL(`https://127.0.0.1:${(await freePorts()).peer}`)
}

/** What happens, as lines that a test can wait for. */
class Notes {
  readonly lines: string[] = []
  #heard: (() => void)[] = []

  add(line: string): void {
    this.lines.push(line)
    for (const heard of this.#heard.splice(0)) heard()
  }

  async until(isDone: () => boolean): Promise<void> {
    while (!isDone()) await new Promise<void>((resolve) => this.#heard.push(resolve))
  }
}

function sender(
  tt: Test,
  identity: TlsIdentity,
  urls: readonly string[],
): Notes & { transport: Transport } {
  const notes = new Notes()
  const transport = new Transport({
    greeting: {
      clusterId: 'c1',
      from: 'a1',
      version: '0.1.0',
      minVersion: '0.1.0',
      peerURLs: [],
      incarnation: 1,
    },
    electionMs: 1000,
    random: () => 0,
    tls: () => identity.dialOptions(),
    unreachable: () => undefined,
    unsent: () => undefined,
    connected: (peer) => notes.add(`connected ${peer}`),
    disconnected: (peer) => notes.add(`disconnected ${peer}`),
    refused: (peer, status) => notes.add(`refused ${peer} ${status}`),
    failed: (peer, error) => notes.add(`failed ${peer}: ${error.message}`),
  })
  tt.teardown(() => transport.close())
  transport.setPeers(new Map([['b2', urls]]))
  return Object.assign(notes, { transport })
}

async function receiver(
  tt: Test,
  identity: TlsIdentity,
): Promise<{ url: URL; notes: Notes; received: Message[]; log: LogLines }> {
  const [notes, received, log, url] = [
    new Notes(),
    [] as Message[],
    new LogLines(),
    await freeUrl(),
  ]
  const host = { clusterId: 'c1', id: 'b2', version: '0.1.0', minVersion: '0.1.0' }
  const acceptor: Acceptor = new Acceptor({
    host: {
      ...host,
      isMember: () => true,
      isRemoved: () => false,
      incarnationOf: (id) => acceptor.incarnationOf(id),
    },
    received: (messages) => {
      received.push(...messages)
      notes.add('received')
    },
    restarted: () => undefined,
    gone: () => undefined,
    refused: () => notes.add('refused'),
    broken: (_id, problem) => notes.add(problem),
  })
  const answer: HttpPortAnswer = (_request, response) => response.writeHead(404).end()
  const port = new HttpPort({ url, tls: identity, logger: log.logger, answer })
  port.server.on('upgrade', (request, socket, head) => {
    if (!acceptor.upgrade(request, socket, head)) socket.destroy()
  })
  await port.listen()
  tt.teardown(async () => {
    acceptor.close()
    const ended = port.close()
    port.destroy()
    await ended
  })
  return { url, notes, received, log }
}

type HttpPortAnswer = ConstructorParameters<typeof HttpPort>[0]['answer']

function heartbeat(commit: number): Message {
  return {
    type: 'hb',
    from: 'a1',
    to: 'b2',
    term: 1,
    commit,
    incarnation: 1,
    life: 0,
    readBatch: 0,
    clusterMs: 0,
  }
}

t.test('members talk over TLS when both have a certificate of the CA', { skip }, async (tt) => {
  const ca = new Authority(tt.testdir(), 'ca')
  const to = await receiver(tt, await identityOf(tt, ca.issue('b'), ca))
  const from = sender(tt, await identityOf(tt, ca.issue('a'), ca), [to.url.origin])
  await from.until(() => from.lines.includes('connected b2'))
  for (let commit = 1; commit <= 300; commit += 1) {
    from.transport.send(heartbeat(commit))
    if (commit % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  await to.notes.until(() => to.received.length === 300)
  tt.match(to.received.at(-1), { type: 'hb', commit: 300 })
})

t.test('a stranger gets no way in, and none to a stranger is opened', { skip }, async (tt) => {
  const dir = tt.testdir()
  const [ca, other] = [new Authority(dir, 'ca'), new Authority(dir, 'other')]
  const own = await identityOf(tt, ca.issue('b'), ca)
  const cases: [what: string, identity: TlsIdentity, here: RegExp, there: RegExp][] = [
    [
      'shows a certificate of another CA',
      await identityOf(tt, other.issue('x'), ca),
      /socket hang up|ECONNRESET/,
      /UNABLE_TO_VERIFY_LEAF_SIGNATURE/,
    ],
    [
      'trusts another CA',
      await identityOf(tt, ca.issue('y'), other),
      /self-signed certificate in certificate chain|unable to verify/,
      /hang up|ECONNRESET/,
    ],
    [
      'shows none',
      await identityOf(tt, { cert: '', key: '' }, ca),
      /certificate required|hang up|ECONNRESET/,
      /peer did not return a certificate/,
    ],
    [
      'shows one that has expired',
      await identityOf(tt, ca.issue('z', { days: -1 }), ca),
      /socket hang up|ECONNRESET/,
      /CERT_HAS_EXPIRED/,
    ],
  ]
  for (const [what, identity, here, there] of cases) {
    const to = await receiver(tt, own)
    const from = sender(tt, identity, [to.url.origin])
    await from.until(() => from.lines.some((line) => line.startsWith('failed b2')))
    tt.match(from.lines.join('\n'), here, `${what}: the one that dials`)
    tt.match(await to.log.said(/TLS handshake error/), there, `${what}: the one that is dialled`)
    from.transport.close()
    tt.notOk(from.lines.includes('connected b2'), what)
    tt.same(to.received, [])
  }
})

t.test('a member whose certificate is for another host is not talked to', { skip }, async (tt) => {
  const ca = new Authority(tt.testdir(), 'ca')
  const elsewhere = ca.issue('c', { names: 'IP:127.0.0.2,DNS:other.example' })
  const to = await receiver(tt, await identityOf(tt, elsewhere, ca))
  const from = sender(tt, await identityOf(tt, ca.issue('d'), ca), [to.url.origin])
  await from.until(() => from.lines.some((line) => line.startsWith('failed b2')))
  tt.match(from.lines[0], /Hostname\/IP does not match certificate's altnames/)
  tt.notOk(from.lines.includes('connected b2'))
})

t.test('a member with a new certificate is let in without a restart', { skip }, async (tt) => {
  const dir = tt.testdir()
  const [ca, other] = [new Authority(dir, 'ca'), new Authority(dir, 'other')]
  const to = await receiver(tt, await identityOf(tt, ca.issue('b'), ca))
  const pair = other.issue('a')
  const identity = await identityOf(tt, pair, ca)
  const from = sender(tt, identity, [to.url.origin])
  await from.until(() => from.lines.includes('disconnected b2'))
  replacePair(pair, ca.issue('new'))
  await identity.reload()
  await from.until(() => from.lines.includes('connected b2'))
  tt.pass('connected')
})

t.test('self-signed members find each other', { skip }, async (tt) => {
  const dir = tt.testdir()
  const pairs = ['one', 'two'].map((name) => new Authority(dir, name).issue(`member-${name}`))
  const ca = new Authority(dir, 'nobody')
  const self = { clientCertAuth: false, caFiles: [], isSelfSigned: true }
  const [one, two] = await Promise.all(
    pairs.map(async (pair) => await identityOf(tt, pair, ca, self)),
  )
  if (one === undefined || two === undefined) throw new Error('there are two')
  const to = await receiver(tt, one)
  const from = sender(tt, two, [to.url.origin])
  await from.until(() => from.lines.includes('connected b2'))
  tt.pass('connected')
})

t.test('the peer port says over TLS who the members are', { skip }, async (tt) => {
  const ca = new Authority(tt.testdir(), 'ca')
  const identity = await identityOf(tt, ca.issue('b'), ca)
  const url = await freeUrl()
  const store = new Store({ historySize: 10 })
  const machine = new Machine(store)
  const birth = newBirth({
    name: 'default',
    initialCluster: new Map([['default', [url.origin]]]),
    token: 'etcd-cluster',
  })
  for (const entry of birth.entries) machine.apply(entry)
  const member = { name: 'default', clientURLs: ['https://h:1'] }
  store.apply(attributesCommand(birth.identity.memberId, member, NOW))
  const { logger, lines } = new LogLines()
  const peers = new Peers({
    identity: birth.identity,
    incarnation: 1,
    peerURLs: [url.origin],
    roster: machine.roster,
    first: birth.peers,
    historySize: 10,
    tls: () => identity.dialOptions(),
    electionMs: 1000,
    logger,
    nowMs: Date.now,
    random: () => 0,
  })
  tt.teardown(() => peers.close())
  const cluster = new Cluster(birth.identity, store, machine.roster)
  const port = new PeerPort({ cluster, peers, tls: identity, logger })
  await port.listen(url)
  const silent = connect(Number(url.port), '127.0.0.1').resume()
  await once(silent, 'connect')
  const trusted = await identityOf(tt, ca.issue('a'), ca)
  const ask = async (path: string, by: TlsIdentity): Promise<unknown> =>
    JSON.parse((await askPeer(new URL(path, url), () => by.dialOptions())).text)
  tt.match(await ask('/members', trusted), [{ name: 'default', clientURLs: ['https://h:1'] }])
  tt.match(await ask('/version', trusted), { etcdserver: '2.3.8' })
  await tt.rejects(ask('/none', trusted), { message: /answered 404/ })
  const bare = await identityOf(tt, { cert: '', key: '' }, ca)
  await tt.rejects(ask('/members', bare))
  tt.match(lines.join('\n'), /peer did not return a certificate/)
  await tt.rejects(askPeer(new URL('/members', `http://${url.host}`), () => trusted.dialOptions()))
  port.close()
  if (!silent.closed) await once(silent, 'close')
  tt.pass('who said nothing is gone with the port')
})
