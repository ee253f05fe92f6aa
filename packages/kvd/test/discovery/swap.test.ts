import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { discoverCluster, discoverPeers } from '../../src/discovery/discover.ts'
import { DiscoveryError } from '../../src/discovery/discovery-error.ts'
import { discoveryRoutes } from '../../src/http/discovery.ts'
import { openClientPort } from '../helpers/client-port.ts'
import { etcdMembers, etcdSkip, startEtcd, type Etcd } from '../helpers/etcd.ts'
import { openLog } from '../helpers/log.ts'

// Each side of discovery against the original's: our service with real members, our members with a
// real store, and both kinds of members side by side at one token.

const skip = etcdSkip()

function quietly(url: string, name: string, fallback: 'proxy' | 'exit' = 'exit') {
  const { logger } = openLog()
  const config = {
    name,
    peerURLs: [`http://${name}:2380`],
    clusterToken: url,
    discovery: { type: 'url', url, proxy: undefined, fallback },
  } as const
  return discoverCluster(config, { logger, signal: new AbortController().signal })
}

async function startMember(tt: Test, dir: string, name: string, url: string): Promise<Etcd> {
  const own = join(dir, name)
  mkdirSync(own, { recursive: true })
  return await startEtcd(tt, { dir: own, name, discovery: url })
}

t.test(
  'three real etcds bootstrap through our service, a fourth finds it full',
  { skip },
  async (tt) => {
    const service = await openClientPort(tt, { routes: discoveryRoutes })
    const url = await (await fetch(`${service.url}/new?size=3`)).text()
    const dir = tt.testdir({})
    const names = ['a', 'b', 'c']
    const members = await Promise.all(
      names.map(async (name) => await startMember(tt, dir, name, url)),
    )
    for (const member of members) tt.same(await etcdMembers(member), names)
    const { logger } = openLog()
    const { signal } = new AbortController()
    const source = { type: 'url', url, proxy: undefined, fallback: 'proxy' } as const
    tt.same(
      await discoverPeers(source, { logger, signal }),
      members.map(({ peerUrl }) => peerUrl).toSorted(),
      'our proxy would find them there',
    )
    tt.same(
      await quietly(url, 'd', 'proxy'),
      { full: members.map(({ peerUrl }) => peerUrl).toSorted() },
      'and our fourth is told so',
    )
    const fourth = await startMember(tt, dir, 'd', url)
    while (!fourth.log().includes('falling back to proxy'))
      await new Promise((resolve) => setTimeout(resolve, 20))
    tt.match(fourth.log(), /cluster (is )?full, falling back to proxy/)
  },
)

t.test('our members find each other in a real etcd', { skip }, async (tt) => {
  const dir = tt.testdir({})
  const store = await startEtcd(tt, { dir })
  await etcdMembers(store)
  const url = `${store.url}/v2/keys/discovery/token`
  const body = new URLSearchParams({ value: '3' })
  const made = await fetch(`${url}/_config/size`, { method: 'PUT', body })
  tt.equal(made.status, 201)
  const names = ['a', 'b', 'c']
  const found = await Promise.all(names.map(async (name) => await quietly(url, name)))
  for (const one of found)
    tt.same(
      'full' in one ? one : Object.fromEntries(one.initialCluster),
      Object.fromEntries(names.map((name) => [name, [`http://${name}:2380`]])),
    )
  await tt.rejects(quietly(url, 'd'), new DiscoveryError('FULL'))
  await tt.rejects(quietly(url, 'a'), new DiscoveryError('DUPLICATE_ID'))
  await tt.rejects(quietly(`${store.url}/v2/keys/none`, 'a'), {
    code: 'REFUSED',
    message: /^100: Key not found \(\/none\) \[\d+\]$/,
  })
})

t.test('an etcd and one of ours see each other at a token of either', { skip }, async (tt) => {
  const dir = tt.testdir({})
  const service = await openClientPort(tt, { routes: discoveryRoutes })
  const url = await (await fetch(`${service.url}/new?size=2`)).text()
  const ours = quietly(url, 'ours')
  const theirs = await startMember(tt, dir, 'theirs', url)
  const found = await ours
  tt.same('full' in found ? found : Object.fromEntries(found.initialCluster), {
    ours: ['http://ours:2380'],
    theirs: [theirs.peerUrl],
  })
  while (!theirs.log().includes('found 2 needed peer(s)'))
    await new Promise((resolve) => setTimeout(resolve, 20))
  tt.match(theirs.log(), /found peer [0-9a-f]+ in the cluster/, 'and it sees ours')
})
