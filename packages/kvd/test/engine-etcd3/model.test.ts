import assert from 'node:assert/strict'
import t from 'tap'
import { EventDecoder } from '../../src/engine-etcd3/event-decoder.ts'
import { FrontStats } from '../../src/engine-etcd3/front-stats.ts'
import { KeyCache } from '../../src/engine-etcd3/key-cache.ts'
import { Layout } from '../../src/engine-etcd3/layout.ts'
import { Reader } from '../../src/engine-etcd3/reader.ts'
import { Writer } from '../../src/engine-etcd3/writer.ts'
import type { Command } from '../../src/store/command.ts'
import { isRefusal } from '../../src/store/errors.ts'
import { COUNTERS } from '../../src/store/stats.ts'
import { Store } from '../../src/store/store.ts'
import { textOf } from '../helpers/commands.ts'
import { ModelEtcd } from '../helpers/model-etcd.ts'
import { randomProgram } from '../helpers/programs.ts'
import { countFrom, Random, seedFrom } from '../helpers/random.ts'

// Random programs on two fronts over a model of etcd, against the store. FLOTILLA_ENGINE_PROGRAMS for
// a long run, FLOTILLA_ENGINE_SEED to replay: program n of seed s is program 0 of seed s + n.

const seed = seedFrom('FLOTILLA_ENGINE_SEED')
const programs = countFrom('FLOTILLA_ENGINE_PROGRAMS', 60)
const LENGTH = 60
t.setTimeout(120_000 + programs * 500)

const layout = new Layout('/p')

class Comparison {
  readonly #store = new Store({ historySize: 10 * LENGTH })
  readonly #etcd = new ModelEtcd()
  readonly #stats = new FrontStats()
  readonly #random: Random
  readonly #writers: readonly Writer[]
  readonly #reader: Reader
  readonly #decoder = new EventDecoder({ layout, listBelow: async () => [] })

  constructor(random: Random) {
    this.#random = random
    this.#reader = new Reader({ etcd: this.#etcd, layout, stats: new FrontStats() })
    this.#writers = [0, 1].map(
      () =>
        new Writer({
          etcd: this.#etcd,
          layout,
          stats: this.#stats,
          cache: new KeyCache(),
          timeoutMs: 7000,
          random: () => random.next(),
          nowMs: () => 0,
        }),
    )
  }

  async run(program: readonly Command[]): Promise<void> {
    for (const entry of program) {
      const before = this.#etcd.revision
      const expected = this.#store.apply(entry)
      const { outcome } = await this.#random.pick(this.#writers).write(entry)
      const what = `${entry.op} ${entry.key}`
      assert.equal(textOf(outcome), textOf(expected), what)
      assert.ok(expected)
      const told = isRefusal(expected) ? [] : [expected]
      assert.deepEqual(await this.#eventsSince(before), told, `${what}: what watchers hear`)
      if (this.#random.chance(0.2)) await this.#compareTrees(entry.time)
    }
    await this.#compareTrees(0)
    for (const counter of COUNTERS)
      if (!counter.startsWith('gets'))
        assert.equal(this.#stats.counter(counter), this.#store.counter(counter), counter)
  }

  async #eventsSince(revision: number): Promise<readonly unknown[]> {
    const events: unknown[] = []
    for (let at = revision + 1; at <= this.#etcd.revision; at += 1)
      for (const { event } of await this.#decoder.decode(at, this.#etcd.changes(at)))
        events.push(event)
    return events
  }

  async #compareTrees(nowMs: number): Promise<void> {
    const key = this.#random.pick(['/', '/', '/a', '/a/b', '/_h'])
    const recursive = key === '/' || this.#random.chance(0.5)
    const wanted = { key, recursive, sorted: true, nowMs }
    const found = await this.#reader.read({ ...wanted, isSerializable: false })
    const json = isRefusal(found) ? found : found.json
    assert.equal(textOf(json), textOf(this.#store.read({ ...wanted, space: 'keys' })), key)
  }
}

/** Commands that a client can send: nothing but keys, and no expiry, which is etcd's affair. */
function isClients({ op, space, expireAt, time }: Command): boolean {
  return op !== 'sync' && op !== 'noop' && space === 'keys' && (expireAt === 0 || expireAt > time)
}

t.test(`${programs} programs on two fronts agree with the store (seed ${seed})`, async (tt) => {
  for (let at = 0; at < programs; at += 1) {
    const random = new Random(seed + at)
    const program = randomProgram(random.fork(), 2 * LENGTH)
      .flatMap((step) => (step.type === 'command' ? [step.command] : []))
      .filter(isClients)
    try {
      await new Comparison(random).run(program)
    } catch (error) {
      throw new Error(`FLOTILLA_ENGINE_SEED=${seed + at} replays it`, { cause: error })
    }
  }
  tt.pass('every answer, event, listing and counter was the same')
})
