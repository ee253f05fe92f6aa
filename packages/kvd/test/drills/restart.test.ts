import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { dumpStore } from '../../src/dump.ts'
import { Machine } from '../../src/machine.ts'
import type { Replica } from '../../src/replica/replica.ts'
import { openDisk } from '../../src/storage/disk.ts'
import { packEvents } from '../../src/storage/records.ts'
import type { Command } from '../../src/store/command.ts'
import type { Refusal } from '../../src/store/errors.ts'
import type { StoreEvent } from '../../src/store/event.ts'
import { Store } from '../../src/store/store.ts'
import { BIRTH, createAlone, leadAsync } from '../helpers/alone.ts'
import { copyOf } from '../helpers/batches.ts'
import { textOf } from '../helpers/commands.ts'
import { randomProgram } from '../helpers/programs.ts'
import { countFrom, Random, seedFrom } from '../helpers/random.ts'

// Random programs through the log and the disk, with restarts and crashes in between, against a
// store that never stopped. FLOTILLA_RESTART_PROGRAMS for a long run, FLOTILLA_RESTART_SEED to replay.

const seed = seedFrom('FLOTILLA_RESTART_SEED')
const programs = countFrom('FLOTILLA_RESTART_PROGRAMS', 8)
const HISTORY = 60

t.setTimeout(120_000 + programs * 10_000)

/** The leader stamps what comes to it: with the time that the program says. */
const clock = { ms: 0 }

/** The same commands at times that do not go back, as a leader sees to. */
function inOrder(commands: readonly Command[]): Command[] {
  let ms = 0
  return commands.map((entry) => {
    ms = Math.max(ms, Math.floor(entry.time))
    const { expireAt } = entry
    return { ...entry, time: ms, expireAt: expireAt === 0 ? 0 : expireAt + ms - entry.time }
  })
}

interface Running {
  readonly store: Store
  readonly replica: Replica
  readonly directory: string
}

async function start(directory: string, snapshotCount: number): Promise<Running> {
  mkdirSync(directory, { recursive: true })
  const disk = await openDisk({ directory, source: 'image', mergeRows: 30 })
  const store = new Store({ historySize: HISTORY })
  const replica = createAlone(disk, {
    store,
    file: join(directory, 'kvd.db'),
    snapshotCount,
    requestTimeoutMs: 60_000,
    nowMs: () => clock.ms,
    onFailure: (error) => {
      throw error
    },
  })
  await leadAsync(replica)
  return { store, replica, directory }
}

/** Everything that a client could tell two stores apart by. */
function contentOf(store: Store): object {
  const { history } = store
  const indexes = Array.from({ length: history.size }, (_, at) => history.first + at)
  return {
    index: store.index,
    rows: [...store.rows()].map((row) => JSON.stringify(row)).toSorted(),
    stats: store.statsJson().replace(/"gets\w+":\d+,/g, ''),
    events: packEvents(indexes.flatMap((index) => history.at(index) ?? [])),
    nextExpiry: store.nextExpiry,
  }
}

async function dump(directory: string, source: 'image' | 'log'): Promise<string> {
  let text = ''
  await dumpStore(directory, source, (line) => {
    text += line
  })
  return text
}

async function checkDumps({ directory, store, replica }: Running): Promise<void> {
  const image = await dump(directory, 'image')
  assert.equal(await dump(directory, 'log'), image, 'the log gives the tree of the image')
  const [head = '', ...rows] = image.trimEnd().split('\n')
  assert.deepEqual(JSON.parse(head), { index: store.index, raftIndex: replica.lastIndex })
  assert.deepEqual(rows.toSorted(), [...store.rows()].map((row) => JSON.stringify(row)).toSorted())
}

async function runProgram(root: string, random: Random): Promise<number> {
  const reference = new Store({ historySize: HISTORY })
  for (const entry of BIRTH.entries) new Machine(reference).apply(entry)
  const commands = inOrder(
    randomProgram(random, random.int(100, 400)).flatMap((step) =>
      step.type === 'command' ? [step.command] : [],
    ),
  )
  // Time stands still between images: one comes after twenty times as many entries.
  const snapshotCount = random.int(1, 4)
  clock.ms = 0
  let running = await start(join(root, '0'), snapshotCount)
  let restarts = 0
  for (let at = 0; at < commands.length;) {
    const many = random.int(1, 60)
    await checkOutcomes(running.replica, reference, commands.slice(at, at + many))
    at += many
    if (!random.chance(0.3)) continue
    restarts += 1
    const { replica, directory } = running
    const next = random.chance(0.5) ? directory : copyOf(directory, join(root, `${restarts}`))
    await replica.close()
    if (next === directory) await checkDumps(running)
    running = await start(next, snapshotCount)
    assert.deepEqual(contentOf(running.store), contentOf(reference), `restart ${restarts}`)
  }
  await running.replica.close()
  await checkDumps(running)
  return restarts
}

async function checkOutcomes(
  replica: Replica,
  reference: Store,
  commands: readonly Command[],
): Promise<void> {
  const outcomes: Promise<StoreEvent | Refusal | undefined>[] = []
  for (const entry of commands) {
    clock.ms = entry.time
    outcomes.push(replica.proposeAsync(entry))
    // The leader looks at its clock once a batch.
    await turn()
  }
  const told = (await Promise.all(outcomes)).map(textOf)
  assert.deepEqual(
    told,
    commands.map((entry) => textOf(reference.apply(entry))),
  )
}

t.test(`restarts change nothing (${programs} programs, seed ${seed})`, async (tt) => {
  const root = tt.testdir()
  let restarts = 0
  for (let number = 0; number < programs; number += 1) {
    const directory = join(root, `${number}`)
    try {
      restarts += await runProgram(directory, new Random(seed + number))
    } catch (error) {
      tt.fail(`FLOTILLA_RESTART_SEED=${seed + number} FLOTILLA_RESTART_PROGRAMS=1`, {
        problem: error instanceof Error ? error.message : String(error),
      })
      return
    }
  }
  tt.ok(restarts > programs, `${restarts} restarts`)
})
