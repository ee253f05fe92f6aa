import t from 'tap'
import { aloneLog, committedUpTo, type AloneOptions } from '../../src/membership/alone.ts'
import { decodeChange, encodeChange, type MemberChange } from '../../src/membership/change.ts'
import type { Entry } from '../../src/raft/types.ts'
import { entryChain } from '../../src/storage/entry-codec.ts'

const add = (id: string, isLearner = false): MemberChange => {
  return { type: 'add', id, peerURLs: [`http://${id}:1`], isLearner }
}

/** Entries from `first` on; a text is a request. */
function logOf(first: number, ...contents: (MemberChange | string)[]): Entry[] {
  const entries: Entry[] = []
  for (const content of contents) {
    const index = first + entries.length
    const isText = typeof content === 'string'
    const data = isText ? Buffer.from(content) : encodeChange(content)
    const bare = { index, term: 2, kind: isText ? 'request' : 'conf', id: '', data } as const
    entries.push({ ...bare, chain: entryChain(entries.at(-1)?.chain ?? 0, bare) })
  }
  return entries
}

const none = { voters: [], learners: [] }
const three = { voters: ['a', 'b', 'c'], learners: [] }
const own = { id: 'a', peerURLs: ['http://a:1'], term: 5, base: { index: 0, chain: 0 } }

/** `remove b` and the like. */
function textOf(entry: Entry): string {
  const change = decodeChange(entry)
  return `${change.type} ${change.id}`
}

t.test('what was committed stays, and the others are removed', async (tt) => {
  type Given = Pick<AloneOptions, 'conf' | 'applied' | 'commit' | 'entries'>
  const cases: [what: string, given: Given, kept: number, added: string[]][] = [
    [
      'what was not committed is dropped',
      { conf: three, applied: 3, commit: 4, entries: logOf(1, 'x', 'x', 'x', 'x', 'x', 'x') },
      4,
      ['remove b', 'remove c'],
    ],
    [
      'before it was a member nothing is',
      { conf: none, applied: 0, commit: 0, entries: logOf(1, add('a'), 'x', 'x') },
      0,
      ['add a'],
    ],
    [
      'of a member alone all was committed, whatever was known of it',
      { conf: none, applied: 0, commit: 1, entries: logOf(1, add('a'), 'x', 'x') },
      3,
      [],
    ],
    [
      'learners do not count',
      { conf: none, applied: 0, commit: 1, entries: logOf(1, add('a'), add('b', true), 'x') },
      3,
      ['remove b'],
    ],
    [
      'until there is another one that does',
      { conf: none, applied: 0, commit: 1, entries: logOf(1, add('a'), 'x', add('b'), 'x') },
      3,
      ['remove b'],
    ],
    [
      'one that came by the log goes as well',
      { conf: three, applied: 1, commit: 3, entries: logOf(1, 'x', add('d'), 'x', add('e')) },
      3,
      ['remove b', 'remove c', 'remove d'],
    ],
    [
      'one that went by the log is gone',
      {
        conf: three,
        applied: 1,
        commit: 3,
        entries: logOf(1, 'x', { type: 'remove', id: 'b' }, 'x'),
      },
      3,
      ['remove c'],
    ],
    [
      'what the store has is not done again',
      { conf: three, applied: 2, commit: 2, entries: logOf(1, 'x', { type: 'remove', id: 'c' }) },
      2,
      ['remove b', 'remove c'],
    ],
    [
      'a learner of the store counts from now on',
      { conf: { voters: ['b'], learners: ['a'] }, applied: 1, commit: 1, entries: logOf(1, 'x') },
      1,
      ['promote a', 'remove b'],
    ],
    [
      'a learner of the log too',
      { conf: none, applied: 0, commit: 2, entries: logOf(1, add('b'), add('a', true)) },
      2,
      ['promote a', 'remove b'],
    ],
    [
      'but not one that was promoted',
      {
        conf: none,
        applied: 0,
        commit: 3,
        entries: logOf(1, add('b'), add('a', true), { type: 'promote', id: 'a' }),
      },
      3,
      ['remove b'],
    ],
    [
      'whoever was none becomes a member',
      { conf: { voters: ['b'], learners: [] }, applied: 1, commit: 1, entries: logOf(1, 'x') },
      1,
      ['add a', 'remove b'],
    ],
  ]
  for (const [what, given, kept, added] of cases) {
    const log = aloneLog({ ...own, ...given })
    tt.same(log.kept, given.entries.slice(0, kept), what)
    const last = given.entries[kept - 1]?.index ?? 0
    tt.equal(
      committedUpTo({ ...own, ...given }),
      Math.max(given.commit, last),
      `${what}: up to where`,
    )
    tt.same(log.added.map(textOf), added, what)
  }
})

t.test('the changes go on where the log ends', async (tt) => {
  const entries = logOf(8, 'x', 'x')
  const base = { index: 7, chain: 99 }
  for (const [commit, last] of [
    [8, entries[0]],
    [7, base],
  ] as const) {
    const { added } = aloneLog({ ...own, base, conf: three, applied: 7, commit, entries })
    let before = last ?? base
    for (const entry of added) {
      tt.match(entry, { index: before.index + 1, term: 5, kind: 'conf', id: '' })
      tt.equal(entry.chain, entryChain(before.chain, entry))
      before = entry
    }
    tt.equal(added.length, 2)
  }
})

t.test('the URLs that it was given are those of one that was no member', async (tt) => {
  const given = { conf: none, applied: 0, commit: 0, entries: [] }
  const [entry] = aloneLog({ ...own, ...given }).added
  tt.same(entry && decodeChange(entry), add('a'))
})
