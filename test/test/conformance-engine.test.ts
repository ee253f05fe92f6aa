// kvd as a front over a real etcd v3 against what a real etcd 2.3.8 and its etcdctl answered: every
// recorded case, at one front over one etcd, or where it takes three members or a proxy at each of three
// fronts over a cluster of three. What cannot hold is listed, case by case, and must go on failing.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import tap, { type Test, test } from 'tap'
import { etcdProgram, type Program, start } from '../src/bench/servers.ts'
import { installOriginals } from '../src/harness/host.ts'
import { program, ROOT } from '../src/harness/paths.ts'
import { type Verdict, VECTORS_SKIP, runVectors } from '../src/harness/vectors.ts'
import { assertVerdicts } from './helpers/assert-verdicts.ts'
import { isCase, NOT_OVER_V3, without } from './helpers/exceptions.ts'
import { startProxy } from './helpers/start-cluster.ts'
import { startEtcds } from './helpers/start-etcds.ts'
import { freeUrls, startFresh, type Urls } from './helpers/start-fresh.ts'
import { tryAgain } from './helpers/try-again.ts'

const VECTORS_MS = 500_000
tap.setTimeout(VECTORS_MS)

const KVCTL = ['--kvctl', `${process.execPath} ${program('kvctl')}`]
/** Index of a new etcd 2.3, which has written its name and URLs; the cases with this tag count on it. */
const FIRST_INDEX = 3

if (VECTORS_SKIP === false) await installOriginals()
const etcd = await etcdProgram()
const noEtcd = 'missing' in etcd ? etcd.missing : VECTORS_SKIP

/** The flags of runs against one etcd: one after the other, as indexes are counted over all of it. */
type Runs = readonly (readonly string[])[]

/** Starts what the runs are against, below a directory. */
type Lane = (t: Test, directory: string, original: Program) => Promise<Runs>

/** The API of one front over one etcd. */
const api: Lane = async (t, directory, original) => {
  const url = await startAlone(t, directory, original)
  for (let index = 1; index <= FIRST_INDEX; index += 1)
    await fetch(`${url}/v2/keys/begin`, { method: 'PUT' })
  const here = ['--url', url, '--cors-url', url, '--ext']
  return [
    [...here, '--tags', 'cors'],
    [...here, '--skip-tags', 'cors,cli,auth,window,proxy,readonly,cluster3'],
  ]
}

/** All command lines at another one. */
const commands: Lane = async (t, directory, original) => {
  const url = await startAlone(t, directory, original)
  return [['--url', url, ...KVCTL, '--tags', 'cli', '--skip-tags', 'cluster3']]
}

/** At three fronts over three members, with proxies before them. The first one has the rest of the API. */
const clustered: Lane = async (t, directory, original) => {
  const engine = await startEtcds(t, directory, original)
  const places = await Promise.all(engine.map(async () => await freeUrls()))
  const told = (side: keyof Urls): string => places.map((place) => place[side]).join(',')
  const flags = ['--advertise-client-urls', told('client')]
  flags.push('--initial-advertise-peer-urls', told('peer'))
  flags.push('--existing-engine', engine.join(','))
  const started = places.map(
    async (urls, at) => await startFresh(t, `${directory}/f${at}`, flags, { isFront: true, urls }),
  )
  const fronts = await Promise.all(started)
  const cluster = {
    initialCluster: fronts.map(({ peer }, at) => `f${at}=${peer}`).join(','),
    tlsFlags: [],
  }
  const proxies = [
    ['--proxy', await startProxy(t, `${directory}/proxy`, cluster, 'on')],
    ['--readonly-proxy', await startProxy(t, `${directory}/readonly`, cluster, 'readonly')],
  ].flat()
  const each = [...KVCTL, ...proxies, '--tags', 'proxy,readonly,cluster3']
  const [first = ''] = fronts.map(({ client }) => client)
  return [
    ...fronts.map(({ client }) => ['--url', client, ...each]),
    ['--url', first, '--tags', 'auth,window', '--skip-tags', 'cli'],
  ]
}

async function startAlone(t: Test, directory: string, original: Program): Promise<string> {
  const server = await start(original, directory)
  t.teardown(() => server.stop())
  const origins = ['--cors', 'http://good.example,http://two.example']
  const flags = ['--existing-engine', server.url, ...origins]
  const { client } = await startFresh(t, directory, flags, { isFront: true })
  return client
}

/** A case and the flags of the run that it was in. */
interface Answer {
  readonly flags: readonly string[]
  readonly verdict: Verdict
}

async function inTurn(runs: Runs): Promise<readonly Answer[]> {
  const answers: Answer[] = []
  for (const flags of runs)
    for (const verdict of await runVectors('kv', flags, VECTORS_MS))
      answers.push({ flags, verdict })
  return answers
}

test('kvd over an existing etcd v3 answers as etcd 2.3.8 did', { skip: noEtcd }, async (t) => {
  if ('missing' in etcd) throw new Error(etcd.missing)
  const directory = t.testdir({ api: {}, cli: {}, cluster: { f0: {}, f1: {}, f2: {} } })
  const begun = await Promise.all([
    api(t, `${directory}/api`, etcd),
    commands(t, `${directory}/cli`, etcd),
    clustered(t, `${directory}/cluster`, etcd),
  ])
  const answers = (await Promise.all(begun.map(inTurn))).flat()
  const verdicts = answers.map(({ verdict }) => verdict)
  for (const id of NOT_OVER_V3) {
    const [first, ...more] = verdicts.filter((verdict) => isCase(verdict, id))
    t.same([first?.outcome, more], ['fail', []], `was tried and cannot hold: ${id}`)
  }
  const settled: Verdict[] = []
  for (const verdict of without(verdicts, NOT_OVER_V3)) {
    const { flags = [] } = answers.find((answer) => answer.verdict === verdict) ?? {}
    const isDoubtful = verdict.outcome === 'fail'
    settled.push(
      isDoubtful ? await tryAgain(t, verdict, { flags, timeoutMs: VECTORS_MS }) : verdict,
    )
  }
  assertVerdicts(t, settled)
  const left = settled.filter(({ outcome }) => outcome === 'skip')
  t.same(left, [], 'no case was left out')
})

test('the manual names the cases that cannot hold, and no other', { skip: VECTORS_SKIP }, (t) => {
  const manual = readFileSync(join(ROOT, 'docs/existing-engine.md'), 'utf8')
  const [, section = ''] = manual.split('## Recorded answers that cannot hold\n')
  const named = [...section.matchAll(/`([a-z0-9-]+\/[a-z0-9-]+)`/g)].map(([, id]) => id)
  for (const [, topic, cases = ''] of section.matchAll(/^- `([a-z0-9-]+)`:((?:.|\n(?!- |\n))+)/gm))
    named.push(...[...cases.matchAll(/`([a-z0-9-]+)`/g)].map(([, one]) => `${topic}/${one}`))
  t.same(named.toSorted(), NOT_OVER_V3.toSorted())
  t.end()
})
