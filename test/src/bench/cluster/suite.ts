import { UsageError } from '../arguments.ts'
import { onDisk } from '../ground.ts'
import { fill, probe } from '../kvd/fill.ts'
import {
  keyCount,
  measure,
  valueBytes,
  writeScript,
  writeSpreadScript,
  type Operation,
  type Sample,
} from '../kvd/load.ts'
import { weigh, type MemoryReport } from '../kvd/memory.ts'
import { machineFacts, type Machine } from '../machine.ts'
import { Members } from '../members.ts'
import { roundsOf } from '../rounds.ts'
import { etcdProgram, kvdProgram, type Name, type Program } from '../servers.ts'
import { needWrk } from '../wrk.ts'
import type { Options, Part, Way } from './options.ts'

/** One line of the table, by server, round by round. */
export interface LoadRow {
  readonly operation: Operation
  readonly through: Way
  readonly connections: number
  readonly rounds: Readonly<Partial<Record<Name, Sample[]>>>
}

/** Everything measured; what `--json` prints. Memory is the leader's. */
export interface Report {
  readonly bench: 'cluster'
  readonly startedAt: string
  readonly machine: Machine
  readonly versions: Readonly<Record<string, string>>
  readonly missing: string | undefined
  readonly rounds: number
  readonly secondsPerRun: number
  readonly keys: number
  readonly valueBytes: number
  readonly loads: readonly LoadRow[]
  readonly memory: Readonly<Partial<Record<Name, MemoryReport>>>
}

type Progress = (line: string) => void

/** As many load threads, when all are driven. */
const memberCount = 3
/**
 * Of each load: only a third of the requests, or less, reach one member's code, and a compiler that is
 * still at work takes its time from all members.
 */
const warmUpSeconds = 15

/**
 * Runs the bench.
 * @throws UsageError when the machine lacks wrk or the directory is in memory
 */
export async function runSuite(options: Options, progress: Progress): Promise<Report> {
  const wrk = await needWrk()
  if (wrk === undefined) throw new UsageError('wrk is missing: as root, apt-get install wrk')
  const etcd = options.etcd ? await etcdProgram() : { missing: '--no-etcd' }
  const programs = [await kvdProgram(), ...('missing' in etcd ? [] : [etcd])]
  return await onDisk(options.dir, async (dir) => {
    const machine = await machineFacts(dir)
    const startedAt = new Date().toISOString()
    const loads = await driveLoads(programs, options, dir, progress)
    const memory = options.only.includes('memory') ? await memories(programs, dir, progress) : {}
    return {
      bench: 'cluster',
      startedAt,
      machine,
      versions: Object.fromEntries([...programs.map((p) => [p.name, p.version]), ['wrk', wrk]]),
      missing: 'missing' in etcd ? etcd.missing : undefined,
      rounds: options.rounds,
      secondsPerRun: options.seconds,
      keys: keyCount,
      valueBytes,
      loads,
      memory,
    }
  })
}

async function driveLoads(
  programs: readonly Program[],
  options: Options,
  dir: string,
  progress: Progress,
): Promise<LoadRow[]> {
  const rows = loadRows(options, programs)
  if (rows.length === 0) return rows
  const clusters: Members[] = []
  try {
    for (const program of programs) clusters.push(await Members.start(program, dir, memberCount))
    const driver = await Driver.create(dir, clusters)
    for (const members of clusters) await driver.prepare(members, rows)
    for (const [round, order] of roundsOf(clusters, options.rounds)) {
      progress(`loads, round ${round} of ${options.rounds}`)
      for (const row of rows)
        for (const members of order) {
          const sample = await driver.measure(members, row, options.seconds)
          row.rounds[members.program.name]?.push(sample)
        }
    }
  } finally {
    for (const members of clusters) await members.stop()
  }
  return rows
}

function loadRows(options: Options, programs: readonly Program[]): LoadRow[] {
  const empty = () => Object.fromEntries(programs.map((program) => [program.name, []]))
  return options.only.filter(isOperation).flatMap((operation) =>
    options.through.flatMap((through) =>
      options.connections.map((connections) => ({
        operation,
        through,
        connections,
        rounds: empty(),
      })),
    ),
  )
}

function isOperation(part: Part): part is Operation & Part {
  return part !== 'memory'
}

type Load = Pick<LoadRow, 'operation' | 'through' | 'connections'>

/** Puts the load generator to whom it is to talk to. */
class Driver {
  readonly #script: string
  readonly #spread: ReadonlyMap<Name, string>

  private constructor(script: string, spread: ReadonlyMap<Name, string>) {
    this.#script = script
    this.#spread = spread
  }

  static async create(dir: string, clusters: readonly Members[]): Promise<Driver> {
    const spread = new Map<Name, string>()
    for (const { program, all } of clusters) {
      const ports = all.map((member) => member.port)
      spread.set(program.name, await writeSpreadScript(dir, ports))
    }
    return new Driver(await writeScript(dir), spread)
  }

  /** All keys are on all members, the answers are right and the code is warm before anything counts. */
  async prepare(members: Members, rows: readonly Load[]): Promise<void> {
    const { name } = members.program
    const keys = Array.from({ length: keyCount }, (_, n) => `/bench/${String(n).padStart(5, '0')}`)
    const { port } = await members.leader()
    await fill({ name, port }, keys, valueBytes)
    await members.untilLevel()
    for (const member of members.all)
      await probe({ name, port: member.port }, keys[0] ?? '', valueBytes)
    const [first] = rows
    for (const row of rows.filter(({ connections }) => connections === first?.connections))
      await this.measure(members, { ...row, connections: 64 }, warmUpSeconds)
  }

  /** The leader is asked for anew: it may have changed. */
  async measure(members: Members, load: Load, seconds: number): Promise<Sample> {
    const { operation, through, connections } = load
    const [follower] = await members.followers()
    const target = through === 'follower' ? follower : await members.leader()
    if (target === undefined) throw new Error(`${members.program.name} has no follower`)
    const script = through === 'all' ? this.#spread.get(members.program.name) : this.#script
    return await measure(
      { url: target.url, pids: members.all.map((member) => member.pid) },
      operation,
      {
        connections,
        seconds,
        script: script ?? this.#script,
        threads: through === 'all' ? memberCount : 1,
      },
    )
  }
}

/** On clusters of their own, filled through the leader. */
async function memories(
  programs: readonly Program[],
  dir: string,
  progress: Progress,
): Promise<Partial<Record<Name, MemoryReport>>> {
  const reports: Partial<Record<Name, MemoryReport>> = {}
  for (const program of programs) {
    progress(`memory of ${program.name}`)
    const members = await Members.start(program, dir, memberCount)
    try {
      const { port, pid } = await members.leader()
      reports[program.name] = await weigh({ name: program.name, port, pid })
      if ((await members.leader()).pid !== pid)
        throw new Error(`${program.name}: another member leads now, the memory is not the leader's`)
    } finally {
      await members.stop()
    }
  }
  return reports
}
