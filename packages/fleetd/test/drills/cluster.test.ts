import tap, { test } from 'tap'
import { Cluster, freePort, until } from '../helpers/cluster.ts'

tap.setTimeout(180_000)

const FAST = { FLEET_AGENT_TTL: '2s', FLEET_ENGINE_RECONCILE_INTERVAL: '0.4' }
const UNITS = Array.from({ length: 9 }, (_, at) => `u${at}.service`)

const isEach =
  (count: number, wanted: (machines: readonly string[]) => boolean) =>
  (placed: ReadonlyMap<string, readonly string[]>): boolean =>
    placed.size === count && [...placed.values()].every(wanted)

test('three machines with units, through everything that can happen to them', async (all) => {
  const tied = { ...FAST, FLEET_EMBEDDED_TIE: 'true' }
  const cluster = new Cluster(all, await freePort(), [FAST, FAST, tied])
  const [a, b, c] = cluster.machines
  if (a === undefined || b === undefined || c === undefined) throw new Error('three machines')
  cluster.start()
  const url = await a.url()
  const listed = async (): Promise<string[]> => {
    const body: unknown = await (await fetch(`${url}/fleet/v1/machines`)).json()
    const { machines } = { machines: [], ...(typeof body === 'object' ? body : {}) }
    return machines.map(({ id }: { id: string }) => id)
  }
  const joined = async (count: number): Promise<void> => {
    await until(`${count} machines`, async () => {
      const ids = await listed()
      return ids.length === count ? { done: true } : { seen: ids }
    })
  }
  await joined(3)
  // From here on nobody has to be given time to come back.
  const pids = (names = UNITS): number[] => names.flatMap((name) => cluster.alive(name))

  await all.test('nine units spread 3/3/3 and run once', async (t) => {
    for (const name of UNITS) await cluster.submit(url, name, 'launched')
    const placed = await cluster.placed(
      url,
      'nine units',
      isEach(9, (it) => it.length === 1),
    )
    for (const { id } of cluster.machines) {
      t.equal([...placed.values()].filter(([it]) => it === id).length, 3)
    }
    t.equal(pids().length, 9)
  })

  await all.test('a unit stops, starts and is destroyed', async (t) => {
    await cluster.setState(url, 'u8.service', 'loaded')
    await cluster.placed(
      url,
      'eight units',
      isEach(8, () => true),
    )
    t.same(cluster.alive('u8.service'), [])
    await cluster.setState(url, 'u8.service', 'launched')
    await cluster.placed(
      url,
      'nine units',
      isEach(9, () => true),
    )
    t.equal(cluster.starts('u8.service').length, 2)
    await fetch(`${url}/fleet/v1/units/u8.service`, { method: 'DELETE' })
    await until('no trace of it', async () => {
      const states = await cluster.states(url)
      return states.some(({ name }) => name === 'u8.service') ? {} : { done: true }
    })
    t.same(cluster.alive('u8.service'), [])
  })

  await all.test('a fleetd that is killed and comes back finds its units running', async (t) => {
    const before = pids()
    await b.fleetd.end('SIGKILL')
    b.start()
    await until('registration', async () => {
      await Promise.resolve()
      return /server: registered[^]*server: registered/.test(b.fleetd.log) ? { done: true } : {}
    })
    await cluster.placed(
      url,
      'eight units',
      isEach(8, (it) => it.length === 1),
    )
    t.same(pids(), before)
  })

  await all.test('the store away for more than two TTLs stops and moves nothing', async (t) => {
    const [before, placed] = [
      pids(),
      await cluster.placed(
        url,
        'all',
        isEach(8, () => true),
      ),
    ]
    await cluster.kvd.end('SIGKILL')
    // Every machine has given up hope, and its record would be gone for long.
    await until('unanswered heartbeats', async () => {
      const answer = await fetch(`${url}/fleet/v1/machines`)
      return answer.status === 503 ? { done: true } : { seen: answer.status }
    })
    await new Promise((resolve) => setTimeout(resolve, 5000))
    cluster.kvd.start()
    await joined(3)
    const after = await cluster.placed(
      url,
      'the same',
      isEach(8, (it) => it.length === 1),
    )
    // Longer than an engine waits before it takes a machine for lost.
    await new Promise((resolve) => setTimeout(resolve, 3000))
    t.same(pids(), before)
    t.same([...after], [...placed])
  })

  await all.test('units of a machine that dies run elsewhere within five seconds', async (t) => {
    const lost = UNITS.filter((name) => cluster.alive(name).length > 0)
    const started = performance.now()
    await c.fleetd.end('SIGKILL')
    await cluster.placed(
      url,
      'all on two machines',
      isEach(8, (it) => it.every((id) => id !== c.id)),
    )
    const seconds = (performance.now() - started) / 1000
    t.comment(`moved after ${seconds.toFixed(1)} s`)
    t.ok(seconds < 5, `${seconds} s`)
    for (const name of lost) t.equal(cluster.alive(name).length, 1, `${name}: its old copy is gone`)
    t.equal((await listed()).includes(c.id), false)
  })

  await all.test(
    'an untied fleetd that stays away leaves copies, which end when it is back',
    async (t) => {
      await b.fleetd.end('SIGKILL')
      await cluster.placed(
        url,
        'all on one machine',
        isEach(8, (it) => it.every((id) => id === a.id)),
      )
      t.ok(pids().length > 8, `${pids().length} processes`)
      b.start()
      await joined(2)
      await until('one of each', async () => {
        await Promise.resolve()
        return pids().length === 8 ? { done: true } : { seen: pids().length }
      })
    },
  )

  await all.test('a fleetd that is asked to end takes its units along', async (t) => {
    await a.fleetd.end('SIGTERM')
    const other = await b.url()
    await cluster.placed(
      other,
      'all on the last machine',
      isEach(8, (it) => it.every((id) => id === b.id)),
    )
    t.equal(pids().length, 8)
    await b.fleetd.end('SIGTERM')
    t.same(pids(), [])
  })
})
