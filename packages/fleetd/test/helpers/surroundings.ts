import { createLogger, type Logger } from '@flotilla/daemon'
import {
  AgentRegistry,
  EngineRegistry,
  registryKeys,
  RegistryCache,
  UnitRegistry,
} from '@flotilla/fleet-registry'
import type { Test } from 'tap'
import { FakeStore } from './fake-store.ts'

export const KEYS = registryKeys('/fleet')

/** A log that tests can read. */
export interface RecordedLog extends Logger {
  readonly lines: string[]
}

export function recordLog(): RecordedLog {
  const lines: string[] = []
  const sink = { write: (line: string) => lines.push(line), writableLength: 0 }
  return Object.assign(createLogger({ sink, level: 'debug' }), { lines })
}

/** A store in memory, the registries over it and a cache that follows it until the test is over. */
export interface Surroundings {
  readonly store: FakeStore
  readonly units: UnitRegistry
  readonly agents: AgentRegistry
  readonly engines: EngineRegistry
  readonly cache: RegistryCache
  readonly log: RecordedLog
  readonly signal: AbortSignal
  /** The wall clock, in milliseconds; `pass` moves it and the store's. */
  readonly now: () => number
  readonly pass: (seconds: number) => void
  /** Resolves when the cache holds everything that is in the store. */
  readonly caughtUp: () => Promise<void>
}

export async function surroundings(t: Test): Promise<Surroundings> {
  const store = new FakeStore()
  const cache = new RegistryCache(store, KEYS)
  const ending = new AbortController()
  await cache.load(ending.signal)
  const following = cache.follow(ending.signal)
  t.teardown(async () => {
    ending.abort()
    await following
  })
  let nowMs = 1_000_000
  return {
    store,
    units: new UnitRegistry(store, KEYS),
    agents: new AgentRegistry(store, KEYS),
    engines: new EngineRegistry(store, KEYS),
    cache,
    log: recordLog(),
    signal: ending.signal,
    now: () => nowMs,
    pass: (seconds) => {
      nowMs += seconds * 1000
      store.advance(seconds)
    },
    caughtUp: async () => {
      // The mark is below the prefix, so the watch delivers it after everything before it.
      const mark = await store.set('/fleet/mark', '')
      await cache.reach(mark.node.modifiedIndex, 5000)
    },
  }
}
