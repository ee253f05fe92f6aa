import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { connect, createServer as createRelay } from 'node:net'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import type { Message } from '../../src/raft/types.ts'
import { BODY_BYTES_MAX } from '../../src/http/message.ts'
import { Acceptor } from '../../src/transport/acceptor.ts'
import { greetingHeaders } from '../../src/transport/handshake.ts'
import { Transport } from '../../src/transport/transport.ts'
import { openServer } from '../helpers/loopback.ts'

const clusterId = 'c1'

/** One member's peer port and its ways to the others; what happened to it, as lines. */
class Station {
  readonly id: string
  readonly lines: string[] = []
  readonly received: Message[] = []
  readonly removed = new Set<string>()
  incarnation: number
  transport: Transport
  #server: Server | undefined
  #acceptor: Acceptor | undefined
  #heard: (() => void)[] = []
  port = 0

  /** Milliseconds of silence that end a way. */
  readonly deadMs: number

  constructor(id: string, { incarnation = 1, deadMs = 5000 } = {}) {
    this.id = id
    this.incarnation = incarnation
    this.deadMs = deadMs
    this.transport = this.#createTransport()
  }

  #createTransport(): Transport {
    const { id, incarnation } = this
    return new Transport({
      greeting: {
        clusterId,
        from: id,
        version: '0.1.0',
        minVersion: '0.1.0',
        peerURLs: [],
        incarnation,
      },
      electionMs: 1000,
      deadMs: this.deadMs,
      random: () => 0,
      unreachable: (peer) => this.note(`unreachable ${peer}`),
      unsent: ({ to, type }) => this.note(`unsent ${type} to ${to}`),
      connected: (peer) => this.note(`connected ${peer}`),
      disconnected: (peer) => this.note(`disconnected ${peer}`),
      failed: (peer, { message }) => this.note(`failed ${peer}: ${message}`),
      refused: (peer, status, text) => this.note(`refused by ${peer}: ${status} ${text}`),
    })
  }

  note(line: string): void {
    this.lines.push(line)
    for (const heard of this.#heard.splice(0)) heard()
  }

  async until(isDone: () => boolean): Promise<void> {
    while (!isDone()) await new Promise<void>((resolve) => this.#heard.push(resolve))
  }

  async listen(port = 0): Promise<void> {
    const acceptor: Acceptor = new Acceptor({
      deadMs: this.deadMs,
      host: {
        clusterId,
        id: this.id,
        version: '0.1.0',
        minVersion: '0.1.0',
        isMember: (id) => id.startsWith('a'),
        isRemoved: (id) => this.removed.has(id),
        incarnationOf: (id) => acceptor.incarnationOf(id),
      },
      received: (messages) => {
        this.received.push(...messages)
        this.note(`received ${messages.length}`)
      },
      gone: (id) => this.note(`gone ${id}`),
      restarted: (id, incarnation) => this.note(`restarted ${id} ${incarnation}`),
      refused: (_greeting, { status }) => this.note(`refused ${status}`),
      broken: (id, problem) => this.note(`broken ${id}: ${problem}`),
    })
    const server = createServer((_request, response) => response.writeHead(404).end())
    server.on('upgrade', (request, socket, head) => {
      if (!acceptor.upgrade(request, socket, head)) socket.destroy()
    })
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    this.port = typeof address === 'object' && address !== null ? address.port : 0
    this.#acceptor = acceptor
    this.#server = server
  }

  follow(): void {
    this.#acceptor?.follow()
  }

  async mute(): Promise<void> {
    this.#acceptor?.close()
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }
}

async function pair(
  tt: Test,
  how: { readonly deadMs?: number } = {},
): Promise<{ sender: Station; receiver: Station }> {
  const sender = new Station('a1', how)
  const receiver = new Station('b2', how)
  await receiver.listen()
  tt.teardown(async () => {
    sender.transport.close()
    await receiver.mute()
  })
  return { sender, receiver }
}

function heartbeat(commit: number): Message {
  const way = { from: 'a1', to: 'b2', term: 1, incarnation: 1 }
  return { ...way, type: 'hb', commit, life: 1, readBatch: 0, clusterMs: 0 }
}

function append(index: number, bytes = 1): Message {
  const entry = {
    index,
    term: 1,
    kind: 'request',
    id: '',
    data: Buffer.alloc(bytes),
    chain: 0,
  } as const
  return {
    type: 'app',
    from: 'a1',
    to: 'b2',
    term: 1,
    incarnation: 1,
    prevIndex: index - 1,
    prevTerm: 1,
    prevChain: 0,
    commit: 0,
    entries: [entry],
  }
}

t.test('messages arrive, in the order of each way', async (tt) => {
  const { sender, receiver } = await pair(tt)
  sender.transport.setPeers(new Map([['b2', [receiver.url]]]))
  await sender.until(() => sender.lines.includes('connected b2'))
  await receiver.until(() => receiver.lines.includes('restarted a1 1'))
  const wait = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve))
  while (sender.transport.dropped === 0 && receiver.received.length === 0) {
    // The way for entries opens by itself; until then they are dropped.
    sender.transport.send(append(0))
    await wait()
  }
  for (let index = 1; index <= 500; index += 1) {
    while (!sender.transport.isConnected('b2')) await wait()
    sender.transport.send(heartbeat(index))
  }
  await receiver.until(() => receiver.received.filter(({ type }) => type === 'hb').length === 500)
  const commits = receiver.received.flatMap((message) =>
    message.type === 'hb' ? [message.commit] : [],
  )
  tt.same(
    commits,
    Array.from({ length: 500 }, (_, at) => at + 1),
  )
})

