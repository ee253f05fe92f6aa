import type { KvNode } from '@flotilla/kv-client'
import * as fc from 'fast-check'
import t from 'tap'
import { DiscoveryError } from '../../src/discovery/discovery-error.ts'
import {
  clusterOf,
  parseMembers,
  readRoster,
  readSize,
  registrationText,
} from '../../src/discovery/roster.ts'
import { shownUrl } from '../../src/discovery/shown-url.ts'

/** A directory as the store lists it; each entry is its id and when it was created. */
function directory(...entries: [id: string, createdIndex: number, value?: string][]): KvNode {
  const nodes = entries.map(([id, createdIndex, value = `${id}=http://${id}:2380`]) => ({
    key: `/_etcd/registry/t/${id}`,
    value,
    createdIndex,
    modifiedIndex: 99 - createdIndex,
  }))
  return { key: '/_etcd/registry/t', dir: true, nodes, createdIndex: 1, modifiedIndex: 1 }
}

function codeOf(work: () => unknown): string {
  try {
    work()
    return 'accepted'
  } catch (error) {
    if (!(error instanceof DiscoveryError)) throw error
    return error.code
  }
}

t.test('the size is a decimal of at least 1', async (tt) => {
  tt.same(['1', '3', '+5', '007'].map(readSize), [1, 3, 5, 7])
  for (const text of ['', '0', '-1', '1.5', '0x3', ' 3', '3 ', 'three', '9'.repeat(30)])
    tt.equal(
      codeOf(() => readSize(text)),
      'BAD_SIZE',
      JSON.stringify(text),
    )
})

t.test('whoever came first counts, and the size is no member', async (tt) => {
  const listed = directory(['c', 9], ['_config', 2], ['a', 7], ['b', 8])
  const idsOf = (size: number, own?: string): string =>
    readRoster(listed, size, own)
      .members.map(({ id }) => id)
      .join('')
  tt.equal(idsOf(3), 'abc')
  tt.equal(idsOf(2), 'ab')
  tt.equal(idsOf(5), 'abc')
  const cases: [size: number, own: string | undefined, isFull: boolean][] = [
    [4, 'z', false],
    [3, 'z', true],
    [2, 'z', true],
    [3, 'c', false],
    [2, 'c', true],
    [2, 'b', false],
    [3, undefined, true],
    [4, undefined, false],
  ]
  for (const [size, own, isFull] of cases)
    tt.equal(readRoster(listed, size, own).isFull, isFull, `${own} of ${size}`)
  const empty: KvNode = { key: '/t', dir: true, createdIndex: 1, modifiedIndex: 1 }
  tt.same(readRoster(empty, 1, 'a'), { size: 1, members: [], isFull: false })
})

t.test('what is registered is the name with each URL, and reads back', async (tt) => {
  const text = registrationText('m', ['http://h:2', 'http://h:1'])
  tt.equal(text, 'm=http://h:1,m=http://h:2')
  tt.same([...parseMembers([text])], [['m', ['http://h:1', 'http://h:2']]])
  const url = fc
    .tuple(fc.domain(), fc.integer({ min: 1, max: 65_535 }), fc.constantFrom('http', 'https'))
    .map(([host, port, scheme]) => `${scheme}://${host}:${port}`)
  const name = fc.string({ minLength: 1 }).filter((one) => !/[,=]/.test(one))
  fc.assert(
    fc.property(name, fc.uniqueArray(url, { minLength: 1 }), (own, urls) => {
      tt.same([...parseMembers([registrationText(own, urls)])], [[own, urls.toSorted()]])
    }),
  )
})

t.test('the initial cluster is what the first ones registered', async (tt) => {
  const of = (size: number, ...values: string[]) =>
    clusterOf(
      readRoster(
        directory(...values.map((value, at): [string, number, string] => [`${at}`, at, value])),
        size,
        undefined,
      ),
    )
  tt.same(
    [...of(2, 'a=http://a:1,a=https://[::1]:2', ' b=http://b:1'.trim(), 'c=nonsense')],
    [
      ['a', ['http://a:1', 'https://[::1]:2']],
      ['b', ['http://b:1']],
    ],
    'later ones may be nonsense',
  )
  const wrong: [values: string[], code: string][] = [
    [['a=http://a:1', 'a=http://b:1'], 'DUPLICATE_NAME'],
    [['a=http://a:1,b=http://b:1', 'c=http://c:1'], 'DUPLICATE_NAME'],
    [['a=http://a:1', 'b=http://a:1'], 'DUPLICATE_URL'],
    ...['', 'a', 'a=', '=http://a:1', 'http://a:1', 'a=ftp://a:1', 'a=http://a', 'a=http://a:1/x']
      .concat('a=http://a b:1', 'a=http://a:99999', 'a=http://a:1,,')
      .map((value): [string[], string] => [['b=http://b:1', value], 'INVALID_URL']),
  ]
  for (const [values, code] of wrong)
    tt.equal(
      codeOf(() => of(2, ...values)),
      code,
      JSON.stringify(values),
    )
})

t.test('a URL is shown without its password', async (tt) => {
  const urls: [url: string, shown: string][] = [
    ['http://h:1/t', 'http://h:1/t'],
    ['http://user@h:1/t', 'http://user@h:1/t'],
    ['https://user:pw:2@h/t@x:y', 'https://user:xxxxx@h/t@x:y'],
    ['user:pw@p:3128', 'user:xxxxx@p:3128'],
    ['http://:pw@h', 'http://:xxxxx@h'],
    ['p:3128', 'p:3128'],
  ]
  for (const [url, shown] of urls) tt.equal(shownUrl(url), shown)
})
