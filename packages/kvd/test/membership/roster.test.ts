import t from 'tap'
import { attributesCommand } from '../../src/cluster.ts'
import { Machine, type Changed } from '../../src/machine.ts'
import {
  confChangeOf,
  decodeChange,
  encodeChange,
  removedBy,
  type MemberChange,
} from '../../src/membership/change.ts'
import type { ConfChange, Entry } from '../../src/raft/types.ts'
import { entryChain } from '../../src/storage/entry-codec.ts'
import { Store } from '../../src/store/store.ts'
import { NOW } from '../helpers/commands.ts'

function entryOf(change: MemberChange, index = 1): Entry {
  const bare = { index, term: 1, kind: 'conf', id: '', data: encodeChange(change) } as const
  return { ...bare, chain: entryChain(0, bare) }
}

function newMachine(): { machine: Machine; change: (change: MemberChange) => Changed } {
  const machine = new Machine(new Store({ historySize: 100 }))
  return { machine, change: (change) => machine.applyChange(entryOf(change)) }
}

const add = (id: string, ...peerURLs: string[]): MemberChange => {
  return { type: 'add', id, peerURLs, isLearner: false }
}
const learn = (id: string, ...peerURLs: string[]): MemberChange => {
  return { type: 'add', id, peerURLs, isLearner: true }
}
const promote = (id: string): MemberChange => ({ type: 'promote', id })
const update = (id: string, ...peerURLs: string[]): MemberChange => {
  return { type: 'update', id, peerURLs }
}
const remove = (id: string): MemberChange => ({ type: 'remove', id })

t.test('a change survives its entry, and says what it means for consensus', async (tt) => {
  const cases: [change: MemberChange, means: ConfChange, removes: string | undefined][] = [
    [add('a', 'http://a:1', 'http://a:2'), { type: 'addVoter', id: 'a' }, undefined],
    [learn('a', 'http://ä:1'), { type: 'addLearner', id: 'a' }, undefined],
    [promote('a'), { type: 'addVoter', id: 'a' }, undefined],
    [update('a', 'http://b:1'), { type: 'none' }, undefined],
    [remove('a'), { type: 'remove', id: 'a' }, 'a'],
  ]
  for (const [change, means, removes] of cases) {
    const entry = entryOf(change)
    tt.same(decodeChange(entry), change)
    tt.same(confChangeOf(change), means)
    tt.equal(removedBy(entry), removes)
  }
})

