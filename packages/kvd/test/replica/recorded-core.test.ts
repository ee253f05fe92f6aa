import t from 'tap'
import type { CoreOptions } from '../../src/raft/state.ts'
import type { CrashReport } from '../../src/replica/crash-report.ts'
import { RecordedCore } from '../../src/replica/recorded-core.ts'

const SECRET = 'the value of a key'

function coreOf(broken: (report: CrashReport) => void): RecordedCore {
  let ms = 0
  const options: CoreOptions = {
    id: 'a',
    electionTicks: 10,
    heartbeatTicks: 1,
    random: () => 0,
    clock: () => ms,
    elapsed: () => (ms += 1),
    stamp: (proposal) => proposal,
    chain: (before) => before + 1,
    removes: () => undefined,
    incarnation: 3,
    maxMessageBytes: 1e6,
    window: { messages: 10, bytes: 1e6 },
    maxUncommittedBytes: 1e6,
    maxApplyBytes: 1e6,
    start: {
      hard: { term: 1, vote: '0', commit: 0, isDamaged: false },
      conf: { voters: ['a', 'b'], learners: [] },
      log: { index: 0, term: 0, chain: 0, entries: [] },
      applied: 0,
    },
  }
  return new RecordedCore(options, broken)
}

t.test('a core that breaks tells its last thousand steps, without data, and breaks', async (tt) => {
  const reports: CrashReport[] = []
  const core = coreOf((report) => reports.push(report))
  const head = { from: 'b', to: 'a', term: 2, incarnation: 1 } as const
  const data = Buffer.from(SECRET)
  const entry = { term: 2, kind: 'request', id: '1', data } as const
  for (let n = 0; n < 1_200; n += 1) core.tick()
  core.step({
    ...head,
    type: 'app',
    prevIndex: 0,
    prevTerm: 0,
    prevChain: 0,
    commit: 2,
    entries: [1, 2].map((index) => ({ ...entry, index, chain: index })),
  })
  core.propose({ kind: 'request', id: '2', data })
  const { seq } = core.ready()
  core.persisted(seq)
  tt.equal(core.ready().committed.length, 2)
  for (const index of [1, 2]) core.applied(index)
  tt.throws(() => core.persisted(99), { code: 'INVARIANT', rule: 'persisted' })
  const [report, ...others] = reports
  if (report === undefined) throw new Error('no report')
  tt.same(others, [])
  const { steps } = report
  tt.equal(steps.length, 1000)
  tt.same(
    steps.slice(-8).map(({ what }) => what),
    ['tick', 'step', 'propose', 'ready', 'persisted', 'ready', 'applied', 'persisted'],
  )
  tt.ok(
    steps.every(({ ms }, at) => at === 0 || ms > (steps[at - 1]?.ms ?? 0)),
    'in their order',
  )
  tt.match(steps.at(-7)?.about, { type: 'app', entries: { count: 2, last: { bytes: 18 } } })
  tt.match(steps.at(-6)?.about, { first: '2', last: '2', count: 1 })
  tt.match(steps.at(-2)?.about, { first: 1, last: 2, count: 2 }, 'what comes in rows is one step')
  tt.match(report.core, {
    id: 'a',
    incarnation: 3,
    hard: { term: 2 },
    lead: 'b',
    log: { commit: 2, durable: 2, applied: 2, entries: [{ index: 1, kind: 'request' }] },
  })
  tt.notOk(JSON.stringify(report).includes(SECRET))
  tt.notOk(JSON.stringify(report).includes(JSON.stringify(data)))
})

t.test('forwarded writes come in rows too, without their data', async (tt) => {
  const reports: CrashReport[] = []
  const core = coreOf((report) => reports.push(report))
  const head = { from: 'b', to: 'a', term: 1, incarnation: 1 } as const
  for (const id of ['1', '2', '3'])
    core.step({
      ...head,
      type: 'prop',
      proposal: { kind: 'request', id, data: Buffer.from(SECRET) },
    })
  tt.throws(() => core.persisted(99), { code: 'INVARIANT' })
  const [row] = reports[0]?.steps ?? []
  tt.match(row, { what: 'step prop', about: { first: '1', last: '3', count: 3 } })
  tt.notOk(JSON.stringify(reports).includes(SECRET))
})
