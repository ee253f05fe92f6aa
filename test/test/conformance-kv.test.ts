// kvd and kvctl against what a real etcd 2.3.8 and its etcdctl answered.

import tap, { test } from 'tap'
import { kvdProgram, start } from '../src/bench/servers.ts'
import { program } from '../src/harness/paths.ts'
import { VECTORS_SKIP, runVectors } from '../src/harness/vectors.ts'
import { assertVerdicts } from './helpers/assert-verdicts.ts'

const VECTORS_MS = 300_000
tap.setTimeout(VECTORS_MS)

test('kvd and kvctl answer as etcd 2.3.8 did', { skip: VECTORS_SKIP }, async (t) => {
  const kvd = await kvdProgram()
  const cors = ['--cors', 'http://good.example,http://two.example']
  const directory = t.testdir()
  const plain = await start(kvd, directory)
  t.teardown(() => plain.stop())
  const crossed = await start({ ...kvd, options: [...kvd.options, ...cors] }, directory)
  t.teardown(() => crossed.stop())
  const kvctl = `${process.execPath} ${program('kvctl')}`
  const flags = ['--url', plain.url, '--cors-url', crossed.url, '--ext', '--kvctl', kvctl]
  assertVerdicts(t, await runVectors('kv', flags, VECTORS_MS))
})
