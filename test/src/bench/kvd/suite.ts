import { UsageError } from '../arguments.ts'
import { onDisk } from '../ground.ts'
import { machineFacts, type Machine } from '../machine.ts'
import { roundsOf } from '../rounds.ts'
import { etcdProgram, kvdProgram, start, type Name, type Program, type Server } from '../servers.ts'
import { percentile } from '../stats.ts'
import { needWrk } from '../wrk.ts'
import { fill, probe } from './fill.ts'
import {
  keyCount,
  measure,
  valueBytes,
  writeScript,
  type Operation,
  type Sample,
  type Target,
} from './load.ts'
import { measureMemory, type MemoryReport } from './memory.ts'
import type { Options, Part } from './options.ts'
import { Watchers, type Transport } from './watchers.ts'

/** One line of the table: an operation at a number of connections, by server, round by round. */
export interface LoadRow {
  readonly operation: Operation
  readonly connections: number
  readonly rounds: Readonly<Partial<Record<Name, Sample[]>>>
}

/** Times from a PUT to each watcher's event, of all PUTs of one round, in milliseconds. */
export interface FanOut {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

/** Fan-out of one server over one transport, round by round. */
export interface WatchRow {
  readonly server: Name
  readonly transport: Transport
  readonly rounds: FanOut[]
}

/** Everything measured; what `--json` prints. */
export interface Report {
  readonly bench: 'kvd'
  readonly startedAt: string
  readonly machine: Machine
  readonly versions: Readonly<Record<string, string>>
  readonly missing: string | undefined
  readonly rounds: number
  readonly secondsPerRun: number
  readonly keys: number
  readonly valueBytes: number
  readonly watchers: number
  readonly loads: readonly LoadRow[]
  readonly watches: readonly WatchRow[]
  readonly memory: Readonly<Partial<Record<Name, MemoryReport>>>
}

const watcherCount = 1000
/** As long as the other measurements; the slowest PUT of a hundred no longer decides the p99 alone. */
const putsPerRound = 100
const warmUpSeconds = 2

/**
 * Runs the bench. `progress` gets a line for each thing begun.
 * @throws UsageError when the machine lacks wrk or the directory is in memory
 */
export async function runSuite(
  options: Options,
  progress: (line: string) => void,
): Promise<Report> {
  const wrk = await needWrk()
  if (wrk === undefined) throw new UsageError('wrk is missing: as root, apt-get install wrk')
  const etcd = options.etcd ? await etcdProgram() : { missing: '--no-etcd' }
  const programs = [await kvdProgram(), ...('missing' in etcd ? [] : [etcd])]
  return await onDisk(options.dir, async (dir) => {
    const machine = await machineFacts(dir)
    const startedAt = new Date().toISOString()
    const loads = await driveLoads(programs, options, dir, progress)
    const watches = await driveWatches(programs, options, dir, progress)
    const memory = options.only.includes('memory') ? await memories(programs, dir, progress) : {}
    return {
      bench: 'kvd',
      startedAt,
      machine,
      versions: Object.fromEntries([...programs.map((p) => [p.name, p.version]), ['wrk', wrk]]),
      missing: 'missing' in etcd ? etcd.missing : undefined,
      rounds: options.rounds,
      secondsPerRun: options.seconds,
      keys: keyCount,
      valueBytes,
      watchers: watcherCount,
      loads,
      watches,
      memory,
    }
  })
}

type Progress = (line: string) => void

async function driveLoads(
  programs: readonly Program[],
  options: Options,
  dir: string,
  progress: Progress,
): Promise<LoadRow[]> {
  const rows = loadRows(options, programs)
  if (rows.length === 0) return rows
  const script = await writeScript(dir)
  await withServers(programs, dir, async (servers) => {
    for (const server of servers) await prepare(server, rows, script)
    for (const [round, order] of roundsOf(servers, options.rounds)) {
      progress(`loads, round ${round} of ${options.rounds}`)
      for (const row of rows)
        for (const server of order) await sample(row, server, options.seconds, script)
    }
  })
  return rows
}

/** On servers of their own: what the loads left behind is not the watchers' business. */
async function driveWatches(
  programs: readonly Program[],
  options: Options,
  dir: string,
  progress: Progress,
): Promise<WatchRow[]> {
  if (!options.only.includes('watch')) return []
  const rows: WatchRow[] = []
  await withServers(programs, dir, async (servers) => {
    rows.push(...servers.flatMap(watchRows))
    for (const [round, order] of roundsOf(servers, options.rounds)) {
      progress(`watchers, round ${round} of ${options.rounds}`)
      for (const server of order) await fanOuts(rows, server)
    }
  })
  return rows
}

/** Starts all programs, hands them to `use`, and stops them whatever happens. */
async function withServers(
  programs: readonly Program[],
  dir: string,
  use: (servers: readonly Server[]) => Promise<void>,
): Promise<void> {
  const servers: Server[] = []
  try {
    for (const program of programs) servers.push(await start(program, dir))
    await use(servers)
  } finally {
    for (const server of servers) await server.stop()
  }
}

function loadRows(options: Options, programs: readonly Program[]): LoadRow[] {
  const empty = () => Object.fromEntries(programs.map((program) => [program.name, []]))
  return options.only
    .filter(isOperation)
    .flatMap((operation) =>
      options.connections.map((connections) => ({ operation, connections, rounds: empty() })),
    )
}

function isOperation(part: Part): part is Operation {
  return part !== 'watch' && part !== 'memory'
}

/** All keys exist, the answers are right and the code is warm before anything counts. */
async function prepare(server: Server, loads: readonly LoadRow[], script: string): Promise<void> {
  const names = Array.from({ length: keyCount }, (_, n) => `/bench/${String(n).padStart(5, '0')}`)
  await fill(server, names, valueBytes)
  await probe(server, names[0] ?? '', valueBytes)
  for (const operation of new Set(loads.map((row) => row.operation)))
    await measure(targetOf(server), operation, { connections: 64, seconds: warmUpSeconds, script })
}

async function sample(
  row: LoadRow,
  server: Server,
  seconds: number,
  script: string,
): Promise<void> {
  const load = { connections: row.connections, seconds, script }
  row.rounds[server.name]?.push(await measure(targetOf(server), row.operation, load))
}

function targetOf({ url, pid }: Server): Target {
  return { url, pids: [pid] }
}

/** Only kvd has the multiplexed watch. */
function watchRows(server: Server): WatchRow[] {
  const transports: Transport[] = server.name === 'kvd' ? ['http', 'websocket'] : ['http']
  return transports.map((transport) => ({ server: server.name, transport, rounds: [] }))
}

async function fanOuts(rows: readonly WatchRow[], server: Server): Promise<void> {
  for (const row of rows.filter((candidate) => candidate.server === server.name)) {
    const watchers = await Watchers.open(server, row.transport, watcherCount)
    try {
      await watchers.shoot() // the first one finds cold connections and cold code
      const times: number[] = []
      for (let put = 0; put < putsPerRound; put += 1) times.push(...(await watchers.shoot()))
      const [p50Ms, p99Ms, maxMs] = [50, 99, 100].map((percent) => percentile(times, percent))
      row.rounds.push({ p50Ms: p50Ms ?? NaN, p99Ms: p99Ms ?? NaN, maxMs: maxMs ?? NaN })
    } finally {
      watchers.close()
    }
  }
}

async function memories(
  programs: readonly Program[],
  dir: string,
  progress: Progress,
): Promise<Partial<Record<Name, MemoryReport>>> {
  const reports: Partial<Record<Name, MemoryReport>> = {}
  for (const program of programs) {
    progress(`memory of ${program.name}`)
    reports[program.name] = await measureMemory(program, dir)
  }
  return reports
}
