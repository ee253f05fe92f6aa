import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { waitFor } from '../../harness/deadline.ts'
import { UsageError } from '../arguments.ts'
import { onDisk } from '../ground.ts'
import { valueBytes, writeScript } from '../kvd/load.ts'
import { machineFacts, type Machine } from '../machine.ts'
import { Members, type Member } from '../members.ts'
import { PacedLoad } from '../paced-load.ts'
import { programOf } from '../servers.ts'
import { percentile } from '../stats.ts'
import { needWrk, runWrk } from '../wrk.ts'
import type { Options } from './options.ts'

/** The fixed load during a part of the run, in milliseconds from when each PUT was due. */
export interface Phase {
  readonly puts: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

/** Everything measured; what `--json` prints. */
export interface Report {
  readonly bench: 'catchup'
  readonly startedAt: string
  readonly machine: Machine
  readonly server: string
  readonly keys: number
  readonly rate: number
  /** Entries that the member missed before the load began. */
  readonly behind: number
  /** From the start of its process until it had applied what the leader had. */
  readonly catchUpMs: number
  readonly isBySnapshot: boolean
  readonly before: Phase
  readonly during: Phase
  readonly after: Phase
  /** The first failed PUTs of the fixed load. */
  readonly failures: readonly string[]
  /** SHA-256 of the whole tree as each member lists it, by member. */
  readonly trees: Readonly<Record<string, string>>
}

type Progress = (line: string) => void

const writers = 256
const writeSeconds = 5
const failuresShown = 5
/** How often it is asked whether the member has caught up. */
const lookMs = 20
const catchUpTimeoutMs = 600_000

/**
 * Runs the bench.
 * @throws UsageError when the machine lacks wrk or the directory is in memory
 */
export async function runSuite(options: Options, progress: Progress): Promise<Report> {
  if ((await needWrk()) === undefined)
    throw new UsageError('wrk is missing: as root, apt-get install wrk')
  const program = await programOf(options.server)
  return await onDisk(options.dir, async (dir) => {
    const machine = await machineFacts(dir)
    const startedAt = new Date().toISOString()
    const members = await Members.start(program, dir)
    try {
      const result = await measure(members, options, dir, progress)
      return {
        bench: 'catchup',
        startedAt,
        machine,
        server: `${program.name} ${program.version}`,
        keys: options.keys,
        rate: options.rate,
        ...result,
      }
    } finally {
      await members.stop()
    }
  })
}

type Measured = Pick<
  Report,
  'behind' | 'catchUpMs' | 'isBySnapshot' | 'before' | 'during' | 'after' | 'failures' | 'trees'
>

async function measure(
  members: Members,
  options: Options,
  dir: string,
  progress: Progress,
): Promise<Measured> {
  const leader = await members.leader()
  const [follower] = await members.followers()
  if (follower === undefined) throw new Error('there is no follower')
  await follower.end('SIGKILL')
  progress(`writing ${options.entries} entries without ${follower.name}`)
  const behind = await write(leader, options, await writeScript(dir))
  progress('the load before')
  const keys = Array.from({ length: 1000 }, (_, n) => `/load/${n}`)
  const load = new PacedLoad({ port: leader.port, perSecond: options.rate, keys, valueBytes })
  const startMs = performance.now()
  await sleep(options.seconds * 1000)
  progress(`${follower.name} comes back`)
  const backMs = performance.now()
  await members.restart(follower)
  await untilCaughtUp(follower, leader)
  const levelMs = performance.now()
  progress('the load after')
  await sleep(options.seconds * 1000)
  const endMs = performance.now()
  await load.stop()
  await members.untilLevel()
  return {
    behind,
    catchUpMs: levelMs - backMs,
    isBySnapshot: follower.log.includes('restored snapshot ['),
    before: phaseOf(load.times(startMs, backMs)),
    during: phaseOf(load.times(backMs, levelMs)),
    after: phaseOf(load.times(levelMs, endMs)),
    failures: load.failures.slice(0, failuresShown),
    trees: await trees(members),
  }
}

/** Writes as fast as it goes until the log has grown by so many entries; gives how many it has. */
async function write(leader: Member, options: Options, script: string): Promise<number> {
  const start = await leader.raftIndex()
  let written = 0
  while (written < options.entries) {
    const args = ['put', String(options.keys), String(valueBytes)]
    const load = { url: leader.url, connections: writers, seconds: writeSeconds, script, args }
    const { errors } = await runWrk(load)
    if (errors > 0) throw new Error(`${errors} writes failed`)
    written = (await leader.raftIndex()) - start
  }
  return written
}

async function untilCaughtUp(follower: Member, leader: Member): Promise<void> {
  const look = async () => {
    const wanted = await leader.raftIndex()
    const index = await follower.raftIndex()
    return index >= wanted ? { done: undefined } : { seen: `${index} of ${wanted}` }
  }
  const patience = { timeoutMs: catchUpTimeoutMs, intervalMs: lookMs }
  await waitFor(`${follower.name} to catch up`, look, patience)
}

/** No PUT at all in a part makes its figures NaN, which holds no bar. */
function phaseOf(times: readonly number[]): Phase {
  const at = (percent: number): number => (times.length === 0 ? NaN : percentile(times, percent))
  return { puts: times.length, p50Ms: at(50), p99Ms: at(99), maxMs: at(100) }
}

async function trees(members: Members): Promise<Record<string, string>> {
  const hashes: Record<string, string> = {}
  for (const member of members.all) {
    const answer = await fetch(`${member.url}/v2/keys/?recursive=true&sorted=true`)
    const body = Buffer.from(await answer.arrayBuffer())
    if (answer.status !== 200) throw new Error(`${member.name} lists nothing: ${answer.status}`)
    hashes[member.name] = createHash('sha256').update(body).digest('hex')
  }
  return hashes
}
