import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { ask, parseEvent, type Answer } from '../helpers/answers.ts'
import { readDump, type Dump } from '../helpers/dump.ts'
import { checkComplete, drain, follow } from '../helpers/history.ts'
import { differences, Model, modelOf, type ModelNode } from '../helpers/model.ts'
import { countFrom, Random, seedFrom } from '../helpers/random.ts'
import { freePorts, isKvd, launch, spawnStore, type Ports } from '../helpers/store-process.ts'
import { newLedger, runWriters, type Ledger } from '../helpers/writers.ts'

// kill -9 under write load, again and again on one data directory. FLOTILLA_CRASH_ROUNDS=200 for a
// long run; FLOTILLA_CRASH_SEED replays the choices (not the scheduling) of a run that failed.

const rounds = countFrom('FLOTILLA_CRASH_ROUNDS', 20)
const seed = seedFrom('FLOTILLA_CRASH_SEED')
const writersMax = 16
/** Below the 1000 events that etcd 2 keeps, with room for what was under way. */
const writesMax = 800
/** Small, so that snapshots and truncations of the log fall between the kills. */
const flags = isKvd ? ['--snapshot-count', '50'] : []

const roundMsMax = 60_000
/** The log is compacted after some 5000 entries: half of the rounds can compare with all of it. */
const roundsPerDirectory = 25

/** etcd writes its client URLs into the store at each start, kvd only when they change. */
const silentWritesPerStart = isKvd ? 0 : 1
const startsPerRound = 3

/** What must have survived all lives up to now in one data directory. */
interface Survivor {
  readonly dir: string
  readonly model: Model
  index: number
}

t.setTimeout(rounds * roundMsMax)
t.test(`every acknowledged write survives ${rounds} kills (seed ${seed})`, async (tt) => {
  const random = new Random(seed)
  const ports = await freePorts()
  let survivor = await newSurvivor()
  let writes = 0
  let replays = 0
  for (let round = 1; round <= rounds; round += 1) {
    const { dir } = survivor
    const ledger = newLedger()
    try {
      await liveAndDie(dir, ports, random, ledger)
      if (random.chance(0.25)) await dieWhileStarting(dir, ports, random)
      const dump = isKvd ? await readBoth(dir) : undefined
      if (dump?.isReplayed === true) replays += 1
      await inspect(survivor, ports, dump?.image, ledger)
    } catch (error) {
      throw new Error(`round ${round}, data in ${dir}, seed ${seed}`, { cause: error })
    }
    writes += ledger.acknowledged.size + ledger.refreshed.size
    if (round % roundsPerDirectory !== 0 && round !== rounds) continue
    await rm(dir, { recursive: true })
    survivor = await newSurvivor()
  }
  await rm(survivor.dir, { recursive: true })
  tt.ok(writes >= rounds, `${writes} acknowledged writes are all there`)
  tt.ok(replays > 0 || !isKvd, `the tree was that of the whole log ${replays} times`)
  tt.comment(`${rounds} kills, ${writes} acknowledged writes, ${replays} replays of the whole log`)
})

async function newSurvivor(): Promise<Survivor> {
  return { dir: await mkdtemp(join(tmpdir(), 'kvd-crash-')), model: new Model(), index: 0 }
}

/** The tree that a start would load, which must be the one that the log alone gives. */
async function readBoth(dir: string): Promise<{ image: Dump | undefined; isReplayed: boolean }> {
  const image = await readDump(dir, 'image')
  const log = await readDump(dir, 'log')
  if (log === undefined) return { image, isReplayed: false }
  assert.deepEqual(differences(image?.nodes ?? new Map(), log.nodes), [], 'image and log')
  assert.equal(image?.text, log.text, 'image and log, the cluster itself included')
  return { image, isReplayed: true }
}

/** Starts the store, lets writers loose, and kills it at a random moment. */
async function liveAndDie(
  dir: string,
  ports: Ports,
  random: Random,
  ledger: Ledger,
): Promise<void> {
  const store = await launch({ dir, ports, flags })
  const writesUntilDeath = random.int(1, writesMax)
  const pauseMs = random.chance(0.5) ? random.int(0, 5) : 0
  let isDying = false
  const onAcknowledged = (count: number): void => {
    if (count < writesUntilDeath || isDying) return
    isDying = true
    void delay(pauseMs).then(() => store.kill('SIGKILL'))
  }
  const writers = random.int(1, writersMax)
  await runWriters({ port: ports.client, writers, random: random.fork(), ledger, onAcknowledged })
  await store.exited
}

