// The decisions of fleetd and fleetctl against what fleet 1.0 decided: parsing, names, hashes, scheduling,
// task planning, tables. The adapter of packages/fleetd answers with our functions, line by line.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import tap, { test } from 'tap'
import { ROOT } from '../src/harness/paths.ts'
import { VECTORS_SKIP, runVectors } from '../src/harness/vectors.ts'
import { assertVerdicts } from './helpers/assert-verdicts.ts'

const VECTORS_MS = 120_000
tap.setTimeout(VECTORS_MS)

test('fleetd and fleetctl decide as fleet 1.0 did', { skip: VECTORS_SKIP }, async (t) => {
  const adapter = join(ROOT, 'packages/fleetd/build-test/test/adapter/main.js')
  t.ok(existsSync(adapter), 'the adapter is built')
  const flags = ['--adapter', `${process.execPath} ${adapter}`]
  const verdicts = await runVectors('fleet', flags, VECTORS_MS)
  assertVerdicts(t, verdicts)
  t.ok(verdicts.length >= 337, `all vectors were asked (${verdicts.length})`)
})
