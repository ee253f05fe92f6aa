import { join } from 'node:path'
import { registryKeys, UnitRegistry } from '@flotilla/fleet-registry'
import { test, type Test } from 'tap'
import { readConfig, type Config } from '../src/config.ts'
import { FleetServer } from '../src/server.ts'
import type { Store } from '../src/store.ts'
import { FakeManager } from './helpers/fake-manager.ts'
import { FakeStore } from './helpers/fake-store.ts'
import { job } from './helpers/jobs.ts'
import { recordLog, type RecordedLog } from './helpers/surroundings.ts'

interface Fixture {
  readonly store: FakeStore
  readonly server: FleetServer
  readonly log: RecordedLog
  readonly manager: FakeManager
  /** The configuration with other metadata. */
  readonly config: (metadata: string) => Config
  /** What the server is given when it opens the store. */
  open: () => Promise<Store>
}

function fixture(t: Test): Fixture {
  const store = new FakeStore()
  const log = recordLog()
  const config = (metadata: string): Config => {
    const env = { FLEET_MACHINE_ID: 'M', FLEET_PUBLIC_IP: '10.0.0.1', FLEET_ETCD_KEY_PREFIX: '/f' }
    return readConfig({ ...env, FLEET_METADATA: metadata }).config
  }
  const manager = new FakeManager(join(t.testdir(), 'units'))
  const fixed: Fixture = {
    store,
    log,
    manager,
    config,
    open: async () => await Promise.resolve(store),
    server: new FleetServer(config('a=1'), {
      machineID: 'M',
      manager,
      log,
      listenFds: [],
      openStore: async () => await fixed.open(),
    }),
  }
  return fixed
}

const record = ({ store }: Fixture): string => store.tree('/f/machines')['M/object'] ?? ''

test('a reload goes on with the new configuration', async (t) => {
  const around = fixture(t)
  await around.server.start()
  t.match(record(around), '"Metadata":{"a":"1"}')
  await around.server.reload(around.config('a=2'))
  while (!record(around).includes('"Metadata":{"a":"2"}')) await new Promise(setImmediate)
  await around.server.stop()
  t.equal(record(around), '')
})

test('what happened while the machine ID was in use is known before anything is done', async (t) => {
  const around = fixture(t)
  const units = new UnitRegistry(around.store, registryKeys('/f'))
  await units.putUnit('a.service', job('a.service').file.options, 'launched')
  await around.store.set('/f/job/a.service/target', 'M')
  const stranger = '{"ID":"M","PublicIP":"10.9.9.9"}'
  await around.store.set('/f/machines/M/object', stranger, { ttl: 30 })
  // The watch tells nothing, as over a slow connection: only what is read anew is known.
  around.store.isMute = true
  const starting = around.server.start()
  while (!around.log.lines.some((line) => line.includes('machine ID is in use'))) {
    await new Promise(setImmediate)
  }
  await around.store.set('/f/job/a.service/target', 'N')
  around.store.advance(31)
  await starting
  while (!around.log.lines.some((line) => line.includes('engine: became leader'))) {
    await new Promise(setImmediate)
  }
  await around.server.stop()
  t.same(around.manager.calls, [])
})

test('a reload that cannot open the store leaves everything as it was', async (t) => {
  const around = fixture(t)
  await around.server.start()
  around.open = async () => await Promise.reject(new Error('no such certificate'))
  await t.rejects(around.server.reload(around.config('a=2')), { message: 'no such certificate' })
  t.notOk(around.store.isClosed, 'the session before lives on')
  t.match(record(around), '"Metadata":{"a":"1"}')
  await around.server.stop()
  t.equal(record(around), '')
})

test('a reload towards a store that does not answer is corrected by the next', async (t) => {
  const around = fixture(t)
  await around.server.start()
  around.store.isAway = true
  await around.server.reload(around.config('a=2'))
  t.match(record(around), '"Metadata":{"a":"1"}')
  around.store.isAway = false
  await around.server.reload(around.config('a=3'))
  while (!record(around).includes('"Metadata":{"a":"3"}')) await new Promise(setImmediate)
  await around.server.stop()
})

test('an outage of the store with many units is no leak to Node', async (t) => {
  const around = fixture(t)
  const units = new UnitRegistry(around.store, registryKeys('/f'))
  const names = Array.from({ length: 12 }, (_, at) => `u${at}.service`)
  for (const name of names) {
    await units.putUnit(name, job(name).file.options, 'launched')
    await around.store.set(`/f/job/${name}/target`, 'M')
  }
  const warnings: string[] = []
  const onWarning = ({ message }: Error): void => void warnings.push(message)
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  await around.server.start()
  const isSaid = (subState: string): boolean =>
    names.every((name) => around.store.tree('/f/states')[`${name}/M`]?.includes(subState))
  while (!isSaid('running')) await new Promise(setImmediate)
  around.store.isAway = true
  const before = around.store.asked.length
  for (const name of names) around.manager.set(name, 'failed', 'failed')
  while (around.store.asked.length < before + 2 * names.length) await new Promise(setImmediate)
  // The failed writes wait for their next try, all at one signal.
  await new Promise(setImmediate)
  around.store.isAway = false
  while (!isSaid('failed')) await new Promise(setImmediate)
  await around.server.stop()
  t.same(warnings, [])
})

test('a server that is stopped while it reloads leaves the cluster all the same', async (t) => {
  const around = fixture(t)
  await around.server.start()
  const reloading = around.server.reload(around.config('a=2'))
  await Promise.resolve()
  await around.server.stop()
  await reloading
  t.equal(record(around), '')
  t.same(around.store.tree('/f/lease'), {})
})

test('a server that is stopped before the store is open never joins', async (t) => {
  const around = fixture(t)
  const waiting: ((store: Store) => void)[] = []
  around.open = async () => await new Promise((resolve) => waiting.push(resolve))
  const work = [around.server.start(), around.server.reload(around.config('a=2'))]
  await around.server.stop()
  for (const resolve of waiting) resolve(around.store)
  await Promise.all(work)
  t.ok(around.store.isClosed)
  t.same(around.store.asked, [])
})
