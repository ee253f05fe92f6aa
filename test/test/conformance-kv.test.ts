// kvd and kvctl against what a real etcd 2.3.8 and its etcdctl answered.
import tap, { test } from 'tap'
import { program } from '../src/harness/paths.ts'
import { VECTORS_SKIP, runVectors } from '../src/harness/vectors.ts'
import { assertVerdicts } from './helpers/assert-verdicts.ts'
import { ONLY_3_4, without } from './helpers/exceptions.ts'
import { startFresh } from './helpers/start-fresh.ts'

const VECTORS_MS = 500_000
tap.setTimeout(VECTORS_MS)

test('kvd and kvctl answer as etcd 2.3.8 did', { skip: VECTORS_SKIP }, async (t) => {
  const directory = t.testdir({ api: {}, cors: {}, cli: {} })
  const origins = ['--cors', 'http://good.example,http://two.example']
  const start = (name: string, flags: readonly string[] = []) =>
    startFresh(t, `${directory}/${name}`, flags)
  const [api, cors, cli] = [await start('api'), await start('cors', origins), await start('cli')]
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
  assertVerdicts(t, without(halves.flat(), ONLY_3_4))
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
