import assert from 'node:assert/strict'
import { cp, open, readdir, rename, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ask, parseEvent, type Answer } from '../helpers/answers.ts'
import { differences, modelOf, type ModelNode } from '../helpers/model.ts'
import { countFrom, Random, seedFrom } from '../helpers/random.ts'
import { openSandbox, sandboxSkip } from '../helpers/sandbox.ts'
import { isKvd, launch, tryLaunch, type Exit, type StoreProcess } from '../helpers/store-process.ts'

// Disks that are full, read-only or lie. The store says which file is at fault and leaves with a
// status, or it serves exactly what was acknowledged: never something else. FLOTILLA_DAMAGE_CASES
// for a long run, FLOTILLA_DAMAGE_SEED to replay the places of a failed one.

const seed = seedFrom('FLOTILLA_DAMAGE_SEED')
const randomCases = countFrom('FLOTILLA_DAMAGE_CASES', 6)
const keys = 1200
const patience = { timeout: 120_000 + randomCases * 10_000 }

/** What a client can see of the whole tree. */
interface Seen {
  readonly index: number
  readonly nodes: ReadonlyMap<string, ModelNode>
}

async function put(store: StoreProcess, key: string, value: string): Promise<Answer> {
  return await ask(store.ports.client, {
    method: 'PUT',
    path: `/v2/keys${key}`,
    form: { value },
  })
}

async function see(store: StoreProcess): Promise<Seen> {
  const path = '/v2/keys/?recursive=true'
  const answer = await ask(store.ports.client, { method: 'GET', path })
  assert.equal(answer.status, 200, answer.body)
  return { index: answer.index, nodes: modelOf(parseEvent(answer.body).node) }
}

/** A refusal has a status of its own, is no crash, and names what is at fault. */
function checkRefusal(tt: Test, what: string, exit: Exit, file: string): void {
  const lines = exit.stderr.split('\n').filter((line) => !line.includes(' INFO '))
  const said = lines.filter((line) => line.includes(file))
  tt.ok(exit.code !== null && exit.code > 0, `${what}: status ${exit.code ?? exit.signal}`)
  tt.ok(said.length > 0, `${what}: names ${file}: ${said[0] ?? exit.stderr.slice(-500)}`)
  tt.notMatch(exit.stderr, /^ +at .*:\d+:\d+\)?$/m, `${what}: no stack trace`)
}

t.setTimeout(5 * patience.timeout)
t.test('a full disk', { ...patience, skip: sandboxSkip() }, async (tt) => {
  const dir = tt.testdir()
  const sandbox = await openSandbox(dir, 'size=12m')
  tt.teardown(() => sandbox.close())
  const { wrapper } = sandbox
  const data = join(dir, 'data')
  let store = await launch({ dir: data, wrapper })
  tt.teardown(() => store.kill('SIGKILL'))

  const acknowledged = new Map<string, string>()
  let refusal: Answer | undefined
  for (let n = 0; n < 2000 && refusal === undefined; n += 1) {
    const [key, value] = [`/full/${n}`, `${n}`.repeat(4000)]
    const answer = await put(store, key, value).catch(async () => {
      throw new Error(`the store went away:\n${(await store.exited).stderr}`)
    })
    if (answer.status === 201) acknowledged.set(key, value)
    else refusal = answer
  }
  tt.ok(acknowledged.size > 20, `${acknowledged.size} writes fit`)
  tt.equal(refusal?.status, 500, `the next one is refused: ${refusal?.body}`)
  tt.match(refusal?.body, '"errorCode":300')
  tt.match(store.log(), /kvd\.db/, 'the log names the file')
  tt.match(store.log(), /no room|full|no space/i, 'and says why')

  const holds = async (when: string): Promise<void> => {
    const { nodes } = await see(store)
    const lost = [...acknowledged].filter(([key, value]) => nodes.get(key)?.value !== value)
    tt.same(lost, [], `nothing acknowledged is lost ${when}`)
  }
  await holds('while the disk is full')
  sandbox.remount('size=64m')
  await untilWritten(store, acknowledged)
  tt.pass('with room again, writes go on without a restart')
  await holds('when there is room again')
  await store.kill('SIGKILL')
  store = await launch({ dir: data, wrapper })
  await holds('after a restart')
  await store.kill('SIGTERM')

  await checkFullAtStart(tt, data, dir, acknowledged.size)
})

/** The store tries by itself; a client need only ask again. */
async function untilWritten(store: StoreProcess, into: Map<string, string>): Promise<void> {
  const deadline = performance.now() + 30_000
  for (;;) {
    const answer = await put(store, '/full/again', 'again')
    if (answer.status <= 201) break
    assert.ok(performance.now() < deadline, `still refused: ${answer.body}\n${store.log()}`)
  }
  into.set('/full/again', 'again')
}

