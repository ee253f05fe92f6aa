import { Agent } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { ask, parseEvent, type WireEvent } from '../helpers/answers.ts'
import type { Random } from '../helpers/random.ts'
import { chooseWrite } from '../helpers/writers.ts'
import type { Endpoint } from './clients.ts'
import type { WatchLog } from './watch-log.ts'

/** Who gives watchers something to hear of. */
export interface WatchLoadOptions {
  readonly endpoints: readonly Endpoint[]
  readonly log: WatchLog
  readonly random: Random
  readonly writers: number
  readonly pauseMsMax: number
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** Writes of every kind the API has, directories, TTLs, hidden keys and refreshes among them. */
export async function runWatchLoad(options: WatchLoadOptions): Promise<void> {
  const agent = new Agent({ keepAlive: true })
  const writers = Array.from({ length: options.writers }, (_, number) =>
    runWriter(number, agent, { ...options, random: options.random.fork() }),
  )
  await Promise.all(writers)
  agent.destroy()
}

async function runWriter(number: number, agent: Agent, options: WatchLoadOptions): Promise<void> {
  const { endpoints, log, random } = options
  const known = new Map<string, number>()
  while (!options.signal.aborted) {
    const { refreshes, ...write } = chooseWrite(number, random, known)
    const { host, port } = random.pick(endpoints)
    const signal = AbortSignal.timeout(options.timeoutMs)
    const answer = await ask(port, { ...write, host, agent, signal }).catch(() => undefined)
    const isDone = answer?.status === 200 || answer?.status === 201
    const event: WireEvent | undefined = isDone ? parseEvent(answer.body) : undefined
    if (event !== undefined) {
      known.set(event.node.key, event.node.modifiedIndex)
      log.acknowledged(event, refreshes !== undefined)
    }
    await delay(random.int(1, options.pauseMsMax))
  }
}
