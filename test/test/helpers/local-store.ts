import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { DeadlineError, waitFor } from '../../src/harness/deadline.ts'
import type { Child } from '../../src/launch/child.ts'
import { startKvd } from '../../src/launch/local-processes.ts'

/** Shorter than the defaults, to wait less for elections; long enough for a busy computer. */
const BEAT = ['--heartbeat-interval', '100', '--election-timeout', '600']
/** Two elections and a write that times out fit in it, with room for a busy computer. */
const PATIENCE_MS = 15_000
/** Many members that start at once share the cores: how long that takes says nothing about writes. */
const START_MS = 90_000

/** One member of a store, on the loopback interface. */
export interface LocalMember {
  readonly url: string
  /** SIGKILL; resolves when it has ended. */
  readonly kill: () => Promise<void>
  /** Starts it again on the data that it left; resolves when it listens. */
  readonly restart: () => Promise<void>
}

/**
 * Starts a store, all of its members at once; resolves when all listen. They end with the test.
 * @param ports two for each member
 */
export async function startMembers(
  t: Test,
  directory: string,
  ports: readonly number[],
): Promise<readonly LocalMember[]> {
  const size = ports.length / 2
  const urls = ports.map((port) => `http://127.0.0.1:${port}`)
  const peers = urls.slice(size)
  const cluster = peers.map((peer, index) => `n${index}=${peer}`).join(',')
  const members = peers.map((peer, index) => {
    const url = urls[index] ?? ''
    const flags = ['--name', `n${index}`, '--initial-cluster', cluster, ...BEAT]
    const own = join(directory, `n${index}`)
    mkdirSync(own, { recursive: true })
    const start = (): Child => startKvd(own, { clients: [url], peer, flags })
    let child = start()
    t.teardown(() => child.kill())
    return {
      url,
      kill: async () => {
        child.kill()
        await child.ended
      },
      restart: async () => {
        child = start()
        await untilListening(url)
      },
    }
  })
  await Promise.all(urls.slice(0, size).map(untilListening))
  return members
}

async function untilListening(url: string): Promise<void> {
  const look = async () => ({ done: await (await fetch(`${url}/version`)).arrayBuffer() })
  await waitFor(`${url} to listen`, look, { timeoutMs: START_MS })
}

/**
 * Whether one of these members takes a write: at once, after an election, or, when it still has not after
 * that time, not at all. Then `refusals` has the last answer of each.
 */
export async function takesWrites(
  members: readonly LocalMember[],
): Promise<{ readonly takes: boolean; readonly refusals: readonly string[] }> {
  let refusals: readonly string[] = []
  if (members.length === 0) return { takes: false, refusals }
  const look = async () => {
    const answers = await Promise.all(members.map(({ url }) => write(url)))
    refusals = answers.filter((answer) => answer !== '')
    return refusals.length < answers.length ? { done: true } : { seen: refusals.join() }
  }
  try {
    await waitFor('a write to be taken', look, { timeoutMs: PATIENCE_MS })
    return { takes: true, refusals: [] }
  } catch (error) {
    if (!(error instanceof DeadlineError)) throw error
    return { takes: false, refusals }
  }
}

/** '' when the write was taken, else why not. */
async function write(url: string): Promise<string> {
  try {
    const body = new URLSearchParams({ value: 'taken' })
    const answer = await fetch(`${url}/v2/keys/quorum`, { method: 'PUT', body })
    const text = await answer.text()
    return answer.ok ? '' : text
  } catch (error) {
    // Not listening yet, or no more.
    return String(error)
  }
}
