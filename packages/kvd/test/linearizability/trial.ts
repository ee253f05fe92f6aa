import { Agent } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { Random } from '../helpers/random.ts'
import { nameOf, runClients, send } from './clients.ts'
import { Cluster } from './cluster.ts'
import type { FaultKind } from './faults.ts'
import { Recorder, type Entry } from './history.ts'
import { Nemesis } from './nemesis.ts'
import type { Program } from './programs.ts'
import { proveFaults } from './proofs.ts'
import { settle, type Settled } from './settling.ts'
import { judge, type Verdict } from './verdict.ts'
import { finalReads, Workload } from './workload.ts'

/** What is tried, for how long. The seed decides what clients ask for and what breaks. */
export interface TrialOptions {
  readonly program: Program
  readonly members: number
  readonly seconds: number
  readonly seed: number
  readonly kinds: readonly FaultKind[]
  readonly clients: number
  /** Reads ask one member alone and are judged as if they had gone through the log. */
  readonly readsLocal: boolean
  readonly note: (line: string) => void
}

/** What came of it. */
export interface Trial {
  readonly entries: readonly Entry[]
  readonly verdict: Verdict
  readonly settled: Settled | { readonly failure: string }
  readonly faults: ReadonlyMap<string, number>
  /** Ends of members that nobody asked for. */
  readonly crashes: readonly string[]
  readonly logs: ReadonlyMap<string, string>
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
  const workload = new Workload({
    random: random.fork(),
    prefix: '/lin',
    keys: KEYS,
    localShare: options.readsLocal ? 1 : LOCAL_SHARE,
  })
  const nemesis = new Nemesis({
    cluster,
    random: random.fork(),
    kinds: options.kinds,
    note: (what) => options.note(`${((performance.now() - begun) / 1000).toFixed(3)} s  ${what}`),
  })
  const stop = new AbortController()
  const clients = runClients({
    endpoints: cluster.members.map(({ endpoint }) => endpoint),
    recorder,
    workload,
    random: random.fork(),
    clients: options.clients,
    pauseMsMax: PAUSE_MS_MAX,
    timeoutMs: TIMEOUT_MS,
    signal: stop.signal,
  })
  const breaking = nemesis.run(stop.signal)
  const { signal } = stop
  const time = delay(options.seconds * 1000, undefined, { signal }).catch(() => undefined)
  try {
    await Promise.race([time, clients, breaking.then(() => clients)])
  } finally {
    stop.abort()
  }
  await Promise.all([clients, breaking])
  const settled = await settle(cluster, SETTLE_MS).catch((error: unknown) => ({
    failure: String(error),
  }))
  await readFinally(cluster, recorder)
  return {
    entries: recorder.entries,
    verdict: judge(recorder.entries, { judgesLocal: options.readsLocal }),
    settled,
    faults: nemesis.counts,
    crashes: cluster.members.flatMap((member) => member.crashes),
    logs: new Map(cluster.members.map(({ name, log }) => [name, log])),
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
