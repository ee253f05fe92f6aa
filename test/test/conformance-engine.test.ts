// kvd as a front over a real etcd v3 against what a real etcd 2.3.8 and its etcdctl answered.
import tap, { test } from 'tap'
import { etcdProgram, start } from '../src/bench/servers.ts'
import { installOriginals } from '../src/harness/host.ts'
import { program } from '../src/harness/paths.ts'
import { type Verdict, VECTORS_SKIP, runVectors } from '../src/harness/vectors.ts'
import { assertVerdicts } from './helpers/assert-verdicts.ts'
import { startFresh } from './helpers/start-fresh.ts'

const VECTORS_MS = 500_000
tap.setTimeout(VECTORS_MS)

/** What cannot hold over etcd v3, each with its reason in docs/existing-engine.md. */
const NOT_OVER_V3 = [
  'cors/bad',
  'cors/none',
  'ext-v3x/expire-dir-flag',
  'ext-v3x/health',
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
    return startFresh(t, `${directory}/${name}`, [...engine, ...origins], { isFront: true })
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
    verdicts.filter((verdict) => !isListed(verdict, NOT_OVER_V3)),
  )
})
