import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { openDisk } from '../../src/storage/disk.ts'
import { packChanges } from '../../src/storage/rows.ts'
import { Store } from '../../src/store/store.ts'
import { ask, type Answer } from '../helpers/answers.ts'
import { commit } from '../helpers/batches.ts'
import { set } from '../helpers/commands.ts'
import { Daemon } from '../helpers/daemon.ts'
import { freePorts } from '../helpers/store-process.ts'

const SNAPSHOT_COUNT = 60
const POLL_MS = 50

interface Place {
  readonly name: string
  readonly client: number
  readonly flags: readonly string[]
  readonly storageDir: string
}

async function placesFor(tt: Test, names: readonly string[]): Promise<Place[]> {
  const ports = await Promise.all(names.map(async () => await freePorts()))
  const urls = ports.map(({ peer }) => `http://127.0.0.1:${peer}`)
  const root = tt.testdir()
  return names.map((name, at) => {
    const { client } = ports[at] ?? { client: 0 }
    const dataDir = join(root, name)
    const flags = [
      ['--name', name],
      ['--data-dir', dataDir],
      ['--snapshot-count', String(SNAPSHOT_COUNT)],
      ['--initial-cluster', names.map((one, n) => `${one}=${urls[n]}`).join()],
      ['--listen-peer-urls', urls[at] ?? ''],
      ['--initial-advertise-peer-urls', urls[at] ?? ''],
      ['--listen-client-urls', `http://127.0.0.1:${client}`],
      ['--advertise-client-urls', `http://127.0.0.1:${client}`],
    ]
    return { name, client, flags: flags.flat(), storageDir: join(dataDir, 'member') }
  })
}

async function get({ client }: Place, path: string): Promise<Answer> {
  return await ask(client, { method: 'GET', path })
}

async function put({ client }: Place, path: string, value: string): Promise<number> {
  return (await ask(client, { method: 'PUT', path, form: { value } })).status
}

/** Writes another value over a key in the data of a member that rests; every checksum is right. */
async function falsify(directory: string, key: string): Promise<void> {
  const disk = await openDisk({ directory, source: 'image' })
  const { loaded, rows, events } = disk.recovered
  const { stats, storeIndex: index, count, applied, commit: known } = loaded
  // What follows in the log, a sync entry say, may be there without being committed.
  if (stats === undefined || applied < known) throw new Error('the image is not at its end')
  const store = new Store({ historySize: 1 })
  store.load({ index, count, stats }, rows, events.slice(-1))
  store.apply(set(key, { value: 'something else' }))
  const packs = packChanges(store.takeChanges().tree, 1 << 20)
  const image = { applied, storeIndex: index, count, stats, eventFloor: 0 }
  const nothing = { hard: undefined, identity: undefined, install: undefined }
  const entries = new Uint8Array()
  await commit(disk, {
    ...nothing,
    seq: 1,
    entries,
    firstIndex: 0,
    commit: known,
    packs,
    events: [],
    image,
    compactTo: 0,
  })
  await disk.close()
}

t.test('a member that holds something else is found, and serves nobody any more', async (tt) => {
  const places = await placesFor(tt, ['a', 'b', 'c'])
  const [a, b, c] = places
  if (a === undefined || b === undefined || c === undefined) throw new Error('three members')
  const start = async (place: Place): Promise<Daemon> => {
    const daemon = new Daemon(tt, place.flags)
    await daemon.said('listening for client requests')
    return daemon
  }
  const [first, second, third] = await Promise.all([start(a), start(b), start(c)])
  for (let n = 0; n < 3 * SNAPSHOT_COUNT; n += 1) {
    tt.match(String(await put(a, `/v2/keys/k${n % 50}`, `${n}`)), /^20[01]$/)
    // Each check begins some time after it is due.
    if (n % SNAPSHOT_COUNT === 0) await delay(1_000)
  }
  for (const place of places) {
    const { status } = await ask(place.client, { method: 'GET', path: '/health' })
    tt.equal(status, 200, `${place.name} holds what the others hold`)
  }
  tt.equal(await third.end('SIGTERM'), 0)
  await falsify(c.storageDir, '/k7')
  const again = await start(c)
  tt.match((await get(c, '/v2/keys/k7')).body, 'something else')
  const stream = ask(c.client, { method: 'GET', path: '/v2/keys/none?wait=true' })
  let health = await get(c, '/health')
  // Without a leader for a moment it is not healthy either.
  for (let n = 0; !health.body.includes('what is stored here'); n += 1) {
    await put(a, '/v2/keys/n', `${n}`)
    if (n % SNAPSHOT_COUNT === 0) await delay(POLL_MS)
    health = await get(c, '/health')
  }
  tt.equal(health.status, 503)
  tt.match(health.body, 'what is stored here is not what the others hold')
  tt.match(
    again.log,
    /ERROR etcdserver: this member holds something else than the others index=\d+/,
  )
  tt.equal((await stream).body, '', 'watches end')
  for (const path of ['/v2/keys/k7', '/v2/keys/k7?quorum=true', '/v2/members', '/v2/stats/store'])
    tt.match(await get(c, path), { status: 503, body: /"errorCode":300/ }, path)
  tt.equal(await put(c, '/v2/keys/k7', ''), 503)
  tt.match((await get(c, '/metrics')).body, /^kvd_divergence 1$/m)
  for (const place of [a, b]) {
    tt.equal((await get(place, '/health')).status, 200)
    tt.match((await get(place, '/metrics')).body, /^kvd_divergence 0$/m)
  }
  tt.notMatch(`${first.log}${second.log}`, 'something else')

  tt.equal(await again.end('SIGTERM'), 0)
  await start(c)
  tt.equal((await get(c, '/v2/keys/k7')).status, 503, 'a new start knows of it')
  tt.equal(await put(a, '/v2/keys/k7', 'on'), 200, 'the others go on')
})
