import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { packEvents } from '../../src/storage/records.ts'
import { isRefusal } from '../../src/store/errors.ts'
import { Store, type NodeRow, type StoreState } from '../../src/store/store.ts'
import { compareText } from '../../src/store/text.ts'
import type { StoreEvent } from '../../src/store/event.ts'
import type { Watcher } from '../../src/store/watcher-hub.ts'
import { rowOf } from '../../src/store/store.ts'
import type { Command } from '../../src/store/command.ts'
import type { ChangesLimit } from '../../src/store/tree.ts'
import { NaiveStore, type NaiveEvent } from '../helpers/naive-store.ts'
import { randomKey, randomProgram, type Step, type WatchStep } from '../helpers/programs.ts'
import { countFrom, Random, seedFrom } from '../helpers/random.ts'

// Level P: random programs against a naive store. FLOTILLA_MODEL_PROGRAMS for a long run,
// FLOTILLA_MODEL_SEED to replay a failed one: program n of seed s is program 0 of seed s + n.

const seed = seedFrom('FLOTILLA_MODEL_SEED')
const programs = countFrom('FLOTILLA_MODEL_PROGRAMS', 1000)
const HISTORY = 40

t.setTimeout(120_000 + programs * 100)

/** What the disk would hold. */
interface Image {
  readonly rows: Map<string, NodeRow>
  events: readonly StoreEvent[]
}

/** A watcher of both stores: what it was told, and what it should have been. */
interface Listener {
  readonly watcher: Watcher
  readonly heard: number[]
  readonly due: number[]
  isDone: boolean
}

type Told = (entry: Command) => Command

/** Runs a program on both stores. @throws AssertionError at the first difference */
class Comparison {
  #store = new Store({ historySize: HISTORY })
  readonly #naive = new NaiveStore()
  readonly #image: Image = { rows: new Map(), events: [] }
  readonly #listeners: Listener[] = []
  readonly #random: Random
  readonly #told: Told
  #time = 0

  /** @param told what the naive store is given instead of a command */
  constructor(random: Random, told: Told = (entry) => entry) {
    this.#random = random
    this.#told = told
  }

