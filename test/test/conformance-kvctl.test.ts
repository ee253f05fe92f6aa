// Each side of the wire against the other side's original: our command line at a real etcd, the real
// command line at our store.
import tap, { test } from 'tap'
import { etcdProgram, kvdProgram, start } from '../src/bench/servers.ts'
import { installOriginals, which } from '../src/harness/host.ts'
import { program } from '../src/harness/paths.ts'
import { VECTORS_SKIP, runVectors } from '../src/harness/vectors.ts'
import { assertVerdicts } from './helpers/assert-verdicts.ts'
import { KEY_STEPS, type Step, walk } from './helpers/etcdctl-walk.ts'

const VECTORS_MS = 300_000
tap.setTimeout(VECTORS_MS)

if (VECTORS_SKIP === false) await installOriginals()
const etcd = await etcdProgram()
const noEtcd = 'missing' in etcd ? etcd.missing : VECTORS_SKIP
const noEtcdctl = which('etcdctl') === undefined && 'there is no etcdctl on this machine'

test('kvctl at a real etcd prints what etcdctl printed', { skip: noEtcd }, async (t) => {
  if ('missing' in etcd) throw new Error(etcd.missing)
  // Its default allows every origin and says so in each answer; 2.3.8 has no origin by default.
  const closed = { ...etcd, options: [...etcd.options, '--cors', 'http://127.0.0.1:1'] }
  const server = await start(closed, t.testdir())
  t.teardown(() => server.stop())
  const kvctl = `${process.execPath} ${program('kvctl')}`
  // v23: etcd 3.4 itself answers those differently.
  const flags = ['--url', server.url, '--kvctl', kvctl, '--tags', 'cli', '--skip-tags', 'v23']
  assertVerdicts(t, await runVectors('kv', flags, VECTORS_MS))
})

const STEPS: readonly Step[] = [
  ['rm /ready', /^/], // which showed that the server takes writes
  ...KEY_STEPS,
  [
    'cluster-health',
    /^member [0-9a-f]+ is healthy: got healthy result from http:\/\/\S+\ncluster is healthy\n$/,
  ],
  [
    'member list',
    /^[0-9a-f]+: name=default peerURLs=http:\/\/\S+ clientURLs=http:\/\/\S+ isLeader=true\n$/,
  ],
]

test("Debian's etcdctl works with kvd", { skip: noEtcdctl }, async (t) => {
  const server = await start(await kvdProgram(), t.testdir())
  t.teardown(() => server.stop())
  await walk(t, server.url, STEPS)
})

test(
  'and the same steps with a real etcd, to prove the steps',
  { skip: noEtcd || noEtcdctl },
  async (t) => {
    if ('missing' in etcd) throw new Error(etcd.missing)
    const server = await start(etcd, t.testdir())
    t.teardown(() => server.stop())
    await walk(t, server.url, STEPS)
  },
)