/** A start on a full disk: an existing tree is served, a new one is refused. */
async function checkFullAtStart(tt: Test, data: string, dir: string, count: number): Promise<void> {
  const copy = join(dir, 'copy')
  const sandbox = await openSandbox(dir, 'size=16m')
  tt.teardown(() => sandbox.close())
  const { wrapper } = sandbox
  const first = await launch({ dir: copy, wrapper })
  for (let n = 0; n < 100; n += 1) await put(first, `/some/${n}`, `${n}`)
  const ballast = join(dir, 'ballast')
  const fill = (): string => sandbox.shell(`cat /dev/zero >> '${ballast}' 2>/dev/null; true`)
  fill()
  // Whoever is refused empties the log, which leaves room once more.
  let value = '0'
  for (let n = 1; ; n += 1, fill()) {
    const next = `${n}`.repeat(50_000)
    if ((await put(first, '/some/0', next)).status >= 500) break
    value = next
  }
  await first.kill('SIGKILL')
  fill()

  const again = await tryLaunch({ dir: copy, wrapper })
  if ('store' in again) {
    const { nodes } = await see(again.store)
    tt.equal(nodes.size, 101, 'an existing tree is served from a full disk')
    tt.ok(nodes.get('/some/0')?.value === value, 'up to the last write that was acknowledged')
    tt.equal((await put(again.store, '/some/1', 'more')).status, 500)
    await again.store.kill('SIGKILL')
  } else if (isKvd) tt.fail(`it refused to start: ${again.exit.stderr}`)
  else checkRefusal(tt, 'a start on a full disk', again.exit, copy)

  if (isKvd) {
    const forced = await tryLaunch({ dir: copy, wrapper, flags: ['--force-new-cluster'] })
    if ('store' in forced) tt.fail('it goes on alone, which is on no disk')
    else checkRefusal(tt, 'a forced start on a full disk', forced.exit, copy)
  }

  const fresh = await tryLaunch({ dir: data, wrapper })
  if ('store' in fresh) {
    await fresh.store.kill('SIGKILL')
    tt.fail('a new store started where it cannot write')
  } else checkRefusal(tt, 'a first start on a full disk', fresh.exit, data)

  sandbox.shell(`rm '${ballast}'`)
  const last = await launch({ dir: copy, wrapper })
  tt.equal((await see(last)).nodes.size, 101, 'with room again, nothing is lost')
  await last.kill('SIGKILL')
  tt.ok(count > 0)
}

t.test('a read-only data directory', { ...patience, skip: sandboxSkip() }, async (tt) => {
  const dir = tt.testdir()
  const sandbox = await openSandbox(dir, 'size=32m')
  tt.teardown(() => sandbox.close())
  const { wrapper } = sandbox
  const data = join(dir, 'data')
  const store = await launch({ dir: data, wrapper })
  await put(store, '/kept', 'kept')
  await store.kill('SIGKILL')

  sandbox.remount('ro')
  const known = await tryLaunch({ dir: data, wrapper })
  const fresh = await tryLaunch({ dir: join(dir, 'new'), wrapper })
  for (const result of [known, fresh]) {
    if ('exit' in result) continue
    await result.store.kill('SIGKILL')
    tt.fail('a store started that cannot write')
  }
  if ('exit' in known) checkRefusal(tt, 'an existing directory', known.exit, data)
  if ('exit' in fresh) checkRefusal(tt, 'a new directory', fresh.exit, join(dir, 'new'))

  sandbox.remount('rw')
  const again = await launch({ dir: data, wrapper })
  tt.equal((await see(again)).nodes.get('/kept')?.value, 'kept', 'nothing was harmed')
  await again.kill('SIGKILL')
})

t.test('a data directory that is none', async (tt) => {
  const dir = tt.testdir({ file: 'text', used: {}, odd: { member: { 'kvd.db': {} } } })
  const names = isKvd ? ['file', 'odd'] : ['file']
  for (const name of names) {
    const result = await tryLaunch({ dir: join(dir, name) })
    if ('store' in result) {
      await result.store.kill('SIGKILL')
      tt.fail(`${name} was taken for a data directory`)
    } else checkRefusal(tt, name, result.exit, join(dir, name))
  }
  const first = await launch({ dir: join(dir, 'used') })
  tt.teardown(() => first.kill('SIGKILL'))
  const second = await tryLaunch({ dir: join(dir, 'used') })
  if ('store' in second) {
    await second.store.kill('SIGKILL')
    tt.fail('two stores on one data directory')
  } else checkRefusal(tt, 'a directory in use', second.exit, join(dir, 'used'))
  tt.equal((await put(first, '/a', 'b')).status, 201, 'the first store is not disturbed')
})

/** A change of one file of the data directory that no healthy disk makes. */
interface Damage {
  readonly name: string
  readonly file: string
  apply(path: string): Promise<void>
}

