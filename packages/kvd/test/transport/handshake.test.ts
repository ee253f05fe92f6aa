import t from 'tap'
import {
  greetingHeaders,
  judgeGreeting,
  readGreeting,
  type Greeting,
  type Host,
} from '../../src/transport/handshake.ts'

const greeting: Greeting = {
  clusterId: 'cf84bb6b9e7f3d',
  from: 'a1',
  to: 'b2',
  version: '0.2.0',
  minVersion: '0.1.0',
  peerURLs: ['http://10.0.0.1:2380', 'http://10.0.0.1:7001'],
  incarnation: 7,
}
const host: Host = {
  clusterId: 'cf84bb6b9e7f3d',
  id: 'b2',
  version: '0.1.5',
  minVersion: '0.1.0',
  isMember: (id) => id === 'a1',
  isRemoved: (id) => id === 'dead',
  incarnationOf: (id) => (id === 'a1' ? 7 : 0),
}

t.test('a greeting survives its headers', async (tt) => {
  tt.strictSame(readGreeting(greetingHeaders(greeting)), greeting)
  const none = { ...greeting, peerURLs: [] }
  tt.strictSame(readGreeting(greetingHeaders(none)), none)
})

t.test('headers that are no greeting', async (tt) => {
  const headers = greetingHeaders(greeting)
  const cases: [name: string, value: string | undefined][] = [
    ['x-etcd-cluster-id', undefined],
    ['x-server-from', 'not hex'],
    ['x-server-from', '00a1'],
    ['x-raft-to', ''],
    ['x-server-version', '2.3'],
    ['x-min-cluster-version', 'new'],
    ['x-kvd-incarnation', '-1'],
    ['x-kvd-incarnation', undefined],
  ]
  for (const [name, value] of cases)
    tt.equal(readGreeting({ ...headers, [name]: value }), undefined, `${name}: ${value}`)
  tt.equal(readGreeting({}), undefined)
})

t.test('who is let in', async (tt) => {
  const cases: [
    what: string,
    greeting: Greeting | undefined,
    status: number | undefined,
    text: RegExp,
  ][] = [
    ['a member', greeting, undefined, /^$/],
    ['a member that started anew', { ...greeting, incarnation: 8 }, undefined, /^$/],
    ['no kvd', undefined, 400, /kvd and etcd cannot be members of one cluster/],
    ['another cluster', { ...greeting, clusterId: 'beef' }, 412, /^cluster ID mismatch$/],
    ['too old', { ...greeting, version: '0.0.9' }, 412, /^incompatible version$/],
    ['too new', { ...greeting, minVersion: '0.1.6' }, 412, /^incompatible version$/],
    ['as new as can be', { ...greeting, version: '1.0.0', minVersion: '0.1.5' }, undefined, /^$/],
    ['for another', { ...greeting, to: 'c3' }, 412, /^to field mismatch$/],
    ['a stranger', { ...greeting, from: 'e5' }, 404, /^error sender not found$/],
    ['removed', { ...greeting, from: 'dead' }, 410, /^removed member$/],
    ['an earlier life', { ...greeting, incarnation: 6 }, 409, /^stale incarnation$/],
  ]
  for (const [what, said, status, text] of cases) {
    const refusal = judgeGreeting(said, host)
    tt.equal(refusal?.status, status, what)
    tt.match(refusal?.text ?? '', text, what)
  }
})
