import { setTimeout as pause } from 'node:timers/promises'
import type { KvClient, Member } from '@flotilla/kv-client'
import { totalTimeout, withClient } from '../client.ts'
import { EXIT } from '../context.ts'
import type { Context, Run } from '../context.ts'
import { errorText, keyFailure } from '../errors.ts'

const INTERVAL_MS = 10_000

export const clusterHealth: Run = (context) =>
  withClient(
    context,
    async (client) => {
      const { io } = context
      const isForever = context.options.bool('forever')
      const interrupt = isForever ? io.onInterrupt() : undefined
      const members = await listMembers(context, client)
      for (;;) {
        const isHealthy = await checkAll(context, client, members)
        if (!isForever) return isHealthy ? EXIT.success : EXIT.unhealthy
        io.stdout('\nnext check after 10 second...\n\n')
        if (!(await waitOrStop(interrupt))) return EXIT.success
      }
    },
    { sync: false },
  )

async function listMembers({ io }: Context, client: KvClient): Promise<readonly Member[]> {
  try {
    return await client.members()
  } catch (error) {
    io.stdout('cluster may be unhealthy: failed to list members\n')
    throw keyFailure(error)
  }
}

async function waitOrStop(signal: AbortSignal | undefined): Promise<boolean> {
  try {
    await pause(INTERVAL_MS, undefined, signal === undefined ? {} : { signal })
    return true
  } catch {
    return false
  }
}

async function checkAll(
  context: Context,
  client: KvClient,
  members: readonly Member[],
): Promise<boolean> {
  let isHealthy = false
  for (const member of members) {
    if (await checkMember(context, client, member)) isHealthy = true
  }
  context.io.stdout(isHealthy ? 'cluster is healthy\n' : 'cluster is unhealthy\n')
  return isHealthy
}

/** The first client URL that says anything decides. */
async function checkMember(
  { io, global }: Context,
  client: KvClient,
  { id, clientURLs }: Member,
): Promise<boolean> {
  if (clientURLs.length === 0) {
    io.stdout(`member ${id} is unreachable: no available published client urls\n`)
    return false
  }
  for (const url of clientURLs) {
    try {
      const isHealthy = await client.health(url, { signal: totalTimeout(global) })
      const word = isHealthy ? 'healthy' : 'unhealthy'
      io.stdout(`member ${id} is ${word}: got ${word} result from ${url}\n`)
      return isHealthy
    } catch (error) {
      const reason = `Get "${url}/health": ${errorText(error)}`
      io.stdout(`failed to check the health of member ${id} on ${url}: ${reason}\n`)
    }
  }
  io.stdout(`member ${id} is unreachable: [${clientURLs.join(' ')}] are all unreachable\n`)
  return false
}
