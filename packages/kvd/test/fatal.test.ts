import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { WebSocket } from 'ws'
import { newBirth } from '../src/membership/birth.ts'
import { greetingHeaders } from '../src/transport/handshake.ts'
import { MessageWriter } from '../src/transport/message-codec.ts'
import { Daemon } from './helpers/daemon.ts'
import { freePorts } from './helpers/store-process.ts'

t.test('a member whose log contradicts the leader says why and ends with status 70', async (tt) => {
  const dataDir = tt.testdir()
  const { client, peer } = await freePorts()
  const [clientUrl, peerUrl] = [`http://127.0.0.1:${client}`, `http://127.0.0.1:${peer}`]
  const initialCluster = new Map([
    ['a', [peerUrl]],
    ['b', ['http://127.0.0.1:1']],
  ])
  const cluster = [...initialCluster].map(([name, [url]]) => `${name}=${url}`).join()
  const names = [...initialCluster.keys()]
  const [own, other] = names.map((name) =>
    newBirth({ name, initialCluster, token: 'etcd-cluster' }),
  )
  if (own === undefined || other === undefined) throw new Error('no members')
  const { memberId: to, clusterId } = own.identity
  const from = other.identity.memberId
  const daemon = new Daemon(tt, [
    '--name=a',
    `--data-dir=${dataDir}`,
    `--initial-cluster=${cluster}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--listen-client-urls=${clientUrl}`,
    `--advertise-client-urls=${clientUrl}`,
  ])
  await daemon.said('listening for client requests')
  const version = '1.0.0'
  const headers = greetingHeaders({
    clusterId,
    from,
    to,
    version,
    minVersion: version,
    peerURLs: [],
    incarnation: 1,
  })
  const url = `ws://127.0.0.1:${peer}/kvd/raft/v1/bulk`
  const socket = new WebSocket(url, 'kvd-raft.1', { headers })
  await once(socket, 'open')
  const last = own.entries.at(-1)
  const writer = new MessageWriter()
  writer.write({
    type: 'app',
    from,
    to,
    term: 9,
    incarnation: 1,
    commit: 0,
    entries: [],
    prevIndex: last?.index ?? 0,
    prevTerm: last?.term ?? 0,
    // Of another history.
    prevChain: ((last?.chain ?? 0) ^ 1) >>> 0,
  })
  socket.on('error', () => undefined)
  socket.send(writer.take())
  tt.equal(await daemon.ended(), 70)
  tt.match(
    daemon.log,
    /ERROR raft: FATAL raft invariant log\.matching: entry 2 of term 1 has chain/,
  )
  const file = join(dataDir, 'member', 'crash-1.json')
  tt.match(daemon.log, `ERROR raft: what led to this is kept file=${file}`)
  const report: { steps: unknown[] } = JSON.parse(readFileSync(file, 'utf8'))
  tt.match(report, {
    error: { message: /^raft invariant log\.matching: entry 2/, stack: /handleApp/ },
    core: {
      id: to,
      lead: from,
      hard: { term: 9, vote: '0', commit: 2 },
      conf: { voters: [from, to].toSorted() },
      log: { first: 1, last: 2, entries: [{ index: 1 }, { index: 2, kind: 'conf' }] },
    },
  })
  tt.match(report.steps[0], { what: 'ready', about: { seq: 1 } })
  tt.match(report.steps.at(-1), { what: 'step', about: { type: 'app', from, prevIndex: 2 } })
})
