import { setTimeout as delay } from 'node:timers/promises'
import { parseEvent } from '../helpers/answers.ts'
import type { Cluster } from './cluster.ts'
import type { FaultKind } from './faults.ts'
import { TrialError } from './trial-error.ts'

const HOUR_MS = 3_600_000
const DELAY_MS = 200
const SERVING_MS = 30_000
/** A leader hears of the others' clocks with their next heartbeats. */
const TURNED_MS = 5_000
const POLL_MS = 20

/**
 * Faults that the program takes part in are tried once, so that a run cannot pass because nothing
 * was broken. @throws TrialError when the program does not follow
 */
export async function proveFaults(cluster: Cluster, kinds: readonly FaultKind[]): Promise<void> {
  if (kinds.includes('clock')) await proveClock(cluster)
  if (kinds.includes('slow-disk')) await proveSlowDisk(cluster)
}

async function proveClock(cluster: Cluster): Promise<void> {
  const { hooks, name } = cluster.program
  if (hooks === undefined)
    throw new TrialError('NO_HOOK', `--faults clock: ${name} has no clock that can be turned`)
  for (const member of cluster.members) await member.turnClock(HOUR_MS)
  const deadline = performance.now() + TURNED_MS
  let expiration = ''
  while (!(Date.parse(expiration) > Date.now() + HOUR_MS / 2)) {
    if (performance.now() > deadline)
      throw new TrialError(
        'NO_HOOK',
        `--faults clock: ${name} follows neither libfaketime nor ${hooks.clockOffsetFile}: it set ${expiration}`,
      )
    await delay(POLL_MS)
    const [first] = cluster.members
    const answer = first && (await cluster.ask(first, '/v2/keys/proof?ttl=60', 'PUT'))
    if (answer?.status === 200 || answer?.status === 201)
      expiration = parseEvent(answer.body).node.expiration ?? ''
  }
  for (const member of cluster.members) await member.turnClock(0)
}

async function proveSlowDisk(cluster: Cluster): Promise<void> {
  const { hooks, name } = cluster.program
  if (hooks === undefined)
    throw new TrialError('NO_HOOK', `--faults slow-disk: ${name} has no disk that can be slowed`)
  const restart = async (environment: NodeJS.ProcessEnv): Promise<void> => {
    for (const member of cluster.members) {
      await member.kill()
      await member.start(environment)
    }
    await cluster.untilServing(SERVING_MS)
  }
  await restart({ [hooks.diskDelayMs]: String(DELAY_MS) })
  const begun = performance.now()
  const [first] = cluster.members
  if (first !== undefined) await cluster.ask(first, '/v2/keys/proof', 'PUT')
  const tookMs = Math.round(performance.now() - begun)
  if (tookMs < DELAY_MS)
    throw new TrialError(
      'NO_HOOK',
      `--faults slow-disk: ${name} does not follow ${hooks.diskDelayMs}=${DELAY_MS}: a write took ${tookMs} ms`,
    )
  await restart({})
}