/** A start is a time of writing too: the log is checked, truncated, moved. */
async function dieWhileStarting(dir: string, ports: Ports, random: Random): Promise<void> {
  const store = await spawnStore({ dir, ports, flags })
  await delay(random.int(0, 400))
  await store.kill('SIGKILL')
}

/** Starts the store once more and compares everything it shows with what must be there. */
async function inspect(
  survivor: Survivor,
  ports: Ports,
  dump: Dump | undefined,
  ledger: Ledger,
): Promise<void> {
  const store = await launch({ dir: survivor.dir, ports, flags })
  try {
    // A write that watchers hear of, so that the history has an end to wait for.
    const last = await ask(ports.client, { method: 'PUT', path: '/v2/keys/_drill/last' })
    const event = parseEvent(last.body)
    ledger.acknowledged.set(event.node.modifiedIndex, event)
    survivor.index = await compareTree(ports.client, survivor, dump, ledger)
  } finally {
    // A clean stop now and then is part of a life too: half of the inspections end with one.
    await store.kill(survivor.index % 2 === 0 ? 'SIGTERM' : 'SIGKILL')
  }
}

async function compareTree(
  port: number,
  survivor: Survivor,
  dump: Dump | undefined,
  ledger: Ledger,
): Promise<number> {
  const { model } = survivor
  const { index, listed, hidden } = await readAll(port)
  const highest = Math.max(...ledger.acknowledged.keys(), ...ledger.refreshed.keys())
  assert.ok(index >= highest, `X-Etcd-Index ${index} went back below ${highest}`)
  const from = survivor.index === 0 ? await firstIndex(port) : survivor.index + 1
  const silent = silentWritesPerStart * startsPerRound
  const events = await drain(port, from, index)
  const atDeath = dump?.index ?? index
  follow(model, { from, to: atDeath, silent }, events, ledger)
  await settleRefreshes(port, model, ledger)
  if (dump !== undefined)
    assert.deepEqual(differences(dump.nodes, model.nodes), [], `the dump at ${atDeath}`)
  follow(model, { from: atDeath + 1, to: index, silent }, events, ledger)
  checkComplete(ledger, from, index)
  assert.deepEqual(differences(listed, model.visible()), [], `the tree at ${index}`)
  const below = [...model.nodes].filter(([key]) => key.startsWith('/_hidden/'))
  assert.deepEqual(differences(hidden, new Map(below)), [], `the hidden keys at ${index}`)
  return index
}

interface Everything {
  readonly index: number
  readonly listed: ReadonlyMap<string, ModelNode>
  readonly hidden: ReadonlyMap<string, ModelNode>
}

/** The root's listing and that of the hidden directory, which the root leaves out, at one index. */
async function readAll(port: number): Promise<Everything> {
  for (;;) {
    const root = await ask(port, { method: 'GET', path: '/v2/keys/?recursive=true' })
    const hidden = await ask(port, { method: 'GET', path: '/v2/keys/_hidden?recursive=true' })
    // Keys expire whenever they like: between the two reads, too.
    if (root.index !== hidden.index) continue
    return { index: root.index, listed: nodesOf(root), hidden: nodesOf(hidden) }
  }
}

function nodesOf(answer: Answer): ReadonlyMap<string, ModelNode> {
  return answer.status === 200 ? modelOf(parseEvent(answer.body).node) : new Map()
}

/** The index of the first event that the history has: earlier ones belong to the cluster, not to users. */
async function firstIndex(port: number): Promise<number> {
  const path = '/v2/keys/?wait=true&recursive=true&waitIndex=1'
  const answer = await ask(port, { method: 'GET', path })
  return parseEvent(answer.body).node.modifiedIndex
}

/** A refresh that was under way at the death is in the node or not: both are right. */
async function settleRefreshes(port: number, model: Model, ledger: Ledger): Promise<void> {
  for (const key of ledger.unsureRefreshes) {
    const answer = await ask(port, { method: 'GET', path: `/v2/keys${key}` })
    const known = model.nodes.get(key)
    if (answer.status !== 200 || known === undefined) continue
    const { node } = parseEvent(answer.body)
    const isSame = node.value === known.value && node.createdIndex === known.createdIndex
    if (!isSame || node.modifiedIndex < known.modifiedIndex) continue
    const { modifiedIndex, expiration } = node
    model.nodes.set(key, { ...known, modifiedIndex, expiration })
  }
}
