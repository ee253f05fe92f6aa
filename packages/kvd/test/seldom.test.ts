import t from 'tap'
import { Seldom } from '../src/seldom.ts'

const MINUTE = 60_000

t.test('what goes on is said once, and again after ten minutes', async (tt) => {
  const seldom = new Seldom()
  const said = (ms: number): boolean => seldom.isNews('a1', 'refused', ms)
  tt.same([said(0), said(1_000), said(9 * MINUTE), said(10 * MINUTE)], [true, false, false, true])
  tt.ok(seldom.isNews('a1', 'another reason', 1_000))
  tt.ok(seldom.isNews('b2', 'refused', 1_000))
})

t.test('reasons that take turns are each said once', async (tt) => {
  const seldom = new Seldom()
  const addresses = ['h:2380', 'h:7001']
  const said = Array.from({ length: 3600 }, (_, second) => second).filter((second) =>
    seldom.isNews('a1', `refused ${addresses[second % 2] ?? ''}`, 1000 * second),
  )
  tt.equal(said.length, 12, 'two addresses, six times an hour')
})

t.test('what was well in between is news again', async (tt) => {
  const seldom = new Seldom()
  seldom.isNews('a1', 'refused', 0)
  seldom.isNews('a11', 'refused', 0)
  seldom.forget('a1')
  tt.ok(seldom.isNews('a1', 'refused', 1))
  tt.notOk(seldom.isNews('a11', 'refused', 1), 'somebody else')
})

t.test('strangers who make up names do not fill the log', async (tt) => {
  const seldom = new Seldom()
  const saidIn = (startMs: number): number =>
    Array.from({ length: 1000 }, (_, at) => at).filter((at) =>
      seldom.isNews(`name${startMs}-${at}`, 'refused', startMs),
    ).length
  tt.equal(saidIn(0), 100)
  tt.equal(saidIn(10 * MINUTE), 100, 'after a while there is room again')
})
