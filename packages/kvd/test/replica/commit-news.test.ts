import t from 'tap'
import type { Message, MessageOf } from '../../src/raft/types.ts'
import { CommitNews } from '../../src/replica/commit-news.ts'

/** Commit news of member `a`, with what left and the moments that were asked for. */
function open() {
  const sent: Message[] = []
  const later: (() => void)[] = []
  const news = new CommitNews({
    later: (run) => later.push(run),
    send: (message) => sent.push(message),
  })
  return { news, sent, later }
}

function app(to: string, commit: number, count = 0): MessageOf<'app'> {
  const entries = Array.from({ length: count }, (_, at) => ({
    index: commit + 1 + at,
    term: 2,
    kind: 'noop' as const,
    id: '',
    data: new Uint8Array(),
    chain: 0,
  }))
  const [prevIndex, prevTerm, prevChain] = [commit, 2, 0]
  return {
    type: 'app',
    from: 'a',
    to,
    term: 2,
    incarnation: 1,
    prevIndex,
    prevTerm,
    prevChain,
    entries,
    commit,
  }
}

function placed(to: string, index: number): Message {
  const result = { type: 'appended', index, term: 2 } as const
  return { type: 'propResp', from: 'a', to, term: 2, incarnation: 1, id: 'p', result }
}

t.test('news of a commit leave after a moment, the latest alone', (tt) => {
  const { news, sent, later } = open()
  news.pass(app('b', 4))
  news.pass(app('c', 4))
  news.pass(app('b', 5))
  tt.same(sent, [])
  tt.equal(later.length, 1, 'one moment for all')
  later[0]?.()
  tt.same(sent, [app('b', 5), app('c', 4)])
  news.pass(app('b', 6))
  tt.equal(later.length, 2)
  tt.end()
})

t.test('entries take the news with them', (tt) => {
  const { news, sent, later } = open()
  news.pass(app('b', 4))
  news.pass(app('c', 4))
  news.pass(app('b', 4, 2))
  later[0]?.()
  tt.same(sent, [app('b', 4, 2), app('c', 4)])
  tt.end()
})

t.test('a member that waits for its own entry hears of its commit at once', (tt) => {
  const { news, sent, later } = open()
  news.pass(placed('b', 7))
  news.pass(app('b', 6))
  news.pass(app('b', 7))
  news.pass(app('c', 7))
  tt.same(sent, [placed('b', 7), app('b', 6), app('b', 7)])
  news.pass(app('b', 8))
  later[0]?.()
  tt.same(sent.slice(3), [app('c', 7), app('b', 8)])
  tt.end()
})

t.test('the commit of its entry may come with others', (tt) => {
  const { news, sent } = open()
  news.pass(placed('b', 7))
  news.pass(app('b', 7, 1))
  news.pass(app('b', 8))
  tt.same(sent, [placed('b', 7), app('b', 7, 1)])
  tt.end()
})

t.test('whatever tells of no commit leaves at once', (tt) => {
  const { news, sent, later } = open()
  const beat: Message = {
    type: 'hb',
    from: 'a',
    to: 'b',
    term: 2,
    incarnation: 1,
    life: 0,
    commit: 3,
    readBatch: 0,
    clusterMs: 0,
  }
  const dropped: Message = {
    type: 'propResp',
    from: 'a',
    to: 'b',
    term: 2,
    incarnation: 1,
    id: 'p',
    result: { type: 'dropped' },
  }
  news.pass(beat)
  news.pass(dropped)
  tt.same(sent, [beat, dropped])
  tt.same(later, [])
  tt.end()
})
