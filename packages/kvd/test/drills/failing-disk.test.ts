import assert from 'node:assert/strict'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { scratchDir } from '../crash-images/scratch.ts'
import { compileShim, faultWrapper, type Fault } from '../failing-disk/shim.ts'
import { ask, parseEvent } from '../helpers/answers.ts'
import { modelOf } from '../helpers/model.ts'
import { Random, seedFrom } from '../helpers/random.ts'
import { isKvd, launch, tryLaunch, type StoreProcess } from '../helpers/store-process.ts'
import { GCC, toolSkip } from '../helpers/tools.ts'

// A disk whose writes or syncs fail from some call on (correctness.md 5 #3). After an error of the
// device the process ends with status 74, and the next start, on a disk that works, has everything
// that was answered or refuses; a full disk is survived without a restart. FLOTILLA_FAULT_SEED
// replays the calls at which a failed run began to fail.

const seed = seedFrom('FLOTILLA_FAULT_SEED')
const skip = isKvd ? await toolSkip(GCC) : 'only kvd has these files'
const EX_IOERR = 74
const WRITES_MAX = 400
/** Small, so that rows are written and the log is moved into the database between the writes. */
const flags = ['--snapshot-count', '25']

const random = new Random(seed)
const root = t.testdir()
const shim = skip === false ? compileShim(root) : ''

/** What was answered, and why the writing ended. */
interface Written {
  readonly answered: ReadonlyMap<string, string>
  /** Error 300; undefined when all was written or the connection broke. */
  readonly refusal: string | undefined
  /** What was asked last, when it was not answered: it may be there or not. */
  readonly unanswered: string | undefined
}

async function write(store: StoreProcess, prefix: string, count: number): Promise<Written> {
  const answered = new Map<string, string>()
  for (let n = 0; n < count; n += 1) {
    const [key, value] = [`/${prefix}/${n % 60}`, `${n} `.repeat(1 + (n % 300))]
    const form = { value }
    const put = { method: 'PUT', path: `/v2/keys${key}`, form }
    const answer = await ask(store.ports.client, put).catch(() => undefined)
    if (answer === undefined) return { answered, refusal: undefined, unanswered: key }
    if (answer.status > 201) return { answered, refusal: answer.body, unanswered: key }
    answered.set(key, value)
  }
  return { answered, refusal: undefined, unanswered: undefined }
}

async function checkHolds(tt: Test, store: StoreProcess, written: Written): Promise<void> {
  const got = await ask(store.ports.client, { method: 'GET', path: '/v2/keys/?recursive=true' })
  assert.equal(got.status, 200, got.body)
  const nodes = modelOf(parseEvent(got.body).node)
  const { answered, unanswered } = written
  const lost = [...answered].filter(
    ([key, value]) => nodes.get(key)?.value !== value && key !== unanswered,
  )
  const missing = unanswered !== undefined && answered.has(unanswered) && !nodes.has(unanswered)
  tt.same([lost, missing], [[], false], `all ${answered.size} keys that were answered are there`)
}

function at(low: number, high: number, call: Fault['call'], file: string): Omit<Fault, 'errno'> {
  return { call, file, nth: random.int(low, high) }
}

/** The first ones at the start, the others while it serves. */
const errors: readonly (Omit<Fault, 'errno'> & Partial<Fault>)[] = [
  at(1, 6, 'sync', 'kvd.db-wal'),
  at(20, 80, 'sync', 'kvd.db-wal'),
  // Found out only then: what is written is as lost as after any other failure.
  { ...at(20, 80, 'sync', 'kvd.db-wal'), errno: 'ENOSPC' },
  at(1, 8, 'write', 'kvd.db-wal'),
  at(60, 300, 'write', 'kvd.db-wal'),
  at(2, 4, 'sync', 'kvd.db'),
  at(4, 30, 'write', 'kvd.db'),
  at(3, 60, 'write', 'hwm'),
]

for (const fault of errors)
  t.test(
    `an I/O error ends the process, and nothing answered is lost: ${fault.call} ${fault.nth} of ${fault.file}, ${fault.errno ?? 'EIO'} (seed ${seed})`,
    { skip, timeout: 120_000 },
    async (tt) => {
      const scratch = scratchDir()
      tt.teardown(() => scratch.remove())
      const dir = join(scratch.path, 'data')
      mkdirSync(dir)
      const wrapper = faultWrapper(shim, { errno: 'EIO', ...fault })
      const begun = await tryLaunch({ dir, flags, wrapper })
      const written = 'store' in begun ? await write(begun.store, 'eio', WRITES_MAX) : undefined
      const exit = 'store' in begun ? await begun.store.exited : begun.exit
      tt.equal(exit.code, EX_IOERR, exit.stderr.slice(-500))
      tt.match(exit.stderr, new RegExp(`${dir}/member`), 'the log names the file')
      tt.notMatch(exit.stderr, /^ +at .*:\d+:\d+\)?$/m, 'there is no stack trace')
      tt.equal(
        existsSync(join(dir, 'member/io-error')),
        true,
        'and word is left for the next start',
      )

      const again = await tryLaunch({ dir, flags })
      if ('exit' in again) {
        tt.ok(again.exit.code === 1 || again.exit.code === EX_IOERR, `status ${again.exit.code}`)
        tt.match(again.exit.stderr, /member\/kvd\.db/, `refused: ${again.exit.stderr.slice(-300)}`)
        return
      }
      if (written !== undefined) await checkHolds(tt, again.store, written)
      tt.equal(existsSync(join(dir, 'member/io-error')), false)
      tt.equal((await again.store.kill('SIGTERM')).signal ?? 0, 0)
    },
  )

/** Asks again and again: the store tries by itself whether there is room. */
async function untilWritten(store: StoreProcess): Promise<void> {
  const deadline = performance.now() + 60_000
  const put = { method: 'PUT', path: '/v2/keys/again', form: { value: 'again' } }
  for (;;) {
    const answer = await ask(store.ports.client, put)
    if (answer.status <= 201) return
    assert.ok(performance.now() < deadline, `still refused: ${answer.body}\n${store.log()}`)
  }
}

const shortages = [
  { ...at(80, 250, 'write', 'kvd.db-wal'), isRefused: true },
  // Moving the log into the database can wait.
  { ...at(4, 30, 'write', 'kvd.db'), isRefused: false },
]

for (const { isRefused, ...fault } of shortages)
  t.test(
    `a full disk costs nothing that was answered, and needs no restart: ${fault.call} ${fault.nth} of ${fault.file} (seed ${seed})`,
    { skip, timeout: 180_000 },
    async (tt) => {
      const scratch = scratchDir()
      tt.teardown(() => scratch.remove())
      const dir = join(scratch.path, 'data')
      mkdirSync(dir)
      const room = join(root, `room-${fault.file}`)
      rmSync(room, { force: true })
      const wrapper = faultWrapper(shim, { ...fault, errno: 'ENOSPC', until: room })
      const store = await launch({ dir, flags, wrapper })
      tt.teardown(() => store.kill('SIGKILL'))
      const written = await write(store, 'full', 150)
      tt.equal(written.refusal !== undefined, isRefused, written.refusal ?? 'nothing was refused')
      if (isRefused) tt.match(store.log(), /no room left on the disk/)
      await checkHolds(tt, store, written)
      writeFileSync(room, '')
      await untilWritten(store)
      await checkHolds(tt, store, written)
      tt.equal((await store.kill('SIGKILL')).signal, 'SIGKILL', 'it was the same process all along')
      const again = await launch({ dir, flags })
      await checkHolds(tt, again, written)
      await again.kill('SIGKILL')
    },
  )
