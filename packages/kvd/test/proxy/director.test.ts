import t from 'tap'
import { Director } from '../../src/proxy/director.ts'
import { readMembers } from '../../src/proxy/members.ts'

t.test('an endpoint that failed is left alone for a while', async (tt) => {
  const director = new Director(5000, () => 0)
  tt.same(director.available(0), [])
  director.update(['http://a', 'http://b', 'http://c', 'http://a'])
  tt.same(director.available(1000), ['http://a', 'http://b', 'http://c'], 'each one once')
  director.markUnavailable('http://b', 1000)
  director.markUnavailable('http://nobody', 1000)
  tt.same(director.available(5999), ['http://a', 'http://c'])
  tt.same(director.available(6000), ['http://a', 'http://b', 'http://c'])
  director.markUnavailable('http://a', 6000)
  tt.same(director.urls, ['http://a', 'http://b', 'http://c'], 'it is still known')
  director.update(['http://a'])
  tt.same(director.available(6000), ['http://a'], 'a new list begins anew')
})

t.test('proxies spread over the members', async (tt) => {
  const director = new Director(5000, () => 0.99)
  director.update(['http://a', 'http://b', 'http://c'])
  tt.same(director.urls, ['http://c', 'http://b', 'http://a'])
})

t.test('what a peer port says about its members', async (tt) => {
  const cases: [document: unknown, clientURLs: string[] | undefined][] = [
    [
      [
        { id: 1, peerURLs: ['http://p:1'], name: 'a', clientURLs: ['http://c:1', 'http://c:2'] },
        { peerURLs: ['http://q:1'] },
      ],
      ['http://c:1', 'http://c:2'],
    ],
    [[], []],
    [
      [null, 7, 'x', { clientURLs: 'no list' }, { clientURLs: [1, 'c', 'http://c:3'] }],
      ['http://c:3'],
    ],
    [{ members: [] }, undefined],
    [null, undefined],
  ]
  for (const [document, clientURLs] of cases)
    tt.same(readMembers(document)?.clientURLs, clientURLs, JSON.stringify(document))
})
