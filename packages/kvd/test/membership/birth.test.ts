import t, { type Test } from 'tap'
import { clusterId, memberId } from '../../src/cluster.ts'
import { Machine } from '../../src/machine.ts'
import {
  birthOf,
  compareIds,
  joinBirth,
  newBirth,
  type BirthOptions,
} from '../../src/membership/birth.ts'
import type { PeerCluster } from '../../src/membership/peer-cluster.ts'
import { entryChain } from '../../src/storage/entry-codec.ts'
import { Store } from '../../src/store/store.ts'
import { dialNobody, openServer } from '../helpers/loopback.ts'

// The three members that etcd's documentation starts on one machine, and their ids there.
const TOKEN = 'etcd-cluster-1'
const ask = { tls: dialNobody, failed: () => undefined }
const THREE: [name: string, url: string, id: string][] = [
  ['infra1', 'http://127.0.0.1:12380', '8211f1d0f64f3269'],
  ['infra2', 'http://127.0.0.1:22380', '91bc3c398fb3c146'],
  ['infra3', 'http://127.0.0.1:32380', 'fd422379fda50e48'],
]
const CLUSTER = 'ef37ad9dc622a7c4'
const initialCluster = new Map(THREE.map(([name, url]) => [name, [url]]))

t.test('ids are those of the original', async (tt) => {
  // etcd's own test of members has these as decimal numbers.
  const second = String(Date.parse('1984-12-23T15:04:05Z') / 1000)
  const members: [urls: string[], token: string, id: string][] = [
    [['http://10.0.0.8:2379'], '', '14544069596553697298'],
    [['http://10.0.0.8:2379'], second, '2448790162483548276'],
    [['http://10.0.0.8:2379'], `etcd${second}`, '6973882743191604649'],
    [['http://10.0.0.1:2379'], second, '1466075294948436910'],
  ]
  for (const [urls, token, id] of members)
    tt.equal(BigInt(`0x${memberId(urls, token)}`).toString(), id, `${urls.join()} ${token}`)
  for (const [name, url, id] of THREE) tt.equal(memberId([url], TOKEN), id, name)
  tt.equal(clusterId(THREE.map(([, , id]) => id)), CLUSTER)
  tt.equal(clusterId([memberId(['http://localhost:2380'], 'etcd-cluster')]), 'cdf818194e3a8c32')
})

t.test('all first members begin with the same log, each as itself', async (tt) => {
  const orders = [THREE, THREE.toReversed()].map(
    (members) => new Map(members.map(([name, url]) => [name, [url]])),
  )
  const births = THREE.flatMap(([name]) =>
    orders.map((order) => newBirth({ name, initialCluster: order, token: TOKEN })),
  )
  const [first] = births
  if (first === undefined) throw new Error('no birth')
  for (const [at, { identity, entries, peers }] of births.entries()) {
    const [, , id] = THREE[Math.floor(at / 2)] ?? []
    tt.same(identity, { memberId: id, clusterId: CLUSTER })
    tt.same(entries, first.entries)
    tt.same(new Map(peers), new Map(THREE.map(([, url, member]) => [member, [url]])))
  }
  const machine = new Machine(new Store({ historySize: 10 }))
  let chain = 0
  for (const [at, entry] of first.entries.entries()) {
    tt.match(entry, { index: at + 1, term: 1, kind: 'conf', id: '' })
    tt.equal(entry.chain, entryChain(chain, entry))
    chain = entry.chain
    tt.equal(machine.applyChange(entry).problem, undefined)
  }
  tt.same(machine.conf, { voters: THREE.map(([, , id]) => id), learners: [] })
  tt.equal(machine.store.index, 3, 'one step for each, as in the original')
})

t.test('ids are ordered as numbers', async (tt) => {
  tt.same(['b1', '9', 'fd422379fda50e48', 'a'].toSorted(compareIds), [
    '9',
    'a',
    'b1',
    'fd422379fda50e48',
  ])
})

