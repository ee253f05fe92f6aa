import t from 'tap'
import { discoverCluster, discoverPeers } from '../../src/discovery/discover.ts'
import { DiscoveryError } from '../../src/discovery/discovery-error.ts'
import { systemNames } from '../../src/discovery/names.ts'
import { srvCluster, type NameService } from '../../src/discovery/srv.ts'
import { startDns } from '../helpers/dns-server.ts'
import { openLog } from '../helpers/log.ts'

const SSL = '_etcd-server-ssl._tcp.example.com'
const PLAIN = '_etcd-server._tcp.example.com'
const DOMAIN = 'example.com'

function noSuchHost(): Error {
  return Object.assign(new Error('querySrv ENOTFOUND'), { code: 'ENOTFOUND' })
}

/** Names out of two tables; what is not there does not exist. */
function namesOf(
  services: Record<string, [host: string, port: number][]>,
  addresses: Record<string, string>,
): NameService {
  return {
    services: async (name) => {
      const records = services[name]
      if (records === undefined) throw noSuchHost()
      return records.map(([host, port]) => ({ host, port }))
    },
    address: async (host) => {
      const address = addresses[host]
      if (address === undefined) throw noSuchHost()
      return address
    },
  }
}

async function problemOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'found'
  } catch (error) {
    if (!(error instanceof DiscoveryError)) throw error
    return `${error.code} ${error.message}`
  }
}

const ADDRESSES = { h1: '10.0.0.1', h2: '10.0.0.2', h3: '10.0.0.3', v6: 'fd00::1' }

t.test('one has one’s own name, the others are counted; https comes first', async (tt) => {
  const { logger, lines } = openLog()
  const names = namesOf(
    {
      [SSL]: [
        ['h1.', 2380],
        ['h2.', 2380],
      ],
      [PLAIN]: [
        ['h3.', 7001],
        ['v6', 7001],
      ],
    },
    { ...ADDRESSES, 'own.name': '10.0.0.2' },
  )
  const self = { name: 'me', peerURLs: ['https://own.name:2380'] }
  const cluster = await srvCluster({ domain: DOMAIN, self }, { names, logger })
  tt.same(
    [...cluster],
    [
      ['0', ['https://h1:2380']],
      ['me', ['https://h2:2380']],
      ['1', ['http://h3:7001']],
      ['2', ['http://v6:7001']],
    ],
  )
  tt.same(lines, [
    '<6>discovery: got bootstrap from DNS for etcd-server-ssl at https://h1:2380',
    '<6>discovery: got bootstrap from DNS for etcd-server-ssl at https://h2:2380',
    '<6>discovery: got bootstrap from DNS for etcd-server at http://h3:7001',
    '<6>discovery: got bootstrap from DNS for etcd-server at http://v6:7001',
  ])
})

t.test(
  'a host without an address is left out, as is one whose name no URL can hold',
  async (tt) => {
    const { logger, lines } = openLog()
    const records: [string, number][] = [
      ['gone', 1],
      ['h1', 2],
      ['a b', 3],
      ['', 4],
    ]
    const names = namesOf({ [PLAIN]: records }, { ...ADDRESSES, 'a b': '10.0.0.9' })
    const self = { name: 'me', peerURLs: ['http://10.0.0.1:2'] }
    const options = { names: { ...names, address: numeric(names) }, logger }
    tt.same([...(await srvCluster({ domain: DOMAIN, self }, options))], [['me', ['http://h1:2']]])
    tt.match(lines, [
      '<4>discovery: couldn\'t resolve host gone:1 during SRV discovery reason="no such host"',
      '<6>discovery: got bootstrap from DNS for etcd-server at http://h1:2',
      "<4>discovery: couldn't resolve host a b:3 during SRV discovery",
      "<4>discovery: couldn't resolve host :4 during SRV discovery",
    ])
  },
)

/** Addresses stand for themselves. */
function numeric(names: NameService): NameService['address'] {
  return async (host) => (/^[\d.]+$|:/.test(host) ? host : await names.address(host))
}

t.test('without records, or without oneself, there is no cluster', async (tt) => {
  const { logger, lines } = openLog()
  const self = { name: 'me', peerURLs: ['http://h1:1', 'http://h1:2'] }
  const ask = async (
    services: Record<string, [string, number][]>,
    who: typeof self | undefined = self,
  ): Promise<string> =>
    await problemOf(
      srvCluster({ domain: DOMAIN, self: who }, { names: namesOf(services, ADDRESSES), logger }),
    )
  tt.equal(await ask({}), `SRV lookup ${PLAIN}: no such host`)
  tt.same(lines, [
    '<4>discovery: error querying DNS SRV records for _etcd-server-ssl no such host',
    '<4>discovery: error querying DNS SRV records for _etcd-server no such host',
    '<3>discovery: SRV discovery failed: too many errors querying DNS SRV records',
  ])
  tt.equal(
    await ask({ [PLAIN]: [['h2', 1]] }),
    'NOT_A_MEMBER cannot find local etcd member "me" in SRV records',
  )
  tt.equal(
    await ask({ [PLAIN]: [['h1', 1]] }),
    'NOT_A_MEMBER --initial-cluster must include me=http://h1:1,me=http://h1:2 given --initial-advertise-peer-urls=http://h1:1,http://h1:2',
  )
  tt.match(
    await ask({
      [SSL]: [
        ['h1', 1],
        ['h1', 2],
      ],
    }),
    /^NOT_A_MEMBER --initial-cluster must include/,
    'https is not http',
  )
  tt.match(await ask({ [PLAIN]: [['gone', 1]] }), /^SRV no host in the SRV records of example\.com/)
  const elsewhere = { name: 'me', peerURLs: ['http://gone:1'] }
  tt.equal(await ask({ [PLAIN]: [['h1', 1]] }, elsewhere), 'SRV lookup gone: no such host')
  const both: [string, number][] = [
    ['h1', 1],
    ['h1', 2],
  ]
  tt.equal(await ask({ [PLAIN]: both }), 'found', 'in any order, with all URLs')
})

t.test('a real DNS server is asked, for members and for proxies', async (tt) => {
  const server = await startDns(tt, {
    [PLAIN]: [
      { target: 'localhost', port: 2380 },
      { target: 'localhost', port: 2390 },
    ],
    '_etcd-server._tcp.empty.example.com': [],
  })
  const { logger } = openLog()
  const options = { logger, names: systemNames([server]), signal: new AbortController().signal }
  const config = {
    name: 'me',
    peerURLs: ['http://127.0.0.1:2390'],
    clusterToken: 'etcd-cluster',
    discovery: { type: 'srv', domain: DOMAIN },
  } as const
  const found = await discoverCluster(config, options)
  tt.ok('initialCluster' in found)
  if (!('initialCluster' in found)) return
  tt.same(
    Object.fromEntries(found.initialCluster),
    { '0': ['http://localhost:2380'], me: ['http://localhost:2390'] },
    'in whatever order DNS has them',
  )
  tt.same(await discoverPeers(config.discovery, options), [
    'http://localhost:2380',
    'http://localhost:2390',
  ])
  tt.equal(
    await problemOf(discoverCluster(config, { ...options, sizeMax: 1 })),
    'TOO_MANY discovery: a cluster of 2 members is too large',
  )
  for (const domain of ['empty.example.com', 'none.example.com'])
    tt.match(
      await problemOf(discoverPeers({ type: 'srv', domain }, options)),
      `SRV lookup _etcd-server._tcp.${domain}: no such host`,
    )
})
