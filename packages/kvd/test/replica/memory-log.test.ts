import t from 'tap'
import { MemoryLog } from '../../src/replica/memory-log.ts'
import { Bench } from '../helpers/raft-lab.ts'

interface Filled {
  readonly bench: Bench
  readonly memory: MemoryLog
  readonly propose: (count: number, bytes?: number) => void
  readonly kept: () => { first: number; last: number; applied: number }
}

/** A leader that is alone, and its log in memory. */
function fill(): Filled {
  const bench = new Bench('a', ['a']).lead()
  const memory = new MemoryLog(bench.core)
  const propose = (count: number, bytes = 1): void => {
    for (let at = 0; at < count; at += 1)
      bench.core.propose({ kind: 'request', id: '', data: new Uint8Array(bytes) })
    const from = bench.applied.length
    bench.pump()
    for (const entry of bench.applied.slice(from)) memory.applied(entry)
  }
  const kept = (): ReturnType<Filled['kept']> => {
    const { first, last, applied } = bench.core.view.log
    return { first, last, applied }
  }
  return { bench, memory, propose, kept }
}

t.test('a member alone forgets what it has applied at once', async (tt) => {
  const { bench, memory, propose, kept } = fill()
  propose(3)
  memory.cut(false, Infinity)
  const { first, last, applied } = kept()
  tt.same([first, last], [applied + 1, applied])
  propose(1)
  tt.equal(kept().applied, applied + 1, 'the log goes on')
  tt.same(bench.terms, [1])
})

t.test('for others that are a little behind the last 5000 are kept, more or less', async (tt) => {
  const { memory, propose, kept } = fill()
  for (let round = 1; round <= 12; round += 1) {
    propose(1000)
    memory.cut(true, Infinity)
    const { first, last } = kept()
    const count = last - first + 1
    tt.ok(count >= Math.min(5000, last), `${count} after ${last}`)
    tt.ok(count <= 6001, `${count} after ${last}`)
  }
})

t.test('and at most 64 MiB of them', async (tt) => {
  const { memory, propose, kept } = fill()
  let most = 0
  for (let count = 0; count < 100; count += 1) {
    propose(1, 1 << 20)
    memory.cut(true, Infinity)
    const { first, last } = kept()
    most = Math.max(most, last - first + 1)
    tt.ok(last - first + 1 >= Math.min(count, 31), 'half of it stays')
  }
  tt.ok(most <= 65, `${most} MiB at the most`)
})

t.test('what somebody who gets a snapshot will need is held', async (tt) => {
  for (const isKept of [false, true]) {
    const { memory, propose, kept } = fill()
    propose(9000)
    memory.cut(isKept, 2000)
    const { first } = kept()
    tt.equal(first, 2001, isKept ? 'among others' : 'alone')
    memory.cut(isKept, Infinity)
    tt.ok(kept().first > 2001, 'until it is let go')
  }
})

t.test('behind a snapshot the count begins anew', async (tt) => {
  const { memory, propose, kept } = fill()
  propose(40, 1 << 20)
  memory.restart()
  propose(40, 1 << 20)
  memory.cut(true, Infinity)
  tt.equal(kept().first, 1)
})