t.test('a cluster that cannot begin says why', async (tt) => {
  const birth = (name: string, members: [string, string[]][]): unknown =>
    newBirth({ name, initialCluster: new Map(members), token: TOKEN })
  tt.throws(() => birth('x', [['a', ['http://a:1']]]), {
    name: 'BootstrapError',
    code: 'BOOTSTRAP',
    message: `couldn't find local name "x" in the initial cluster configuration`,
  })
  for (const state of ['new', 'existing'] as const)
    await tt.rejects(
      birthOf({
        name: 'b',
        peerURLs: ['http://b:1', 'http://a:2'],
        initialCluster: new Map([
          ['b', ['http://b:1', 'http://a:2']],
          ['a', ['http://a:1', 'http://a:2']],
        ]),
        state,
        token: TOKEN,
        ask,
      }),
      {
        code: 'BOOTSTRAP',
        message:
          'initial cluster a=http://a:1,a=http://a:2,b=http://a:2,b=http://b:1 has duplicate url',
      },
      state,
    )
})

t.test('who begins must be among the first members, with the URLs that it tells', async (tt) => {
  const self = { name: 'a', peerURLs: ['http://h:1', 'http://h:2'], token: TOKEN, ask }
  const begin = async (name: string, urls: string[], state: 'new' | 'existing') =>
    await birthOf({ ...self, initialCluster: new Map([[name, urls]]), state })
  const birth = await begin('a', ['http://h:2', 'http://h:1'], 'new')
  tt.equal(birth.entries.length, 1, 'in any order')
  for (const state of ['new', 'existing'] as const)
    await tt.rejects(begin('b', ['http://h:1'], state), {
      code: 'BOOTSTRAP',
      message: `couldn't find local name "a" in the initial cluster configuration`,
    })
  await tt.rejects(begin('a', ['http://h:1'], 'new'), {
    code: 'BOOTSTRAP',
    message:
      '--initial-cluster must include a=http://h:1,a=http://h:2 given --initial-advertise-peer-urls=http://h:1,http://h:2',
  })
  const asked = begin('a', ['http://h:1'], 'existing')
  await tt.rejects(
    asked,
    { message: /cannot fetch cluster info/ },
    'who joins has told them before',
  )
})

/** The cluster of three as one of its members tells it, the last one not started yet. */
const RUNNING: PeerCluster = {
  clusterId: CLUSTER,
  members: THREE.map(([name, url, id]) => {
    const isStarted = name !== 'infra3'
    return {
      id,
      name: isStarted ? name : '',
      peerURLs: [url],
      clientURLs: isStarted ? ['http://c:1'] : [],
    }
  }),
}
const JOINER = { name: 'infra3', peerURLs: ['http://127.0.0.1:32380'], initialCluster }

t.test('who joins is told by the others who it is, and begins with nothing', async (tt) => {
  tt.same(joinBirth(JOINER, RUNNING), {
    identity: { memberId: 'fd422379fda50e48', clusterId: CLUSTER },
    entries: [],
    peers: new Map(THREE.map(([, url, id]) => [id, [url]])),
  })
})

t.test('who cannot join says why', async (tt) => {
  const shown = `{ClusterID:${CLUSTER} Members:[${THREE.map(([, , id]) => id).join(' ')}]}`
  const two = new Map([...initialCluster].slice(0, 2))
  const other = new Map(initialCluster).set('infra2', ['http://127.0.0.1:1'])
  const strange = { ...JOINER, name: 'new', peerURLs: ['http://127.0.0.1:1'] }
  const started = { ...JOINER, name: 'infra1', peerURLs: ['http://127.0.0.1:12380'] }
  type Case = [what: string, joiner: typeof JOINER, running: PeerCluster | undefined, text: string]
  const cases: Case[] = [
    [
      'nobody answers',
      JOINER,
      undefined,
      'cannot fetch cluster info from peer urls: could not retrieve cluster information from the given urls',
    ],
    [
      'it knows of fewer',
      { ...JOINER, initialCluster: two },
      RUNNING,
      `error validating peerURLs ${shown}: member count is unequal`,
    ],
    [
      'it knows one under other URLs',
      { ...JOINER, initialCluster: other },
      RUNNING,
      `error validating peerURLs ${shown}: unmatched member while checking PeerURLs`,
    ],
    [
      'it was not added',
      strange,
      RUNNING,
      'cannot find local etcd member "new" in the running cluster',
    ],
    [
      'it was there before',
      started,
      RUNNING,
      'member 8211f1d0f64f3269 has already been bootstrapped: its data is gone, so remove it and add it again',
    ],
  ]
  for (const [what, joiner, running, message] of cases)
    tt.throws(
      () => joinBirth(joiner, running),
      { name: 'BootstrapError', code: 'BOOTSTRAP', message },
      what,
    )
})

