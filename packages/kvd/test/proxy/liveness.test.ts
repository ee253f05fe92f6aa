import { createServer } from 'node:net'
import { once } from 'node:events'
import t from 'tap'
import { dialHost, Liveness } from '../../src/proxy/liveness.ts'
import { openServer } from '../helpers/loopback.ts'

const MEMBER = new URL('http://10.0.0.1:2379')

/** A host whose attempts the test answers one by one. */
class Host {
  readonly liveness = new Liveness(1, async () => await this.#asked())
  #answers: ((isThere: boolean) => void)[] = []
  #waiting: (() => void)[] = []

  async #asked(): Promise<boolean> {
    return await new Promise((resolve) => {
      this.#answers.push(resolve)
      this.#waiting.shift()?.()
    })
  }

  /** Resolves when the next attempt is under way. */
  async dialled(): Promise<void> {
    if (this.#answers.length === 0)
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  async answer(isThere: boolean): Promise<void> {
    await this.dialled()
    this.#answers.shift()?.(isThere)
  }
}

t.test('who waits for a host that is gone is told after two attempts', async (tt) => {
  const host = new Host()
  let told = 0
  const gone = new Promise<void>((resolve) => {
    const stop = host.liveness.wait(MEMBER, () => {
      told += 1
      stop()
      resolve()
    })
  })
  await host.answer(false)
  await host.dialled()
  tt.equal(told, 0, 'not after one')
  await host.answer(false)
  await gone
  tt.equal(told, 1)
})

t.test('a host that answers in between is there', async (tt) => {
  const host = new Host()
  let told = 0
  const stop = host.liveness.wait(MEMBER, () => (told += 1))
  for (const isThere of [false, true, false, true]) await host.answer(isThere)
  await host.dialled()
  tt.equal(told, 0)
  stop()
})

t.test('who came after the first attempt began waits for one more', async (tt) => {
  const host = new Host()
  const told: string[] = []
  const stopEarly = host.liveness.wait(MEMBER, () => {
    told.push('early')
    stopEarly()
  })
  await host.dialled()
  const stopLate = host.liveness.wait(MEMBER, () => told.push('late'))
  await host.answer(false)
  await host.answer(false)
  await host.dialled()
  tt.same(told, ['early'])
  await host.answer(false)
  await host.dialled()
  tt.same(told, ['early', 'late'])
  stopLate()
})

t.test('one attempt at a time asks for all who wait at one host', async (tt) => {
  let dials = 0
  let looked: (() => void) | undefined
  const first = new Promise<void>((resolve) => (looked = resolve))
  const liveness = new Liveness(1, async () => {
    dials += 1
    looked?.()
    return await new Promise<boolean>(() => {})
  })
  const stops = Array.from({ length: 100 }, () => liveness.wait(MEMBER, () => {}))
  await first
  tt.equal(dials, 1)
  for (const stop of stops) stop()
})

t.test('a host is there when it takes or refuses connections', async (tt) => {
  const open = await openServer(tt, () => {})
  tt.equal(await dialHost(new URL(open), 60_000), true)
  const closed = createServer().listen(0, '127.0.0.1')
  await once(closed, 'listening')
  const address = closed.address()
  const port = typeof address === 'object' ? address?.port : undefined
  closed.close()
  await once(closed, 'close')
  tt.equal(await dialHost(new URL(`http://127.0.0.1:${port}`), 60_000), true)
})
