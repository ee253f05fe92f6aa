// Each side of the wire against the other side's original: our command line at a real etcd, the real
// command line at our store.
import tap, { type Test, test } from 'tap'
import { type Server, etcdProgram, kvdProgram, start } from '../src/bench/servers.ts'
import { installOriginals, which } from '../src/harness/host.ts'
import { program } from '../src/harness/paths.ts'
import { run } from '../src/harness/process.ts'
import { VECTORS_SKIP, runVectors } from '../src/harness/vectors.ts'
import { assertVerdicts } from './helpers/assert-verdicts.ts'

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

/** One etcdctl command and what it must print. */
type Step = readonly [args: string, stdout: string | RegExp, code?: number, stderr?: RegExp]

const WALK: readonly Step[] = [
  ['rm /ready', /^/], // which showed that the server takes writes
  ['set /message Hello', 'Hello\n'],
  ['get /message', 'Hello\n'],
  ['mk /message again', '', 4, /^Error: {2}105: Key already exists \(\/message\) \[\d+\]\n$/],
  ['update /message World', 'World\n'],
  ['set /message swapped --swap-with-value World', 'swapped\n'],
  ['set /message no --swap-with-value World', '', 4],
  ['mkdir /dir', ''],
  ['set /dir/a 1', '1\n'],
  ['set /dir/b/c 2 --ttl 100', '2\n'],
  ['ls --recursive --sort -p', '/dir/\n/dir/a\n/dir/b/\n/dir/b/c\n/message\n'],
  [
    '-o extended get /message',
    /^Key: \/message\nCreated-Index: \d+\nModified-Index: \d+\nTTL: 0\nIndex: \d+\n\nswapped\n$/,
  ],
  [
    '-o json get /dir/a',
    /^\{"action":"get","node":\{"key":"\/dir\/a","value":"1","nodes":null,"createdIndex":\d+,"modifiedIndex":\d+\},"prevNode":null\}\n$/,
  ],
  ['rm /message', 'PrevNode.Value: swapped\n'],
  ['get /message', '', 4, /^Error: {2}100: Key not found \(\/message\) \[\d+\]\n$/],
  ['rmdir /dir', '', 4],
  ['rm --recursive /dir', ''],
  ['ls', ''],
  [
    'cluster-health',
    /^member [0-9a-f]+ is healthy: got healthy result from http:\/\/\S+\ncluster is healthy\n$/,
  ],
  [
    'member list',
    /^[0-9a-f]+: name=default peerURLs=http:\/\/\S+ clientURLs=http:\/\/\S+ isLeader=true\n$/,
  ],
]

async function walk(t: Test, server: Server): Promise<void> {
  const env = { ...process.env, ETCDCTL_API: '2', ETCDCTL_ENDPOINTS: server.url }
  for (const [args, stdout, code = 0, stderr] of WALK) {
    const result = await run(['etcdctl', ...args.split(' ')], { env })
    if (typeof stdout === 'string') t.equal(result.stdout, stdout, `etcdctl ${args}`)
    else t.match(result.stdout, stdout, `etcdctl ${args}`)
    t.equal(result.code, code, `etcdctl ${args}: exit status`)
    if (stderr !== undefined) t.match(result.stderr, stderr, `etcdctl ${args}: stderr`)
  }
}

test("Debian's etcdctl works with kvd", { skip: noEtcdctl }, async (t) => {
  const server = await start(await kvdProgram(), t.testdir())
  t.teardown(() => server.stop())
  await walk(t, server)
})

test(
  'and the same steps with a real etcd, to prove the steps',
  { skip: noEtcd || noEtcdctl },
  async (t) => {
    if ('missing' in etcd) throw new Error(etcd.missing)
    const server = await start(etcd, t.testdir())
    t.teardown(() => server.stop())
    await walk(t, server)
  },
)
