import { Agent } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { parseEvent } from '../helpers/answers.ts'
import { Random } from '../helpers/random.ts'
import { nameOf, runClients, send } from './clients.ts'
import { Cluster } from './cluster.ts'
import type { FaultKind } from './faults.ts'
import { Recorder, type Entry } from './history.ts'
import { Nemesis } from './nemesis.ts'
import type { Program } from './programs.ts'
import { proveFaults } from './proofs.ts'
import { settle, type Settled } from './settling.ts'
import { TrialError } from './trial-error.ts'
import { judge, type Verdict } from './verdict.ts'
import type { Violation } from './violation.ts'
import { WatchClients } from './watch-clients.ts'
import { runWatchLoad } from './watch-load.ts'
import { WatchLog } from './watch-log.ts'
import { checkWatches } from './watch-rules.ts'
import { finalReads, Workload } from './workload.ts'

/** What is tried, for how long. The seed decides what clients ask for and what breaks. */
export interface TrialOptions {
  readonly program: Program
  readonly members: number
  readonly seconds: number
  readonly seed: number
  readonly kinds: readonly FaultKind[]
  readonly clients: number
  readonly watchers: number
  /** Reads ask one member alone and are judged as if they had gone through the log. */
  readonly readsLocal: boolean
  readonly note: (line: string) => void
}

/** What came of it. */
export interface Trial {
  readonly entries: readonly Entry[]
  readonly verdict: Verdict
  readonly watches: Watches
  readonly log: WatchLog
  readonly settled: Settled | undefined
  /** What the cluster did not do in time. */
  readonly failures: readonly string[]
  readonly faults: ReadonlyMap<string, number>
  readonly slowestRecoveryMs: number
  /** Ends of members that nobody asked for. */
  readonly crashes: readonly string[]
  readonly logs: ReadonlyMap<string, string>
}

/** What watchers were told. */
export interface Watches {
  readonly sessions: number
  readonly events: number
  /** Different events, as far as anybody knows. */
  readonly truth: number
  readonly refused: number
  readonly violations: readonly Violation[]
}

const START_MS = 60_000
/** correctness.md 4.4. */
const SETTLE_MS = 30_000
/** Some reads of one member alone are part of every load. */
const LOCAL_SHARE = 0.15
const KEYS = 6
const PAUSE_MS_MAX = 10
const TIMEOUT_MS = 2_000
const FINAL_MS = 10_000
const WRITERS = 2
const WRITERS_PAUSE_MS_MAX = 20

/** Runs a cluster, clients and a nemesis; must be in a network namespace of its own. */
export async function runTrial(options: TrialOptions): Promise<Trial> {
  const random = new Random(options.seed)
  const cluster = await Cluster.start(options.program, options.members)
  try {
    await cluster.untilServing(START_MS)
    await proveFaults(cluster, options.kinds)
    return await runLoad(cluster, random, options)
  } finally {
    await cluster.close()
  }
}

async function runLoad(cluster: Cluster, random: Random, options: TrialOptions): Promise<Trial> {
  const begun = performance.now()
  const recorder = new Recorder(() => performance.now() - begun)
  const log = new WatchLog()
  const stop = new AbortController()
  const endpoints = cluster.members.map(({ endpoint }) => endpoint)
  const shared = { endpoints, timeoutMs: TIMEOUT_MS, signal: stop.signal }
  const nemesis = new Nemesis({
    cluster,
    random: random.fork(),
    kinds: options.kinds,
    note: (what) => options.note(`${((performance.now() - begun) / 1000).toFixed(3)} s  ${what}`),
  })
  const clients = runClients({
    ...shared,
    recorder,
    workload: workloadOf(random.fork(), options),
    random: random.fork(),
    clients: options.clients,
    pauseMsMax: PAUSE_MS_MAX,
    onWritten: (event) => log.acknowledged(event, false),
  })
  const { watchers } = options
  const watchClients = new WatchClients({ endpoints, log, random: random.fork(), watchers })
  const writers = watchers === 0 ? 0 : WRITERS
  const pauseMsMax = WRITERS_PAUSE_MS_MAX
  const watchLoad = runWatchLoad({ ...shared, log, random: random.fork(), writers, pauseMsMax })
  const watching = watchClients.run()
  const breaking = nemesis.run(stop.signal)
  // A cluster that does not do its part is judged by what it did all the same.
  const failures: string[] = []
  const note = (error: unknown): undefined => void failures.push(messageOf(error))
  await untilOver(options.seconds, stop.signal, [clients, watchLoad, watching, breaking]).catch(
    note,
  )
  stop.abort()
  await Promise.all([clients, watchLoad, breaking.catch(() => nemesis.heal())])
  const settled = await settle(cluster, SETTLE_MS).catch(note)
  const late = await finishWatches(cluster, watchClients).catch(note)
  watchClients.stop()
  await watching
  await readFinally(cluster, recorder)
  return {
    entries: recorder.entries,
    verdict: judge(recorder.entries, { judgesLocal: options.readsLocal }),
    watches: watchesOf(log, late ?? []),
    log,
    settled,
    failures,
    faults: nemesis.counts,
    slowestRecoveryMs: nemesis.slowestRecoveryMs,
    crashes: cluster.members.flatMap((member) => member.crashes),
    logs: new Map(cluster.members.map(({ name, log: text }) => [name, text])),
  }
}

function workloadOf(random: Random, { readsLocal }: TrialOptions): Workload {
  const localShare = readsLocal ? 1 : LOCAL_SHARE
  return new Workload({ random, prefix: '/lin', keys: KEYS, localShare })
}

/** Waits until time is over; rejects at once when one of those who work fails. */
async function untilOver(
  seconds: number,
  signal: AbortSignal,
  work: readonly Promise<void>[],
): Promise<void> {
  const failed = work.map(async (one) => {
    await one
    return await new Promise<never>(() => undefined)
  })
  await Promise.race([
    delay(seconds * 1000, undefined, { signal }).catch(() => undefined),
    ...failed,
  ])
}

/** @throws whatever is no TrialError */
function messageOf(error: unknown): string {
  if (error instanceof TrialError) return `${error.code}: ${error.message}`
  throw error
}

/** Writes a last event for every watcher, and gives those who are not told of it. */
async function finishWatches(cluster: Cluster, watchClients: WatchClients): Promise<Violation[]> {
  const ends = new Map<string, number>()
  for (const key of watchClients.endKeys) {
    const { body } = await cluster.untilWritten(`/v2/keys${key}?value=end`, SETTLE_MS)
    ends.set(key, parseEvent(body).node.modifiedIndex)
  }
  return await watchClients.finish(ends, SETTLE_MS)
}

function watchesOf(log: WatchLog, late: readonly Violation[]): Watches {
  const { sessions } = log
  return {
    sessions: sessions.length,
    events: sessions.reduce((sum, { indexes }) => sum + indexes.length, 0),
    truth: log.truth().length,
    refused: sessions.filter(({ refusal }) => refusal !== undefined).length,
    violations: [...late, ...checkWatches(log)],
  }
}

/** Reads through the log, at every member, of everything there was. */
async function readFinally(cluster: Cluster, recorder: Recorder): Promise<void> {
  const agent = new Agent({ keepAlive: true })
  const requests = finalReads(recorder.entries)
  await Promise.all(
    cluster.members.map(async ({ endpoint }, n) => {
      for (const request of requests) {
        const op = recorder.invoke(1000 + n, nameOf(endpoint), request)
        recorder.complete(op, await send(endpoint, request, { agent, timeoutMs: FINAL_MS }))
      }
    }),
  )
  agent.destroy()
}