/** A network that carries 64 KiB in 20 ms. Returns its URL. */
async function slowWayTo(tt: Test, port: number): Promise<string> {
  const relay = createRelay((near) => {
    const far = connect(port, '127.0.0.1')
    tt.teardown(() => {
      near.destroy()
      far.destroy()
    })
    for (const socket of [near, far]) socket.on('error', () => undefined)
    far.pipe(near)
    near.on('close', () => far.destroy())
    near.on('data', (chunk) => {
      far.write(chunk)
      near.pause()
      setTimeout(() => near.resume(), (20 * chunk.length) / (64 * 1024))
    })
  })
  relay.listen(0, '127.0.0.1')
  await once(relay, 'listening')
  tt.teardown(() => relay.close())
  const address = relay.address()
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
}

t.test('a frame may be on its way for longer than silence may last', async (tt) => {
  const { sender, receiver } = await pair(tt, { deadMs: 300 })
  sender.transport.setPeers(new Map([['b2', [await slowWayTo(tt, receiver.port)]]]))
  await sender.until(() => sender.lines.includes('connected b2'))
  while (receiver.received.length === 0) {
    sender.transport.send(append(1))
    await new Promise((resolve) => setImmediate(resolve))
  }
  const isThere = (): boolean =>
    receiver.received.some((message) => message.type === 'app' && message.prevIndex === 9)
  sender.transport.send(append(10, 4 << 20))
  await Promise.race([
    receiver.until(isThere),
    sender.until(() => sender.lines.includes('unreachable b2')),
  ])
  tt.ok(isThere(), 'it was sent once, and arrived')
})

t.test('the longest value that a client may write arrives, whatever leaves with it', async (tt) => {
  const { sender, receiver } = await pair(tt)
  sender.transport.setPeers(new Map([['b2', [receiver.url]]]))
  await sender.until(() => sender.lines.includes('connected b2'))
  while (receiver.received.length === 0) {
    sender.transport.send(append(1))
    await new Promise((resolve) => setImmediate(resolve))
  }
  sender.transport.send(append(2, (1 << 20) - 1024))
  sender.transport.send(append(3, BODY_BYTES_MAX))
  const indexes = (): number[] =>
    receiver.received.flatMap((message) =>
      message.type === 'app' ? message.entries.map(({ index }) => index) : [],
    )
  await receiver.until(() => indexes().includes(3))
  tt.ok(indexes().includes(2))
  tt.same(
    receiver.lines.filter((line) => line.startsWith('broken')),
    [],
  )
})

t.test('what cannot be sent is dropped, and said so', async (tt) => {
  const { sender } = await pair(tt)
  sender.transport.send(heartbeat(1))
  tt.equal(sender.transport.dropped, 1, 'nobody of that name')
  sender.transport.setPeers(new Map([['b2', ['http://127.0.0.1:1']]]))
  sender.transport.send(append(1))
  tt.equal(sender.transport.dropped, 2)
  tt.same(sender.lines, ['unsent hb to b2', 'unsent app to b2'])
})

t.test('a member that comes back is found again, under any of its addresses', async (tt) => {
  const { sender, receiver } = await pair(tt)
  sender.transport.setPeers(new Map([['b2', ['http://127.0.0.1:1', receiver.url]]]))
  await sender.until(() => sender.lines.includes('connected b2'))
  const { port } = receiver
  await receiver.mute()
  await sender.until(() => sender.lines.includes('disconnected b2'))
  await receiver.listen(port)
  const before = sender.lines.length
  await sender.until(() => sender.lines.indexOf('connected b2', before) !== -1)
  sender.transport.send(heartbeat(7))
  await receiver.until(() => receiver.received.length > 0)
  tt.match(receiver.received, [{ type: 'hb', commit: 7 }])
})

t.test('an address that is no URL costs a try, not the process', async (tt) => {
  const { sender, receiver } = await pair(tt)
  const wrong = ['http://127.0.0.1:99999', 'http://127.0.0.1:1#x', 'nonsense']
  sender.transport.setPeers(new Map([['b2', [...wrong, receiver.url]]]))
  await sender.until(() => sender.lines.includes('connected b2'))
  tt.match(
    sender.lines.filter((line) => line.startsWith('failed')),
    [
      /^failed b2: Invalid URL: ws:\/\/127\.0\.0\.1:99999/,
      /^failed b2: .*fragment/,
      /^failed b2: /,
    ],
  )
})

