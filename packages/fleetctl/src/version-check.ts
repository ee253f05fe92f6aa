import type { Client } from './client/types.ts'
import { errorText, type Context } from './context.ts'
import { FLEET_VERSION } from './version.ts'

/** Warns on stderr when a machine of the cluster runs a newer fleet than this client. */
export async function checkVersion(client: Client, log: Context['log']): Promise<void> {
  try {
    const versions = (await client.machines()).map((machine) => machine.version ?? '')
    const latest = versions.toSorted(compareVersions).at(-1) ?? ''
    if (compareVersions(FLEET_VERSION, latest) < 0) process.stderr.write(banner(latest))
  } catch (error) {
    const text = errorText(error).replaceAll('\n', ' ').trim()
    log('ERROR', `error attempting to check latest fleet version in Registry: ${text}`)
  }
}

function banner(latest: string): string {
  const line = '#'.repeat(68)
  return `${line}
WARNING: fleetctl (version ${FLEET_VERSION}) is older than the latest registered
version of fleet found in the cluster (${latest}). You are strongly
recommended to upgrade fleetctl to prevent incompatibility issues.
${line}
`
}

/** Orders `v1.2.3`; anything else comes before every version. */
function compareVersions(a: string, b: string): number {
  const [x, y] = [numbersOf(a), numbersOf(b)]
  for (const at of [0, 1, 2]) {
    const difference = (x[at] ?? -1) - (y[at] ?? -1)
    if (difference !== 0) return difference
  }
  return 0
}

function numbersOf(version: string): number[] {
  const match = /^v?(\d+)\.(\d+)\.(\d+)/.exec(version)
  return match === null ? [] : match.slice(1, 4).map(Number)
}