  run(program: readonly Step[]): void {
    for (const step of program) {
      if (step.type === 'command') this.#command(step.command)
      else if (step.type === 'watch') this.#watch(step.watch)
      else this.#restart()
      if (this.#random.chance(0.15)) this.compareTrees()
      if (this.#random.chance(0.1)) this.#take(this.#smallLimit())
    }
    this.compareTrees()
    this.compareHistory()
    for (const { heard, due, watcher } of this.#listeners)
      assert.deepEqual(heard, due, `${watcher.mode} watcher of ${watcher.key}`)
  }

  #command(entry: Command): void {
    this.#time = entry.time
    const before = this.#naive.events.length
    const outcome = this.#store.apply(entry)
    const expected = this.#naive.apply(this.#told(entry))
    for (const event of this.#naive.events.slice(before)) {
      const found = this.#store.history.at(event.index)
      assert.ok(found, `event ${event.index} is in the history`)
      compareEvents(found, event)
      this.#expect(event)
    }
    if (outcome === undefined || expected === undefined) assert.equal(outcome, expected)
    else if (isRefusal(outcome)) {
      const { code, cause, index } = outcome
      assert.deepEqual({ code, cause, index }, expected)
    } else {
      assert.ok('wire' in expected, `${entry.op} of ${entry.key} should be refused`)
      assert.equal(outcome, this.#store.history.at(expected.index))
      assert.equal(outcome.isNew, !('prevNode' in expected.wire) && !outcome.removedDir)
    }
    assert.equal(this.#store.index, this.#naive.index)
  }

  #watch({ key, recursive, mode, ahead }: WatchStep): void {
    const heard: number[] = []
    const deliver = (event: StoreEvent): unknown => heard.push(event.index)
    const since = this.#store.index + 1 + ahead
    const watcher: Watcher = { key, recursive, mode, since, deliver, lost: () => undefined }
    this.#listeners.push({ watcher, heard, due: [], isDone: false })
    this.#store.watchers.add(watcher)
  }

  /** kvd.md 6.2, 6.4 and 6.5 for live watches; docs/watch-protocol.md for resumable ones. */
  #expect(event: NaiveEvent): void {
    for (const listener of this.#listeners) {
      const { watcher, due } = listener
      const times = listener.isDone ? 0 : timesTold(event, watcher)
      for (let count = 0; count < times; count += 1) due.push(event.index)
      if (times > 0 && watcher.mode === 'once') listener.isDone = true
    }
  }

  #smallLimit(): ChangesLimit {
    return { nodes: this.#random.int(1, 6), length: this.#random.int(1, 40) }
  }

  /** Some of the changes, or all: a row for a key must not come twice, nor one that says what is known. */
  #take(limit?: ChangesLimit): StoreState {
    const { rows } = this.#image
    const { dirtyCount } = this.#store
    const { tree, state } = this.#store.takeChanges(limit)
    const taken = [...tree.removed, ...tree.written].map(({ space, key }) => `${space}:${key}`)
    assert.equal(new Set(taken).size, taken.length, 'no key comes twice')
    assert.ok(taken.length <= Math.min(dirtyCount, limit?.nodes ?? Infinity))
    for (const { space, key } of tree.removed)
      assert.ok(rows.delete(`${space}:${key}`), `the disk has never heard of ${key}`)
    for (const node of tree.written) rows.set(`${node.space}:${node.key}`, rowOf(node))
    return state
  }

  #restart(): void {
    let state = this.#take(this.#random.chance(0.5) ? undefined : this.#smallLimit())
    while (this.#store.dirtyCount > 0) state = this.#take(this.#smallLimit())
    assert.equal(this.#store.dirtyLength, 0)
    const { rows } = this.#image
    assert.deepEqual(
      new Map([...this.#store.rows()].map((row) => [`${row.space}:${row.key}`, row])),
      rows,
      'the rows of the disk are those of the store',
    )
    const events = eventsOf(this.#store)
    const loaded = new Store({ historySize: HISTORY })
    loaded.load(
      state,
      [...rows.values()].toSorted((left, right) => compareText(left.key, right.key)),
      events,
    )
    assert.deepEqual(loaded.takeChanges().tree, { written: [], removed: [] })
    assert.deepEqual(loaded.takeChanges().state, state)
    for (const { watcher, isDone } of this.#listeners) if (!isDone) loaded.watchers.add(watcher)
    assert.equal(loaded.watchers.count, this.#store.watchers.count, 'watchers left')
    this.#store = loaded
  }

  compareTrees(): void {
    const rows = new Map(
      [...this.#store.rows()].map(({ space, key, ...node }) => [`${space}:${key}`, node]),
    )
    assert.deepEqual(rows, this.#naive.nodes)
    const due = [...this.#naive.nodes.values()].flatMap(({ expireAt }) => expireAt || [])
    assert.equal(this.#store.nextExpiry, due.length === 0 ? undefined : Math.min(...due))
    for (const recursive of [true, false]) {
      const key = recursive ? '/' : randomKey(this.#random)
      const nowMs = this.#time
      const options = { space: 'keys', key, recursive, sorted: true, nowMs } as const
      const shown = this.#store.read(options)
      const expected = this.#naive.read(key, recursive, nowMs)
      if (isRefusal(shown)) {
        const { code, cause, index } = shown
        assert.deepEqual({ code, cause, index }, expected)
      } else assert.deepEqual(JSON.parse(shown.json), expected)
    }
  }

  compareHistory(): void {
    const kept = this.#naive.events.slice(-HISTORY)
    const found = eventsOf(this.#store)
    assert.equal(found.length, kept.length)
    for (const [at, event] of kept.entries()) if (found[at]) compareEvents(found[at], event)
    assert.equal(this.#store.history.first, kept[0]?.index ?? 0)
    assert.equal(this.#store.history.last, kept.at(-1)?.index ?? 0)
  }

  hash(): string {
    const text = JSON.stringify([packEvents(eventsOf(this.#store)), [...this.#store.rows()]])
    return createHash('sha256').update(text).digest('hex')
  }
}

function eventsOf({ history }: Store): StoreEvent[] {
  const indexes = Array.from({ length: history.size }, (_, at) => history.first + at)
  return indexes.flatMap((index) => history.at(index) ?? [])
}

function compareEvents(event: StoreEvent, expected: NaiveEvent): void {
  assert.deepEqual(JSON.parse(event.json), expected.wire)
  const { index, space, key, refresh, removedDir } = event
  assert.deepEqual(
    { index, space, key, isRefresh: refresh, endsDirectory: removedDir },
    {
      index: expected.index,
      space: expected.space,
      key: expected.key,
      isRefresh: expected.isRefresh,
      endsDirectory: expected.endsDirectory,
    },
  )
}

/** How often one event is told to a watcher. */
function timesTold(event: NaiveEvent, watcher: Watcher): number {
  if (event.isRefresh || event.space !== 'keys' || event.index < watcher.since) return 0
  const isOnce = watcher.mode !== 'stream'
  if (event.key === watcher.key) return event.gone.has(event.key) && !isOnce ? 2 : 1
  const base = watcher.key === '/' ? '' : watcher.key
  if (event.key.startsWith(`${base}/`))
    return watcher.recursive && !event.key.slice(base.length).includes('/_') ? 1 : 0
  const isBelow = event.endsDirectory && watcher.key.startsWith(`${event.key}/`)
  return isBelow && (watcher.mode === 'resumable' || event.gone.has(watcher.key)) ? 1 : 0
}

function problemOf(program: readonly Step[], programSeed: number, told?: Told): unknown {
  try {
    new Comparison(new Random(programSeed), told).run(program)
    return undefined
  } catch (error) {
    return error
  }
}

/** Leaves out steps as long as the rest still fails. */
function smallest(failing: readonly Step[], programSeed: number, told?: Told): readonly Step[] {
  let program = failing
  for (let size = program.length >> 1; size > 0; size >>= 1)
    for (let at = 0; at < program.length;) {
      const without = program.toSpliced(at, size)
      if (problemOf(without, programSeed, told) === undefined) at += size
      else program = without
    }
  return program
}

function programOf(programSeed: number): Step[] {
  const random = new Random(programSeed)
  return randomProgram(random, random.int(50, 300))
}

const child = process.env['FLOTILLA_MODEL_HASH']
if (child !== undefined) {
  const comparison = new Comparison(new Random(Number(child)))
  comparison.run(programOf(Number(child)))
  process.stdout.write(comparison.hash())
} else {
  t.test(`${programs} programs agree with the naive store (seed ${seed})`, async (tt) => {
    let steps = 0
    for (let number = 0; number < programs; number += 1) {
      const program = programOf(seed + number)
      steps += program.length
      const problem = problemOf(program, seed + number)
      if (problem === undefined) continue
      const least = smallest(program, seed + number)
      tt.comment(least.map((step) => JSON.stringify(step)).join('\n'))
      tt.fail(`FLOTILLA_MODEL_SEED=${seed + number} FLOTILLA_MODEL_PROGRAMS=1`, {
        problem: String(problemOf(least, seed + number)),
      })
      return
    }
    tt.pass(`${steps} steps`)
  })

  t.test('the comparison finds a store that differs', async (tt) => {
    const program = programOf(4711).concat({
      type: 'command',
      command: { ...firstWrite(programOf(4711)), key: '/differs', value: 'right' },
    })
    tt.equal(problemOf(program, 1), undefined, 'the program itself is right')
    const lie: Told = (entry) => (entry.value === 'right' ? { ...entry, value: 'wrong' } : entry)
    tt.match(String(problemOf(program, 1, lie)), /wrong/)
    tt.equal(smallest(program, 1, lie).length, 1, 'and shrinks the program to what matters')
  })

  t.test('one program gives one result, in another process too', async (tt) => {
    const run = promisify(execFile)
    const file = fileURLToPath(import.meta.url)
    const comparison = new Comparison(new Random(seed))
    comparison.run(programOf(seed))
    const env = { ...process.env, FLOTILLA_MODEL_HASH: String(seed) }
    const { stdout } = await run(process.execPath, [file], { env })
    tt.equal(stdout, comparison.hash())
  })
}

function firstWrite(program: readonly Step[]): Command {
  for (const step of program)
    if (step.type === 'command' && step.command.op === 'set' && !step.command.refresh)
      return { ...step.command, space: 'keys', dir: false }
  throw new Error('a program without a set')
}