function flip(file: string, at: number, name: string): Damage {
  return {
    name: `${file}: a bit of byte ${at} (${name})`,
    file,
    apply: async (path) => {
      const handle = await open(path, 'r+')
      const byte = Buffer.alloc(1)
      await handle.read(byte, 0, 1, at)
      byte[0] = (byte[0] ?? 0) ^ (1 << (at % 8))
      await handle.write(byte, 0, 1, at)
      await handle.close()
    },
  }
}

function zero(file: string, at: number, length: number): Damage {
  return {
    name: `${file}: ${length} zeros at ${at}`,
    file,
    apply: async (path) => {
      const handle = await open(path, 'r+')
      await handle.write(Buffer.alloc(length), 0, length, at)
      await handle.close()
    },
  }
}

function cut(file: string, size: number): Damage {
  return { name: `${file}: cut to ${size} bytes`, file, apply: (path) => truncate(path, size) }
}

/** Damages of one file: its head, everywhere, its length. */
function damagesOf(file: string, size: number, random: Random): Damage[] {
  const page = 4096
  const whole: Damage[] = [
    cut(file, 0),
    cut(file, Math.floor(size / 2)),
    cut(file, size - 1),
    { name: `${file}: removed`, file, apply: (path) => rm(path) },
    { name: `${file}: other text`, file, apply: (path) => writeFile(path, 'no database\n') },
  ]
  // The high-water mark only guards the other two: two slots of some bytes.
  if (file === 'hwm') return [flip(file, 0, 'first slot'), flip(file, 20, 'first slot'), ...whole]
  const pages = Math.floor(size / page)
  const places = Array.from({ length: randomCases }, () => random.int(100, size - 1))
  const heads = [0, 17, 18, 28, 31, 43, 59].filter((at) => at < size)
  return [
    ...heads.map((at) => flip(file, at, 'header')),
    ...places.map((at) => flip(file, at, `page ${Math.floor(at / page) + 1} of ${pages}`)),
    ...places.slice(0, randomCases / 4 + 1).map((at) => zero(file, at - (at % page), page)),
    ...whole,
  ]
}

/**
 * A data directory with much in it, and the tree that it must show: the first entries moved into the
 * database, the last ones only in the write-ahead log when the end is a kill.
 */
async function fixture(dir: string, end: NodeJS.Signals): Promise<Seen> {
  const store = await launch({ dir, flags: ['--snapshot-count', '700'] })
  for (let n = 0; n < keys; n += 1) {
    const answer = await put(store, `/d${n % 40}/k${n}`, `${n} `.repeat(1 + (n % 97)))
    assert.equal(answer.status, 201, answer.body)
  }
  const seen = await see(store)
  await store.kill(end)
  return seen
}

/** Starts on a damaged copy. Allowed: a refusal that names the file, or exactly the tree that was. */
async function suffer(tt: Test, original: string, seen: Seen, damage: Damage): Promise<string> {
  const dir = `${original}-copy`
  await cp(original, dir, { recursive: true })
  await damage.apply(join(dir, 'member', damage.file))
  const result = await tryLaunch({ dir })
  if ('exit' in result) {
    checkRefusal(tt, damage.name, result.exit, join(dir, 'member'))
    await rm(dir, { recursive: true })
    return 'refused'
  }
  const now = await see(result.store)
  const index = now.index >= seen.index
  const wrong = differences(now.nodes, seen.nodes)
  await result.store.kill('SIGKILL')
  if (wrong.length > 0 || !index) {
    const kept = `${original}-seed-${seed}-${tt.results?.count ?? 0}`
    await rename(dir, kept).catch(() => undefined)
    tt.fail(`${damage.name}: index ${now.index} of ${seen.index}, ${wrong.length} keys differ`, {
      wrong: wrong.slice(0, 5),
    })
    return 'lied'
  }
  await rm(dir, { recursive: true })
  return 'served'
}

for (const [end, name] of [
  ['SIGTERM', 'after a clean stop'],
  ['SIGKILL', 'after a kill'],
] as const)
  t.test(
    `a damaged file is named or harmless, ${name} (seed ${seed})`,
    { ...patience, skip: !isKvd && 'only kvd has these files' },
    async (tt) => {
      const dir = join(tt.testdir(), 'data')
      mkdirSync(dir)
      const seen = await fixture(dir, end)
      const random = new Random(seed)
      const counts = new Map<string, number>()
      for (const file of await readdir(join(dir, 'member'))) {
        const { size } = await stat(join(dir, 'member', file))
        const damages = size > 200 ? damagesOf(file, size, random) : []
        for (const damage of damages) {
          const outcome = await suffer(tt, dir, seen, damage)
          const counted = `${file} ${outcome}`
          counts.set(counted, (counts.get(counted) ?? 0) + 1)
        }
      }
      tt.ok(counts.size > 0)
      tt.comment([...counts].map(([what, count]) => `${what}: ${count}`).join(', '))
    },
  )
