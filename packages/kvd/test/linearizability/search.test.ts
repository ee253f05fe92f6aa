import t from 'tap'
import { countFrom, Random, seedFrom } from '../helpers/random.ts'
import { drawOperations, isLinearizable } from './brute-force.ts'
import { parseHistory, printHistory, type Answer, type Operation, type Request } from './history.ts'
import { namesOf } from './model.ts'
import { checkOrder } from './order.ts'
import { checkPosts } from './posts.ts'
import { search } from './search.ts'
import { FAULTS } from './stub/faults.ts'
import { runStub } from './stub/run.ts'
import { judge, prefix, shortestFailing } from './verdict.ts'

// The checker is checked: against brute force, and against a server with planted faults.
// FLOTILLA_LIN_CASES for a long run, FLOTILLA_LIN_SEED to replay a failed one.

const seed = seedFrom('FLOTILLA_LIN_SEED')
const cases = countFrom('FLOTILLA_LIN_CASES', 6000)
const stubSeeds = countFrom('FLOTILLA_LIN_STUB_SEEDS', 10)
const stubSeconds = 6

t.setTimeout(120_000 + cases * 20)

t.test(`the search agrees with brute force on ${cases} histories (seed ${seed})`, (tt) => {
  const random = new Random(seed)
  let good = 0
  for (let n = 1; n <= cases; n += 1) {
    const operations = drawOperations(random)
    const names = namesOf(operations)
    const expected = isLinearizable(operations, names)
    const { type } = search(operations, names)
    if (expected) good += 1
    if ((type === 'linearizable') === expected) continue
    tt.fail(`history ${n} is ${expected ? '' : 'not '}linearizable and was called ${type}`, {
      operations,
    })
    break
  }
  tt.ok(good > cases / 5 && good < (cases * 4) / 5, `${good} of them are linearizable`)
  tt.end()
})

let number = 0
function op(call: number, end: number, request: Partial<Request>, answer?: Answer): Operation {
  number += 1
  const full: Request = { f: 'set', k: '/k', ...request }
  const base = { op: number, p: 1, ep: 'a', request: full, call, end }
  return answer === undefined ? base : { ...base, answer }
}

t.test('a search that would take too long is undecided, which is no pass', (tt) => {
  const writes = Array.from({ length: 12 }, (_, n) =>
    op(n, 100 + n, { v: `1.${n}` }, { etcdIndex: 50, prev: `no ${n}` }),
  )
  const free = writes.map(({ answer: _answer, ...open }) => ({ ...open, end: Infinity }))
  const read = op(200, 201, { f: 'get' }, { etcdIndex: 50, v: 'never written' })
  tt.equal(search([...free, read], new Map(), 100).type, 'undecided')
  tt.equal(search([...free, read], new Map(), 1_000_000).type, 'violation')
  tt.end()
})

t.test('the shortest failing prefix ends with the answer that cannot be explained', (tt) => {
  const operations = [
    op(1, 2, { v: '1.1' }, { etcdIndex: 4, mod: 4, created: 4 }),
    op(3, 4, { f: 'get' }, { etcdIndex: 4, v: '1.1', mod: 4 }),
    op(5, 6, { v: '1.2' }, { etcdIndex: 5, mod: 5, created: 5, prev: '1.1', prevMod: 4 }),
    op(7, 8, { f: 'get' }, { etcdIndex: 5, v: '1.1', mod: 4 }),
    op(9, 10, { f: 'get' }, { etcdIndex: 5, v: '1.1', mod: 4 }),
    op(11, 12, { f: 'get' }, { etcdIndex: 5, v: '1.2', mod: 5 }),
  ]
  tt.same(shortestFailing(operations), operations.slice(0, 4))
  tt.equal(prefix(operations, 5).length, 3, 'a write under way may have happened')
  tt.equal(prefix(operations, 7).length, 3, 'a read under way tells nothing')
  tt.end()
})

t.test('a comparison by index is one with the value of that index', (tt) => {
  const first = op(1, 2, { v: '1.1' }, { etcdIndex: 7, mod: 7, created: 7 })
  const second = op(
    3,
    4,
    { v: '1.2' },
    { etcdIndex: 8, mod: 8, created: 8, prev: '1.1', prevMod: 7 },
  )
  const asked = { f: 'cas', v: '1.3', exp: '1.1', at: 7 } as const
  const right = op(5, 6, asked, { etcdIndex: 8, code: 101, cur: '8' })
  const wrong = op(5, 6, asked, { etcdIndex: 8, code: 101, cur: '7' })
  const verdict = (last: Operation) => {
    const operations = [first, second, last]
    return search(operations, namesOf(operations)).type
  }
  tt.equal(verdict(right), 'linearizable')
  tt.equal(verdict(wrong), 'violation')
  tt.end()
})

