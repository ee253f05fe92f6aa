import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { DeadlineError, waitFor } from '../../src/harness/deadline.ts'
import type { Child } from '../../src/launch/child.ts'
import { startKvd } from '../../src/launch/local-processes.ts'
import { choosePorts } from '../../src/launch/ports.ts'

/** Shorter than the defaults, to wait less for elections; long enough for a busy computer. */
const BEAT = ['--heartbeat-interval', '100', '--election-timeout', '600']
/** Two elections and a write that times out fit in it, with room for a busy computer. */
const PATIENCE_MS = 15_000

/** One member of a store, on the loopback interface. */
export interface LocalMember {
  readonly url: string
  /** SIGKILL; resolves when it has ended. */
  readonly kill: () => Promise<void>
  /** Starts it again on the data that it left. */
  readonly restart: () => void
}

/** Starts a store of `size` members, all at once. They end with the test. */
export async function startMembers(
  t: Test,
  directory: string,
  size: number,
): Promise<readonly LocalMember[]> {
  const ports = await choosePorts(Array.from({ length: 2 * size }, () => 0))
  const urls = ports.map((port) => `http://127.0.0.1:${port}`)
  const peers = urls.slice(size)
  const cluster = peers.map((peer, index) => `n${index}=${peer}`).join(',')
  return peers.map((peer, index) => {
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
      restart: () => {
        child = start()
      },
    }
  })
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
