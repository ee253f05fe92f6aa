// fleet 1.0's recorded scenarios, command lines, HTTP requests and registry keys, on three booted machines.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Cluster } from '../src/harness/cluster.ts'
import { enterCommand } from '../src/harness/enter.ts'
import { program } from '../src/harness/paths.ts'
import { enterSandbox } from '../src/harness/sandbox.ts'
import { STORE_URLS, fleetURL } from '../src/harness/software.ts'
import { VECTORS_SKIP, runVectors } from '../src/harness/vectors.ts'
import { assertVerdicts } from './helpers/assert-verdicts.ts'
import { bootFleet } from './helpers/walkthrough.ts'

const entry = await enterSandbox('scenarios')
const { default: tap, test } = await import('tap')

/** One of each kind that takes seconds; all of them take ten minutes. */
const QUICK = '^(01|02|03|08|11)-'
const SCENARIOS = process.env['FLOTILLA_SCENARIOS'] ?? QUICK
const SCENARIOS_MS = 1_500_000
tap.setTimeout(SCENARIOS_MS)

/** What the scenarios expect of the three machines. */
const METADATA: Readonly<Record<string, string>> = {
  m1: 'role=a,disk=ssd,zone=east',
  m2: 'role=b,disk=hdd,zone=west',
  m3: 'role=c,disk=ssd,zone=west',
}

if ('reason' in entry) tap.plan(0, entry.reason)
else if (VECTORS_SKIP !== false) tap.plan(0, VECTORS_SKIP)
else {
  const settings = ({ name }: { name: string }) => ({ FLEET_METADATA: METADATA[name] ?? '' })
  const cluster = await bootFleet(entry.sandbox, tap, settings)
  const { directory } = entry.sandbox
  test('fleetctl and fleetd behave as fleet 1.0 did on three machines', async (t) => {
    const flags = {
      '--fleetctl': `${process.execPath} ${program('fleetctl')}`,
      '--endpoint': fleetURL(cluster.machine(1)),
      '--etcd': STORE_URLS[0] ?? '',
      '--exec': writeEntrance(cluster, directory),
      '--only': SCENARIOS,
      '--scale': '2',
    }
    assertVerdicts(t, await runVectors('fleet', Object.entries(flags).flat(), SCENARIOS_MS))
  })
}

/** A script that runs its arguments on the machine whose number comes first, in the form that --exec takes. */
function writeEntrance(cluster: Cluster, directory: string): string {
  const cases = cluster.machines.map(({ leader }, index) => {
    const enter = enterCommand(leader).join(' ')
    return `${index + 1}) exec ${enter} "$@" ;;`
  })
  const file = join(directory, 'enter.sh')
  writeFileSync(file, `n=$1; shift\ncase $n in\n${cases.join('\n')}\nesac\n`)
  return `sh ${file} {n}`
}
