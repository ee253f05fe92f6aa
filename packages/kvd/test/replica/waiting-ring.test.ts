import t from 'tap'
import { numberIn, WaitingRing } from '../../src/replica/waiting-ring.ts'

interface One {
  readonly number: number
  readonly name: string
}

function ringOf(...names: readonly string[]): WaitingRing<One> {
  const ring = new WaitingRing<One>()
  for (const name of names) ring.add({ number: ring.next(), name })
  return ring
}

t.test('what waits is taken once, by its number', async (tt) => {
  const ring = ringOf('a', 'b', 'c')
  tt.equal(ring.take(2)?.name, 'b')
  for (const number of [2, 0, 4, 1_025, NaN]) tt.equal(ring.take(number), undefined, `${number}`)
  tt.equal(ring.size, 2)
  tt.same(
    ring.all().map(({ name }) => name),
    ['a', 'c'],
  )
  ring.clear()
  tt.same([ring.size, ring.all(), ring.take(1)], [0, [], undefined])
  tt.equal(ring.next(), 4, 'a number is not given twice')
})

t.test('one that waits for long is not lost among the many that come and go', async (tt) => {
  const ring = ringOf('patient')
  for (let count = 0; count < 10_000; count += 1) {
    const number = ring.next()
    ring.add({ number, name: '' })
    tt.ok(ring.take(number) !== undefined, `${number}`)
  }
  tt.equal(ring.take(1)?.name, 'patient')
  tt.equal(ring.size, 0)
})

t.test('there is room for all that wait, in their order', async (tt) => {
  const ring = new WaitingRing<One>()
  for (let count = 0; count < 5_000; count += 1) ring.add({ number: ring.next(), name: '' })
  tt.equal(ring.size, 5_000)
  tt.same(
    ring.all().map(({ number }) => number),
    Array.from({ length: 5_000 }, (_, at) => at + 1),
  )
  for (let number = 5_000; number > 0; number -= 1) tt.equal(ring.take(number)?.number, number)
  tt.equal(ring.size, 0)
})

t.test('the number is read out of a name', async (tt) => {
  for (const number of [1, 9, 10, 35, 36, 1_295, 1_296, 2 ** 31, 2 ** 52 + 1])
    tt.equal(numberIn(`x9.${number.toString(36)}`, 3), number)
  for (const name of ['/1', 'A', '-1', ' 1', '1.', 'é', '']) tt.equal(numberIn(name, 0), 0, name)
})