t.test('each rule of the order across keys is checked', (tt) => {
  const set = (call: number, v: string, answer: Answer, k = '/k') =>
    op(call, call + 1, { v, k }, answer)
  const get = (call: number, v: string, answer: Answer) =>
    op(call, call + 1, { f: 'get' }, { v, ...answer })
  const ids = (...operations: Operation[]) => checkOrder(operations).map(({ id }) => id)
  const first = set(1, '1.1', { etcdIndex: 5, mod: 5, created: 5 })
  tt.same(ids(first, get(3, '1.1', { etcdIndex: 5, mod: 5, created: 5 })), [])
  tt.same(ids(first, get(3, '1.1', { etcdIndex: 6, mod: 6, created: 5 })), ['I1'])
  tt.same(ids(first, get(3, '1.1', { etcdIndex: 6, mod: 5, created: 4 })), ['I1'])
  tt.same(ids(first, set(1, '1.2', { etcdIndex: 6, mod: 5, created: 5 }, '/other')), ['I2'])
  tt.same(ids(set(1, '1.1', { etcdIndex: 5, mod: 5, created: 6 })), ['I3'])
  tt.same(ids(first, set(3, '1.2', { etcdIndex: 5, mod: 4, created: 4 }, '/other')), ['I4'])
  tt.same(
    ids(first, set(1, '1.2', { etcdIndex: 5, mod: 4, created: 4 }, '/other')),
    [],
    'those under way at the same time may have either order',
  )
  const unknown = op(3, Infinity, { v: '1.2', k: '/other' })
  const seen = op(5, 6, { f: 'get', k: '/other' }, { etcdIndex: 5, v: '1.2', mod: 4 })
  tt.same(ids(first, unknown, seen), ['I4'], 'a write without an answer is known by its value')
  const missing = (isLocal: boolean) =>
    op(3, 4, { f: 'get', k: '/gone', ...(isLocal && { isLocal }) }, { etcdIndex: 4, code: 100 })
  tt.same(ids(first, missing(false)), ['I5'])
  tt.same(ids(first, missing(true)), [], 'a local read may be late')
  tt.same(ids(set(1, '1.1', { etcdIndex: 4, mod: 5, created: 5 })), ['I6'])
  tt.end()
})

t.test('each rule of posts is checked', (tt) => {
  const name = (index: number) => String(index).padStart(20, '0')
  const post = (call: number, v: string, mod: number, madeAs = name(mod)) =>
    op(call, call + 1, { f: 'post', v }, { etcdIndex: mod, mod, created: mod, name: madeAs })
  const list = (call: number, ...shown: [v: string, mod: number][]) =>
    op(
      call,
      call + 1,
      { f: 'list' },
      {
        etcdIndex: 9,
        items: shown.map(([v, mod]) => ({ name: name(mod), v, mod })),
      },
    )
  const ids = (...operations: Operation[]) => checkPosts(operations).map(({ id }) => id)
  const two = [post(1, '1.1', 5), post(3, '1.2', 6)] as const
  tt.same(ids(...two, list(5, ['1.1', 5], ['1.2', 6])), [])
  tt.same(ids(post(1, '1.1', 5, name(4))), ['P1'])
  tt.same(ids(...two, list(5, ['1.1', 5], ['1.2', 6], ['1.1', 7])), ['P2'])
  tt.same(ids(...two, list(5, ['1.1', 5])), ['P3'])
  tt.same(ids(...two, list(5, ['1.1', 5], ['1.2', 6], ['7.7', 8])), ['P4'])
  tt.same(ids(list(1, ['1.1', 5]), post(3, '1.1', 5)), ['P4'], 'not before it was sent')
  tt.same(
    ids(
      post(1, '1.1', 5),
      op(2, 9, { f: 'post', v: '1.2' }, post(0, '1.2', 6).answer),
      {
        ...op(3, 4, { f: 'post', v: '1.3' }, post(0, '1.3', 7).answer),
      },
      list(6, ['1.1', 5], ['1.3', 7]),
    ),
    ['P5'],
  )
  tt.end()
})

t.test('a history survives being written down', (tt) => {
  const entries = runStub(seed, 1)
  tt.same(parseHistory(printHistory(entries)), entries)
  tt.throws(() => parseHistory('{"i":2}'), /line 1/)
  tt.end()
})

t.test(`a correct server passes (seeds from ${seed})`, (tt) => {
  let operations = 0
  for (let n = 0; n < 4 * stubSeeds; n += 1) {
    const verdict = judge(runStub(seed + n, stubSeconds, undefined, n % 2 === 0 ? 0 : 0.3))
    operations += verdict.operations
    tt.same(verdict.violations, [], `seed ${seed + n}: ${verdict.states} states`)
    tt.ok(verdict.unknown > 0, `with ${verdict.unknown} unknown outcomes`)
  }
  tt.comment(`${operations} operations`)
  tt.end()
})

t.test('local reads do not pass as reads through the log', (tt) => {
  const entries = runStub(seed, stubSeconds, undefined, 0.5)
  tt.same(judge(entries).violations, [])
  tt.ok(judge(entries, { judgesLocal: true }).violations.some(({ id }) => id === 'L'))
  tt.end()
})

t.test('a run is replayed by its seed', (tt) => {
  const run = (from: number) => printHistory(runStub(from, 1, 'stale read'))
  tt.ok(run(seed) === run(seed), 'to the byte')
  tt.ok(run(seed) !== run(seed + 1), 'and another seed is another run')
  tt.end()
})

for (const fault of FAULTS)
  t.test(`within ${stubSeconds} s a server is caught at: ${fault}`, (tt) => {
    const found = new Map<string, number>()
    for (let n = 0; n < stubSeeds; n += 1) {
      const { violations } = judge(runStub(seed + n, stubSeconds, fault))
      tt.ok(violations.length > 0, `seed ${seed + n}`)
      for (const { id } of violations) found.set(id, (found.get(id) ?? 0) + 1)
    }
    tt.comment([...found].map(([id, count]) => `${id}: ${count}`).join(', '))
    tt.end()
  })
