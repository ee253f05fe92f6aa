import { setTimeout as sleep } from 'node:timers/promises'
import { onDisk } from '../ground.ts'
import { machineFacts, type Machine } from '../machine.ts'
import { Members, type Member } from '../members.ts'
import { programOf } from '../servers.ts'
import type { Options, Part } from './options.ts'
import { Writers, type Counts } from './writers.ts'

/** What one member's end came to. */
export interface Loss {
  /** Leader lost: the longest time without an acknowledged write. Follower replaced: until the new one counts. */
  readonly tookMs: number
  readonly writes: Counts
}

/** Everything measured; what `--json` prints. */
export interface Report {
  readonly bench: 'failover'
  readonly startedAt: string
  readonly machine: Machine
  readonly server: string
  readonly losses: Readonly<Partial<Record<Part, readonly Loss[]>>>
  /** What failed writes were told, the first ones. */
  readonly failures: readonly string[]
}

type Progress = (line: string) => void

/** Writes run undisturbed for so long before a member ends: connections and members are warm. */
const calmMs = 500

/**
 * Runs the bench.
 * @throws UsageError when the directory is in memory
 */
export async function runSuite(options: Options, progress: Progress): Promise<Report> {
  const program = await programOf(options.server)
  return await onDisk(options.dir, async (dir) => {
    const machine = await machineFacts(dir)
    const startedAt = new Date().toISOString()
    const members = await Members.start(program, dir)
    const writers = new Writers(() => members.all.map((member) => member.port))
    try {
      const losses: Partial<Record<Part, Loss[]>> = {}
      for (const part of options.only)
        losses[part] = await lose(part, timesOf(part, options), members, writers, progress)
      const { failures } = writers
      const server = `${program.name} ${program.version}`
      return { bench: 'failover', startedAt, machine, server, losses, failures }
    } finally {
      await writers.stop()
      await members.stop()
    }
  })
}

function timesOf(part: Part, { kills, stops, replacements }: Options): number {
  const times: Readonly<Record<Part, number>> = {
    kill: kills,
    stop: stops,
    replace: replacements,
  }
  return times[part]
}

async function lose(
  part: Part,
  times: number,
  members: Members,
  writers: Writers,
  progress: Progress,
): Promise<Loss[]> {
  const losses: Loss[] = []
  for (let n = 1; n <= times; n += 1) {
    if (n % 10 === 1) progress(`${part} ${n} of ${times}`)
    await sleep(calmMs)
    const before = writers.counts
    const tookMs =
      part === 'replace'
        ? await replaceFollower(members)
        : await loseLeader(members, writers, part === 'kill' ? 'SIGKILL' : 'SIGTERM')
    losses.push({ tookMs, writes: minus(writers.counts, before) })
  }
  return losses
}

/** The longest time without an acknowledged write around the leader's end; then it is back again. */
async function loseLeader(
  members: Members,
  writers: Writers,
  signal: NodeJS.Signals,
): Promise<number> {
  const leader = await members.leader()
  const gapMs = await writers.longestGap(leader.end(signal))
  await members.restart(leader)
  await leader.untilWritable()
  await members.untilLevel()
  return gapMs
}

/** Time from the removal of a dead follower until the one in its place is level and counts. */
async function replaceFollower(members: Members): Promise<number> {
  const [follower] = await members.followers()
  if (follower === undefined) throw new Error('there is no follower')
  await follower.end('SIGKILL')
  const through: Member = await members.leader()
  const startMs = performance.now()
  const added = await members.replace(follower, through)
  await added.untilWritable()
  await members.untilLevel()
  await members.untilAllCount()
  return performance.now() - startMs
}

function minus(left: Counts, right: Counts): Counts {
  return {
    acknowledged: left.acknowledged - right.acknowledged,
    retried: left.retried - right.retried,
    failed: left.failed - right.failed,
  }
}