/** The peer port of a member that says this. Gives its URL. */
async function openPeer(tt: Test, members: object[], cluster = CLUSTER): Promise<string> {
  return await openServer(tt, (request, response) => {
    response.setHeader('X-Etcd-Cluster-ID', cluster)
    response.statusCode = request.url === '/members' ? 200 : 404
    response.end(JSON.stringify(members).replace(/"id":"(\d+)"/g, '"id":$1'))
  })
}

const decimal = (id: string): string => BigInt(`0x${id}`).toString()

t.test('a member without data asks the others what it may become', async (tt) => {
  const own = 'http://127.0.0.1:1'
  const id = memberId([own], TOKEN)
  const known = { id: decimal(id), name: '', peerURLs: [own], clientURLs: [] }
  const peer = await openPeer(tt, [])
  const options = (url: string, state: BirthOptions['state']): BirthOptions => {
    const cluster = new Map([
      ['own', [own]],
      ['peer', [url]],
    ])
    return { name: 'own', peerURLs: [own], initialCluster: cluster, state, token: TOKEN, ask }
  }
  tt.match(
    await birthOf(options(peer, 'new')),
    { identity: { memberId: id }, entries: [{ index: 1 }, { index: 2 }] },
    'the others have not heard of it',
  )
  const waiting = await openPeer(tt, [known])
  tt.match(await birthOf(options(waiting, 'new')), { entries: { length: 2 } }, 'nor seen it')
  const missed = await openPeer(tt, [{ ...known, clientURLs: ['http://127.0.0.1:2'] }])
  await tt.rejects(birthOf(options(missed, 'new')), {
    code: 'BOOTSTRAP',
    message: `member ${id} has already been bootstrapped`,
  })
  await tt.rejects(
    birthOf(options(peer, 'existing')),
    { message: /could not retrieve cluster information/ },
    'nor does it know anybody else',
  )
  const other = { ...known, id: '2', peerURLs: ['http://127.0.0.1:3'] }
  const running = await openPeer(tt, [other])
  await tt.rejects(birthOf(options(running, 'existing')), { message: /member count is unequal/ })
})

t.test('a joiner asks one after the other, and never itself', async (tt) => {
  const own = 'http://127.0.0.1:1'
  const dead = 'http://127.0.0.1:2'
  const members: object[] = []
  const peer = await openPeer(tt, members, 'ab')
  members.push(
    { id: '18446744073709551615', name: '', peerURLs: [own], clientURLs: [] },
    { id: '2', name: 'dead', peerURLs: [dead], clientURLs: [] },
    { id: '3', name: 'peer', peerURLs: [peer], clientURLs: ['http://c:1'] },
  )
  const cluster = new Map([
    ['own', [own]],
    ['dead', [dead]],
    ['peer', [peer]],
  ])
  const birth = await birthOf({
    name: 'own',
    peerURLs: [own],
    initialCluster: cluster,
    state: 'existing',
    token: TOKEN,
    ask,
  })
  tt.same(birth.identity, { memberId: 'ffffffffffffffff', clusterId: 'ab' })
  tt.same([...birth.peers.keys()], ['ffffffffffffffff', '2', '3'])
})
