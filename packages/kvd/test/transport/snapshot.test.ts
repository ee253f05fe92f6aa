import { once } from 'node:events'
import { createServer } from 'node:http'
import t, { type Test } from 'tap'
import type { MessageOf } from '../../src/raft/types.ts'
import type { DiskSnapshot } from '../../src/storage/disk.ts'
import type { EventRow } from '../../src/storage/messages.ts'
import { createStats } from '../../src/store/stats.ts'
import { greetingHeaders, type Greeting, type Host } from '../../src/transport/handshake.ts'
import { SnapshotReceiver, type Snapshot } from '../../src/transport/snapshot-receiver.ts'
import { sendSnapshot, SNAPSHOT_PATH } from '../../src/transport/snapshot-sender.ts'
import { dialNobody } from '../helpers/loopback.ts'
import { DEAF, dialRaw, freePeerUrl, openPeers, servePeers } from '../helpers/peer-ports.ts'

/** Begins a frame of 32,639 bytes. */
const LONG_HEAD = '\0\x7f\x7f\0\0\0\0\0\0'

/** Of a store without nodes. */
function emptySnapshot(): DiskSnapshot {
  const place = { index: 5, term: 1, chain: 0 }
  return {
    head: { place, storeIndex: 4, count: 0, stats: createStats() },
    events: [],
    next: async () => await Promise.resolve(undefined),
    close: () => undefined,
  }
}

const GREETING: Greeting = {
  clusterId: 'c1',
  from: 'a1',
  to: 'b2',
  version: '1.0.0',
  minVersion: '1.0.0',
  peerURLs: [],
  incarnation: 1,
}

/** A receiver with a server of its own. */
async function openReceiver(
  tt: Test,
  paceMs?: number,
): Promise<{ url: string; taken: Snapshot[]; problems: string[] }> {
  const [taken, problems]: [Snapshot[], string[]] = [[], []]
  const host: Host = {
    clusterId: 'c1',
    id: 'b2',
    version: '1.0.0',
    minVersion: '1.0.0',
    isMember: () => true,
    isRemoved: () => false,
    incarnationOf: () => 0,
  }
  const receiver = new SnapshotReceiver({
    host,
    historySize: 10,
    ...(paceMs === undefined ? {} : { paceMs }),
    received: (snapshot) => taken.push(snapshot),
    failed: (from, problem) => problems.push(`${from}: ${problem}`),
  })
  const server = createServer((request, response) => void receiver.take(request, response))
  const url = await freePeerUrl()
  server.listen(Number(url.port), '127.0.0.1')
  await once(server, 'listening')
  tt.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return { url: url.origin, taken, problems }
}

async function send(url: string, events: readonly EventRow[] = []): Promise<void> {
  const headers = greetingHeaders(GREETING)
  const title = { from: 'a1', to: 'b2', term: 1, incarnation: 1, ...emptySnapshot().head }
  await sendSnapshot({ url, headers, tls: dialNobody }, title, { ...emptySnapshot(), events })
}

t.test('a snapshot that trickles makes room for one that comes', async (tt) => {
  const { url, taken, problems } = await openReceiver(tt, 100)
  const lines = Object.entries(greetingHeaders(GREETING)).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  )
  const slow = dialRaw(
    tt,
    Number(new URL(url).port),
    `POST ${SNAPSHOT_PATH} HTTP/1.1\r\nHost: x\r\n${lines.join('')}Content-Length: 1000000\r\n\r\n${LONG_HEAD}`,
  )
  const drops = setInterval(() => slow.write('\0'), 10)
  tt.teardown(() => clearInterval(drops))
  await new Promise((resolve) => slow.resume().once('close', resolve))
  tt.match(problems, ['a1: it comes too slowly'])
  await send(url)
  tt.match(taken, [{ title: { storeIndex: 4 } }])
})

t.test('events of a later store are refused: a start would miss them', async (tt) => {
  const { url, taken, problems } = await openReceiver(tt)
  await tt.rejects(send(url, [{ last: 5, body: '[]' }]))
  tt.match(problems, [/^a1: the snapshot has events of a later store/])
  await send(url, [{ last: 4, body: '[]' }])
  tt.match(taken, [{ events: [{ last: 4 }] }])
})

t.test('a snapshot finds a member whose first address does not answer', async (tt) => {
  const [dead, url] = [await freePeerUrl(), await freePeerUrl()]
  const first = new Map([
    ['a', ['http://127.0.0.1:1']],
    ['b', [dead.origin, url.origin]],
  ])
  const [a, b] = [openPeers(tt, 'a', first), openPeers(tt, 'b', first)]
  await servePeers(tt, b, url)
  const arrived = new Promise<Snapshot>((resolve) => b.peers.attach({ ...DEAF, install: resolve }))
  const offer: MessageOf<'snapOffer'> = {
    type: 'snapOffer',
    from: a.cluster.localId,
    to: b.cluster.localId,
    term: 1,
    incarnation: 1,
    meta: { index: 5, term: 1, chain: 0, conf: { voters: [], learners: [] } },
  }
  // Addresses are sorted, and which one is the dead one is chance: two tries are enough.
  for (let tries = 0; tries < 2; tries += 1)
    await a.peers.sendSnapshot(offer, emptySnapshot()).catch(() => undefined)
  tt.match((await arrived).title, { storeIndex: 4 })
})