t.test('each change is judged by what is there when its turn comes', async (tt) => {
  const { machine, change } = newMachine()
  const { roster, store } = machine
  type Step = [change: MemberChange, verdict: ConfChange | string, voters: string, learners: string]
  const steps: Step[] = [
    [add('b1', 'http://b:1'), { type: 'addVoter', id: 'b1' }, 'b1', ''],
    [add('a2', 'http://a:1', 'http://a:2'), { type: 'addVoter', id: 'a2' }, 'a2,b1', ''],
    [learn('9', 'http://c:1'), { type: 'addLearner', id: '9' }, 'a2,b1', '9'],
    [add('9', 'http://x:1'), 'idExists', 'a2,b1', '9'],
    [learn('b1', 'http://x:1'), 'idExists', 'a2,b1', '9'],
    [add('d', 'http://x:1', 'http://a:2'), 'urlExists', 'a2,b1', '9'],
    [learn('d', 'http://c:1'), 'urlExists', 'a2,b1', '9'],
    [update('9', 'http://c:2'), { type: 'none' }, 'a2,b1', '9'],
    [learn('d', 'http://c:1'), { type: 'addLearner', id: 'd' }, 'a2,b1', '9,d'],
    [update('b1', 'http://b:1', 'http://b:2'), { type: 'none' }, 'a2,b1', '9,d'],
    [update('b1', 'http://c:2'), 'urlExists', 'a2,b1', '9,d'],
    [update('e', 'http://e:1'), 'notFound', 'a2,b1', '9,d'],
    [promote('9'), { type: 'addVoter', id: '9' }, '9,a2,b1', 'd'],
    [promote('9'), { type: 'addVoter', id: '9' }, '9,a2,b1', 'd'],
    [promote('e'), 'notFound', '9,a2,b1', 'd'],
    [remove('e'), 'notFound', '9,a2,b1', 'd'],
    [remove('a2'), { type: 'remove', id: 'a2' }, '9,b1', 'd'],
    [remove('d'), { type: 'remove', id: 'd' }, '9,b1', ''],
    [remove('a2'), 'idRemoved', '9,b1', ''],
    [add('a2', 'http://new:1'), 'idRemoved', '9,b1', ''],
    [learn('d', 'http://new:1'), 'idRemoved', '9,b1', ''],
    [promote('d'), 'idRemoved', '9,b1', ''],
    [update('a2', 'http://new:1'), 'idRemoved', '9,b1', ''],
    [add('f', 'http://a:1'), { type: 'addVoter', id: 'f' }, '9,b1,f', ''],
  ]
  for (const [step, verdict, voters, learners] of steps) {
    const what = JSON.stringify(step)
    const before = store.index
    const isRefused = typeof verdict === 'string'
    const problem = isRefused ? verdict : undefined
    tt.same(change(step), { change: isRefused ? { type: 'none' } : verdict, problem }, what)
    if (isRefused) tt.equal(store.index, before, `${what} leaves no trace`)
    const { conf } = machine
    tt.same([conf.voters.join(), conf.learners.join()], [voters, learners], what)
  }
  tt.same(
    ['a2', 'd', 'b1', 'e'].map((id) => roster.isRemoved(id)),
    [true, true, false, false],
  )
})

t.test('the store has members where the original has them', async (tt) => {
  const { machine, change } = newMachine()
  const { store, roster } = machine
  change(add('b1', 'http://b:1', 'http://a:1'))
  change(learn('9', 'http://c:1'))
  store.apply(attributesCommand('b1', { name: 'one', clientURLs: ['http://b:2'] }, NOW))
  tt.equal(store.index, 3, 'one step each')
  const peek = (key: string): string | undefined => store.peek('cluster', key)
  const cases: [key: string, value: string | undefined][] = [
    ['/members/b1/raftAttributes', '{"peerURLs":["http://b:1","http://a:1"]}'],
    ['/members/b1/attributes', '{"name":"one","clientURLs":["http://b:2"]}'],
    ['/members/9/raftAttributes', '{"peerURLs":["http://c:1"],"isLearner":true}'],
  ]
  for (const [key, value] of cases) tt.equal(peek(key), value, key)
  tt.same(roster.members(), [
    { id: '9', name: '', peerURLs: ['http://c:1'], clientURLs: [], isLearner: true },
    {
      id: 'b1',
      name: 'one',
      peerURLs: ['http://b:1', 'http://a:1'],
      clientURLs: ['http://b:2'],
      isLearner: false,
    },
  ])
  tt.equal(roster.member('c'), undefined)

  change(promote('9'))
  tt.equal(
    peek('/members/9/raftAttributes'),
    '{"peerURLs":["http://c:1"]}',
    'as the original has it',
  )
  change(remove('b1'))
  tt.equal(store.index, 6, 'a removal takes two')
  tt.same(store.peekNames('cluster', '/members'), ['9'])
  tt.equal(peek('/removed_members/b1'), 'removed')
})

t.test('an entry does what its kind says', async (tt) => {
  const { machine } = newMachine()
  const noop = {
    index: 1,
    term: 1,
    kind: 'noop',
    id: '',
    data: new Uint8Array(),
    chain: 0,
  } as const
  tt.equal(machine.applyRequest(noop), undefined)
  machine.apply(noop)
  tt.equal(machine.store.index, 0, 'the first of a term does nothing')
  machine.apply(entryOf(add('a', 'http://a:1'), 2))
  tt.same(machine.conf.voters, ['a'])
})
