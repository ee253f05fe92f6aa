import t from 'tap'
import {
  ancestorsOf,
  depthOf,
  Layout,
  parentOf,
  spansAround,
} from '../../src/engine-etcd3/layout.ts'

const layout = new Layout('/v2')

t.test('files, markers and companions lie by depth', async (tt) => {
  tt.equal(layout.file('/q/x'), '/v2/003/k//1/q/x')
  tt.equal(layout.marker('/q'), '/v2/002/k//1/q/')
  tt.equal(layout.companion('/q/x'), '/v2/003/x//1/q/x')
  tt.equal(layout.order('/'), '/v2/001/o//1')
  tt.same(layout.below('/', 1), { key: '/v2/002/k//1/', end: '/v2/002/k//10' })
  tt.same(layout.below('/q', 2), { key: '/v2/004/k//1/q/', end: '/v2/004/k//1/q0' })
  tt.same(layout.all, { key: '/v2/', end: '/v20' })
})

t.test('a key is read back for what it is, whatever bytes it has', async (tt) => {
  for (const key of ['/k', '/a/b', '/a\nb', '/é/\udcff', '/k/x', '/1']) {
    tt.same(layout.parse(layout.file(key)), { type: 'file', key })
    tt.same(layout.parse(layout.marker(key)), { type: 'marker', key })
    tt.same(layout.parse(layout.companion(key)), { type: 'companion', key })
  }
  tt.same(layout.parse('/v2/act'), { type: 'action' })
  tt.same(layout.parse('/v2/evt'), { type: 'event' })
})

t.test('what is no part of the tree stands for nothing', async (tt) => {
  for (const key of [
    '/v2/003/o//1/q/x',
    '/v2/003/k//2/q',
    '/v2/k//1/q',
    '/v2/001/k//1/',
    '/v2x/002/k//1/q',
    '/other',
  ])
    tt.equal(layout.parse(key), undefined, key)
})

t.test('children of a directory are one span, and its neighbours are not in it', async (tt) => {
  const { key, end = '' } = layout.below('/q', 1)
  const isIn = (text: string): boolean => text >= key && text < end
  tt.ok(isIn(layout.file('/q/x')) && isIn(layout.marker('/q/d')))
  for (const other of [layout.file('/q2/x'), layout.file('/q'), layout.file('/q/d/e')])
    tt.notOk(isIn(other), other)
})

t.test('a span without one key of it', async (tt) => {
  const key = layout.file('/q/m')
  const spans = spansAround(layout.below('/q', 1), key)
  const isIn = (text: string): boolean =>
    spans.some((span) => text >= span.key && text < (span.end ?? ''))
  tt.notOk(isIn(key))
  for (const name of ['/q/l', '/q/m!', '/q/ma', '/q/n']) tt.ok(isIn(layout.file(name)), name)
  tt.ok(isIn(layout.marker('/q/m')), 'a directory of that name')
})

t.test('what is above a key', async (tt) => {
  tt.same(ancestorsOf('/a/b/c'), ['/a', '/a/b'])
  tt.same(ancestorsOf('/a'), [])
  tt.same(['/', '/a', '/a/b'].map(depthOf), [0, 1, 2])
  tt.same(['/a', '/a/b'].map(parentOf), ['/', '/a'])
})
