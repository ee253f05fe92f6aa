// kvd and kvctl against what a real etcd 2.3.8 and its etcdctl answered.
import tap, { type Test, test } from 'tap'
import { etcdProgram, start } from '../src/bench/servers.ts'
import { waitFor } from '../src/harness/deadline.ts'
import { installOriginals } from '../src/harness/host.ts'
import { program } from '../src/harness/paths.ts'
import { type Verdict, VECTORS_SKIP, runVectors } from '../src/harness/vectors.ts'
import { startKvd } from '../src/launch/local-processes.ts'
import { choosePorts } from '../src/launch/ports.ts'
import { assertVerdicts } from './helpers/assert-verdicts.ts'

const VECTORS_MS = 500_000
tap.setTimeout(VECTORS_MS)

/** Cases recorded from etcd 3.4 that contradict one recorded from 2.3.8, which kvd follows. */
const ONLY_3_4 = ['ext-v3x/health', 'ext-v3x/expire-dir-flag']

interface Urls {
  readonly client: string
  readonly peer: string
}

/** A fresh store that nobody has written to: the vectors count its index from the first entry. */
async function startFresh(t: Test, directory: string, flags: readonly string[]): Promise<Urls> {
  const ports = await choosePorts([0, 0])
  const [client = '', peer = ''] = ports.map((port) => `http://127.0.0.1:${port}`)
  const kvd = startKvd(directory, { clients: [client], peer, flags })
  t.teardown(() => kvd.stop(5000))
  const look = async () => {
    const response = await fetch(`${client}/version`)
    return response.ok ? { done: { client, peer } } : { seen: String(response.status) }
  }
  return Promise.race([
    waitFor('kvd to answer', look),
    kvd.ended.then((how) => {
      throw new Error(`kvd ended (${how}):\n${kvd.lastWords}`)
    }),
  ])
}

test('kvd and kvctl answer as etcd 2.3.8 did', { skip: VECTORS_SKIP }, async (t) => {
  const directory = t.testdir({ api: {}, cors: {}, cli: {} })
  const origins = ['--cors', 'http://good.example,http://two.example']
  const begin = (name: string, flags: readonly string[] = []) =>
    startFresh(t, `${directory}/${name}`, flags)
  const [api, cors, cli] = [await begin('api'), await begin('cors', origins), await begin('cli')]
  const kvctl = `${process.execPath} ${program('kvctl')}`
  // Side by side, each half on a store of its own.
  const halves = await Promise.all([
    runVectors(
      'kv',
      ['--url', api.client, '--cors-url', cors.client, '--ext', '--skip-tags', 'cli'],
      VECTORS_MS,
    ),
    runVectors('kv', ['--url', cli.client, '--kvctl', kvctl, '--tags', 'cli'], VECTORS_MS),
  ])
  const isOurs = ({ name }: { name: string }) => !ONLY_3_4.some((id) => name.startsWith(`${id} `))
  assertVerdicts(t, halves.flat().filter(isOurs))
  t.comment(`left out, as 2.3.8 answers differently: ${ONLY_3_4.join(', ')}`)
})

test('kvd in proxy mode answers as etcd 2.3.8 did', { skip: VECTORS_SKIP }, async (t) => {
  const directory = t.testdir({ member: {}, proxy: {}, readonly: {} })
  const member = await startFresh(t, `${directory}/member`, [])
  const cluster = ['--initial-cluster', `member=${member.peer}`]
  const [proxy, readonly] = [
    await startFresh(t, `${directory}/proxy`, ['--proxy', 'on', ...cluster]),
    await startFresh(t, `${directory}/readonly`, ['--proxy', 'readonly', ...cluster]),
  ]
  const urls = [
    '--url',
    member.client,
    '--proxy',
    proxy.client,
    '--readonly-proxy',
    readonly.client,
  ]
  assertVerdicts(t, await runVectors('kv', [...urls, '--tags', 'proxy,readonly'], VECTORS_MS))
})

/** What cannot hold over etcd v3, each with its reason in docs/existing-engine.md. */
const NOT_OVER_V3 = [
  'cors/bad',
  'cors/none',
  'keys-paths/deep',
  'keys-ttl/expire-dir',
  'keys-values/1600k',
]
/** Users and roles are etcd's own there, and its history is longer than 1000 events. */
const NOT_OVER_V3_TAGS = 'auth,window'

if (VECTORS_SKIP === false) await installOriginals()
const etcd = await etcdProgram()
const noEtcd = 'missing' in etcd ? etcd.missing : VECTORS_SKIP

test('kvd over an existing etcd v3 answers as etcd 2.3.8 did', { skip: noEtcd }, async (t) => {
  if ('missing' in etcd) throw new Error(etcd.missing)
  const directory = t.testdir({ api: {}, cli: {}, engine: {} })
  const server = await start(etcd, `${directory}/engine`)
  t.teardown(() => server.stop())
  const begin = (name: string) => {
    const engine = ['--existing-engine', server.url, '--existing-engine-prefix', `/${name}`]
    const origins = ['--cors', 'http://good.example,http://two.example']
    return startFresh(t, `${directory}/${name}`, [...engine, ...origins])
  }
  const kvctl = `${process.execPath} ${program('kvctl')}`
  // One after the other: revisions are counted over all of etcd, and indexes with them.
  const api = await begin('api')
  const flags = ['--url', api.client, '--cors-url', api.client, '--ext']
  const skip = ['--skip-tags', `cli,${NOT_OVER_V3_TAGS}`]
  const first = await runVectors('kv', [...flags, ...skip], VECTORS_MS)
  const cli = await begin('cli')
  const only = ['--url', cli.client, '--kvctl', kvctl, '--tags', 'cli']
  const second = await runVectors('kv', [...only, '--skip-tags', NOT_OVER_V3_TAGS], VECTORS_MS)
  const isListed = ({ name }: Verdict, ids: readonly string[]) =>
    ids.some((id) => name.startsWith(`${id} `))
  const verdicts = [...first, ...second]
  const exceptions = verdicts.filter((verdict) => isListed(verdict, NOT_OVER_V3))
  t.equal(exceptions.length, NOT_OVER_V3.length, 'every exception is a case')
  for (const { name, outcome } of exceptions)
    t.equal(outcome, 'fail', `still an exception: ${name}`)
  assertVerdicts(
    t,
    verdicts.filter((verdict) => !isListed(verdict, [...NOT_OVER_V3, ...ONLY_3_4])),
  )
})
