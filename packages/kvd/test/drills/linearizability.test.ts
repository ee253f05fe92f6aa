import { execFile, spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { countFrom, seedFrom } from '../helpers/random.ts'
import { isKvd } from '../helpers/store-process.ts'
import { roomsSkip } from '../linearizability/rooms.ts'

// Clients and watchers of a cluster of real processes that are killed, stopped, parted and filled:
// every answer fits one order of all requests. FLOTILLA_LIN_SECONDS for a long run,
// FLOTILLA_LIN_MEMBERS for another cluster, FLOTILLA_LIN_SEED to replay the choices of a failed one.

const seconds = countFrom('FLOTILLA_LIN_SECONDS', 30)
const members = countFrom('FLOTILLA_LIN_MEMBERS', 3)
const seed = seedFrom('FLOTILLA_LIN_SEED')
const program = fileURLToPath(new URL('../linearizability/main.js', import.meta.url))
const proofSeconds = 6
const settlingMs = 180_000

interface Run {
  readonly code: number
  readonly output: string
}

/** Runs the harness; what it keeps of a failure goes to `directory`. */
async function run(
  flags: Readonly<Record<string, string | number>>,
  directory = tmpdir(),
): Promise<Run> {
  const argv = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)])
  const env = { ...process.env, TMPDIR: directory }
  return await new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [program, ...argv],
      { env },
      (_error, stdout, stderr) =>
        resolve({ code: child.exitCode ?? -1, output: `${stdout}${stderr}` }),
    )
  })
}

/** The figure in front of these words. */
function figure(output: string, words: string): number {
  return Number(new RegExp(`(\\d+) ${words}`).exec(output)?.[1] ?? 0)
}

function checkPass(tt: Test, { code, output }: Run): void {
  tt.equal(code, 0, output)
  tt.match(output, /^verdict: passed$/m)
  tt.ok(figure(output, 'answered') > 0, `${figure(output, 'answered')} requests answered`)
  tt.ok(figure(output, 'events told') > 0, `${figure(output, 'events told')} events told`)
  for (const line of output.split('\n')) tt.comment(line)
}

const skip = roomsSkip()
t.setTimeout(3 * settlingMs + (seconds + 2 * proofSeconds) * 1000)

t.test(
  `${members} members: whatever breaks, answers fit one order of all requests (seed ${seed})`,
  { skip, timeout: settlingMs + seconds * 1000 },
  async (tt) => {
    const flags = { program: isKvd ? 'kvd' : 'etcd', members, seconds, seed }
    checkPass(tt, await run(flags))
  },
)

// The drill itself is proven on etcd, whose reads without quorum promise less.
const etcd = spawnSync('etcd', ['--version'])
const noEtcd = etcd.status === 0 ? false : 'there is no etcd here'
const proof = { program: 'etcd', members: 3, seconds: proofSeconds, seed, faults: 'pause' }
const patience = { skip: skip === false ? noEtcd : skip, timeout: settlingMs }

t.test('three members of etcd pass with reads through the log', patience, async (tt) => {
  checkPass(tt, await run(proof))
})

/** Whether a read is answered by a member that is behind is chance: a few short runs show one. */
const PROOF_RUNS = 5

t.test('three members of etcd fail with reads of one member', patience, async (tt) => {
  const outputs: string[] = []
  for (let at = 0; at < PROOF_RUNS; at += 1) {
    const flags = { ...proof, seed: seed + at, reads: 'local', watchers: 0 }
    const { code, output } = await run(flags, tt.testdir())
    outputs.push(output)
    if (code === 1) break
  }
  tt.match(outputs.at(-1), /not linearizable, shown by the first \d+ of \d+ operations/)
  tt.match(outputs.at(-1), /^verdict: FAILED$/m)
})
