// A cluster of three against what a real etcd 2.3.8 and its etcdctl answered: every member, over TLS
// too, and a proxy. Each run has a cluster of its own, because nobody else may write to it. The runs
// mostly wait, for ttls and for what must not happen, so that three go side by side on two cores.
import tap, { type Test, test } from 'tap'
import { program } from '../src/harness/paths.ts'
import { type Verdict, VECTORS_SKIP, runVectors } from '../src/harness/vectors.ts'
import { assertVerdicts } from './helpers/assert-verdicts.ts'
import { ONLY_3_4, ONLY_ALONE, without } from './helpers/exceptions.ts'
import { type ClusterOptions, startCluster, startProxy } from './helpers/start-cluster.ts'
import { OPENSSL_SKIP, makeTlsFiles } from './helpers/tls-files.ts'
import { tryAgain } from './helpers/try-again.ts'

const VECTORS_MS = 500_000
tap.setTimeout(3 * VECTORS_MS)

const MEMBERS = [0, 1, 2] as const
const ORIGINS = ['--cors', 'http://good.example,http://two.example']
const KVCTL = `${process.execPath} ${program('kvctl')}`

/** Starts a fresh cluster below a directory, and gives the flags of a run against it. */
type Run = (t: Test, directory: string) => Promise<readonly string[]>

/** The whole API of a member, and two proxies in front of it. */
function api(at: number, options: ClusterOptions = {}): Run {
  return async (t, directory) => {
    const cluster = await startCluster(t, directory, {
      ...options,
      flags: ORIGINS,
      // The proxies pass on to this one: what they write is read here at once.
      advertised: at,
    })
    const url = cluster.members[at]?.reach ?? ''
    const urls = {
      '--url': url,
      '--cors-url': url,
      '--proxy': await startProxy(t, `${directory}/proxy`, cluster, 'on'),
      '--readonly-proxy': await startProxy(t, `${directory}/readonly`, cluster, 'readonly'),
    }
    return [...Object.entries(urls).flat(), '--ext', '--skip-tags', 'cli']
  }
}

/** All command lines, at a member. */
function commands(at: number, options: ClusterOptions = {}): Run {
  return async (t, directory) => {
    const cluster = await startCluster(t, directory, { ...options, advertised: at })
    const { ca, cert, key } = options.tls ?? { ca: '', cert: '', key: '' }
    // Only the URL that it is given is the relay's; the member tells it an https one, which it goes on with.
    const files = `env ETCDCTL_CA_FILE=${ca} ETCDCTL_CERT_FILE=${cert} ETCDCTL_KEY_FILE=${key}`
    const kvctl = options.tls === undefined ? KVCTL : `${files} ${KVCTL}`
    return ['--url', cluster.members[at]?.reach ?? '', '--kvctl', kvctl, '--tags', 'cli']
  }
}

/** The API of a proxy that passes on to any member. */
const throughProxy: Run = async (t, directory) => {
  const cluster = await startCluster(t, directory)
  // It stays with one endpoint until it looks for the members again: the next may be behind.
  const stay = ['--proxy-refresh-interval', '3600000']
  const url = await startProxy(t, `${directory}/proxy`, cluster, 'on', stay)
  // Those with the tags ask a member and its proxy, or a store of their own.
  return ['--url', url, '--ext', '--skip-tags', 'cli,proxy,readonly,cors']
}

/** Runs side by side. What failed in company is tried once more alone. */
async function compare(
  t: Test,
  runs: ReadonlyMap<string, Run>,
  directory = t.testdir(),
): Promise<void> {
  const begun = [...runs].map(async ([what, run], at) => {
    const flags = await run(t, `${directory}/${at}`)
    const verdicts = await runVectors('kv', flags, VECTORS_MS)
    return { what, flags, verdicts: without(verdicts, [...ONLY_3_4, ...ONLY_ALONE]) }
  })
  for (const { what, flags, verdicts } of await Promise.all(begun))
    await t.test(what, async (tt) => {
      const settled: Verdict[] = []
      for (const verdict of verdicts)
        settled.push(
          verdict.outcome === 'fail'
            ? await tryAgain(tt, verdict, { flags, timeoutMs: VECTORS_MS })
            : verdict,
        )
      assertVerdicts(tt, settled)
      const left = settled.filter(({ outcome }) => outcome === 'skip')
      const more = left.filter(({ detail }) => detail !== 'needs single')
      tt.same(more, [], 'none was left out but those that need exactly one member')
    })
}

test('every member of a cluster answers as etcd 2.3.8 did', { skip: VECTORS_SKIP }, async (t) => {
  await compare(t, new Map(MEMBERS.map((at) => [`member ${at + 1} and proxies`, api(at)])))
})

test('kvctl at every member prints what etcdctl printed', { skip: VECTORS_SKIP }, async (t) => {
  await compare(t, new Map(MEMBERS.map((at) => [`kvctl at member ${at + 1}`, commands(at)])))
})

test(
  'so do a cluster whose clients and peers talk TLS, and a proxy',
  { skip: VECTORS_SKIP || OPENSSL_SKIP },
  async (t) => {
    const directory = t.testdir()
    const tls = await makeTlsFiles(directory)
    const runs = new Map([
      ['a member over TLS', api(1, { tls })],
      ['kvctl over TLS', commands(2, { tls })],
      ['a proxy', throughProxy],
    ])
    await compare(t, runs, directory)
  },
)