t.test('who is not let in is told why', async (tt) => {
  const { sender, receiver } = await pair(tt)
  receiver.removed.add('a1')
  sender.transport.setPeers(new Map([['b2', [receiver.url]]]))
  await sender.until(() => sender.lines.includes('refused by b2: 410 removed member'))
  tt.equal(sender.transport.isConnected('b2'), false)
})

t.test('of a refusal that does not end only the beginning is heard', async (tt) => {
  const { sender } = await pair(tt)
  const url = await openServer(tt, (_request, response) => {
    response.writeHead(403)
    const goOn = (): void => {
      while (response.write('no '.repeat(1000)));
      response.once('drain', goOn)
    }
    goOn()
  })
  sender.transport.setPeers(new Map([['b2', [url]]]))
  const isRefusal = (line: string): boolean => line.startsWith('refused by b2: 403 no no')
  await sender.until(() => sender.lines.some(isRefusal))
  tt.ok((sender.lines.find(isRefusal)?.length ?? 0) < 250)
  await sender.until(() => sender.lines.filter(isRefusal).length > 1)
  tt.same(
    sender.lines.filter((line) => line.startsWith('failed')),
    [],
    'a refusal is no failure besides',
  )
})

t.test('who is removed while it is connected is told so', async (tt) => {
  const { sender, receiver } = await pair(tt)
  sender.transport.setPeers(new Map([['b2', [receiver.url]]]))
  await sender.until(() => sender.lines.includes('connected b2'))
  receiver.follow()
  tt.equal(sender.transport.isConnected('b2'), true, 'others stay')
  receiver.removed.add('a1')
  receiver.follow()
  await sender.until(() => sender.lines.includes('refused by b2: 410 removed member'))
})

t.test('an earlier life of a member is not heard any more', async (tt) => {
  const { sender, receiver } = await pair(tt)
  sender.transport.setPeers(new Map([['b2', [receiver.url]]]))
  await sender.until(() => sender.lines.includes('connected b2'))
  const again = new Station('a1', { incarnation: 2 })
  tt.teardown(() => again.transport.close())
  again.transport.setPeers(new Map([['b2', [receiver.url]]]))
  await again.until(() => again.lines.includes('connected b2'))
  await receiver.until(() => receiver.lines.includes('restarted a1 2'))
  sender.transport.send(heartbeat(1))
  await sender.until(() => sender.lines.includes('refused by b2: 409 stale incarnation'))
  tt.same(receiver.received, [])
})

t.test('a peer that sends what no member sends is cut off', async (tt) => {
  const { receiver } = await pair(tt)
  const headers = greetingHeaders({
    clusterId,
    from: 'a1',
    to: 'b2',
    version: '0.1.0',
    minVersion: '0.1.0',
    peerURLs: [],
    incarnation: 1,
  })
  const cases: [what: string, frame: Buffer | string, code: number][] = [
    ['no frame', Buffer.from('nonsense'), 1002],
    ['text', 'text', 1003],
    ['too much', Buffer.alloc(17 * 1024 * 1024), 1009],
  ]
  for (const [what, frame, code] of cases) {
    const socket = new WebSocket(
      `${receiver.url.replace('http', 'ws')}/kvd/raft/v1/ctl`,
      'kvd-raft.1',
      { headers },
    )
    await once(socket, 'open')
    socket.send(frame)
    const [closed]: unknown[] = await once(socket, 'close')
    tt.ok(closed === code || closed === 1006, `${what}: ${String(closed)}`)
  }
  tt.same(receiver.received, [])
  tt.match(
    receiver.lines.filter((line) => line.startsWith('broken')),
    [/^broken a1: /, 'broken a1: Max payload size exceeded'],
  )
})

t.test('an etcd that dials is told that it is in the wrong place', async (tt) => {
  const { receiver } = await pair(tt)
  const socket = connect(receiver.port, '127.0.0.1')
  socket.write(
    'GET /kvd/raft/v1/ctl HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nX-Server-From: a1\r\n\r\n',
  )
  let text = ''
  for await (const chunk of socket.setEncoding('latin1')) text += String(chunk)
  tt.match(text, /^HTTP\/1\.1 400 /)
  tt.match(text, /kvd and etcd cannot be members of one cluster/)
})

t.test('entries do not pile up for a member that takes none', async (tt) => {
  const { sender, receiver } = await pair(tt)
  sender.transport.setPeers(new Map([['b2', [receiver.url]]]))
  await sender.until(() => sender.lines.includes('connected b2'))
  while (receiver.received.length === 0) {
    sender.transport.send(append(1))
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { dropped } = sender.transport
  for (let index = 0; index < 64; index += 1) sender.transport.send(append(index, 1 << 20))
  tt.ok(sender.transport.dropped > dropped, `${sender.transport.dropped - dropped} were dropped`)
  tt.ok(sender.lines.includes('unsent app to b2'))
  const before = receiver.received.length
  await receiver.until(() => receiver.received.length > before)
})
