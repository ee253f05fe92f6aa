import * as fc from 'fast-check'
import { test } from 'tap'
import { backoffMs, pause } from '../src/backoff.ts'
import { basicAuth, parseEndpoint } from '../src/cluster.ts'
import {
  ClusterError,
  errorCode,
  isKvError,
  KvError,
  MemberError,
  TransportError,
} from '../src/errors.ts'
import { cleanKey, encodeForm, escapeQuery, keyPath } from '../src/keys.ts'
import { matches } from '../src/watch/match.ts'
import { Mailbox } from '../src/watch/mailbox.ts'
import { parseFrame, watchFrame } from '../src/watch/frames.ts'
import { parseError, parseKeysAnswer, parseNode } from '../src/wire.ts'

test('a key is cleaned like a path and escaped as Go does', (t) => {
  const table: readonly (readonly [string, string])[] = [
    ['/a', '/v2/keys/a'],
    ['a', '/v2/keys/a'],
    ['', '/v2/keys/'],
    ['/', '/v2/keys/'],
    ['//', '/v2/keys/'],
    ['a//b', '/v2/keys/a/b'],
    ['/a/', '/v2/keys/a/'],
    ['/a/./b/../c', '/v2/keys/a/c'],
    ['/../../version', '/v2/keys/version'],
    ['/a?b#c', '/v2/keys/a%3Fb%23c'],
    ['/a b', '/v2/keys/a%20b'],
    ['/a%2Fb', '/v2/keys/a%252Fb'],
    ['/café', '/v2/keys/caf%C3%A9'],
    ["/$&+,:;=@-_.~!*'()", '/v2/keys/$&+,:;=@-_.~%21%2A%27%28%29'],
    ['/\ud800', '/v2/keys/%EF%BF%BD'],
  ]
  for (const [key, path] of table) t.equal(keyPath(key), path, JSON.stringify(key))
  t.equal(cleanKey('a//b/'), '/a/b')
  t.end()
})

test('a form is sorted by name, leaves out what is not given, and reads back', (t) => {
  t.equal(encodeForm({ value: 'v w', ttl: '100', refresh: undefined }), 'ttl=100&value=v+w')
  t.equal(encodeForm({}), '')
  t.equal(escapeQuery("a+b&c=d~!*'()"), 'a%2Bb%26c%3Dd~%21%2A%27%28%29')
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (value) => {
      t.equal(new URLSearchParams(encodeForm({ value })).get('value'), value)
    }),
  )
  t.end()
})

test('an answer becomes a response with the indexes of its headers', (t) => {
  const headers = {
    'x-etcd-index': '7',
    'x-raft-index': '9',
    'x-raft-term': '2',
    'x-etcd-cluster-id': 'ab',
  }
  const node = { key: '/a', value: '', ttl: 1, expiration: 'x', modifiedIndex: 7, createdIndex: 7 }
  const prevNode = { key: '/a', dir: true, nodes: [], modifiedIndex: 5, createdIndex: 5 }
  const body = JSON.stringify({ action: 'set', node, prevNode })
  t.strictSame(parseKeysAnswer({ status: 201, headers, body }), {
    action: 'set',
    node,
    prevNode,
    etcdIndex: 7,
    raftIndex: 9,
    raftTerm: 2,
    clusterId: 'ab',
  })
  const root = { action: 'get', node: { dir: true, nodes: [{ key: '/a', dir: true }] } }
  const answer = parseKeysAnswer({ status: 200, headers: {}, body: JSON.stringify(root) })
  t.equal(answer.node.key, '/', 'the root has a name')
  t.equal(answer.etcdIndex, 0, 'no header is 0')
  t.strictSame(parseNode({ nodes: null }), { key: '/', modifiedIndex: 0, createdIndex: 0 })
  t.end()
})

test('answers that are no v2 answers are refused with BAD_ANSWER', (t) => {
  const bodies = [
    '',
    'x',
    '[]',
    '{}',
    '{"action":1,"node":{}}',
    '{"action":"get","node":[]}',
    '{"action":"get","node":null}',
    '{"action":"get","node":{"key":5}}',
    '{"action":"get","node":{"value":5}}',
    '{"action":"get","node":{"nodes":{}}}',
    '{"action":"get","node":{"modifiedIndex":"5"}}',
    `{"action":"get","node":${'{"nodes":['.repeat(100_000)}${']}'.repeat(100_000)}}`,
  ]
  for (const body of bodies) {
    t.throws(
      () => parseKeysAnswer({ status: 200, headers: {}, body }),
      { name: 'TransportError', code: 'BAD_ANSWER' },
      body.slice(0, 80),
    )
  }
  t.end()
})

test('errors keep what the server said', (t) => {
  const key = parseError({
    status: 404,
    headers: {},
    body: '{"errorCode":100,"message":"Key not found","cause":"/x","index":12}\n',
  })
  t.match(key, { errorCode: 100, message: 'Key not found', subject: '/x', index: 12, status: 404 })
  t.ok(isKvError(key))
  t.ok(isKvError(key, 101, 100))
  t.notOk(isKvError(key, 101))
  t.notOk(isKvError(new Error('x')))
  const member = parseError({ status: 409, headers: {}, body: '{"message":"ID exists"}' })
  t.match(member, { errorCode: 0, message: 'ID exists', subject: '', index: 0, status: 409 })
  t.equal(parseError({ status: 404, headers: {}, body: '404 page\n' }).message, '404 page')
  t.equal(parseError({ status: 404, headers: {}, body: '' }).message, 'HTTP status 404')
  t.equal(parseError({ status: 400, headers: {}, body: '{}' }).message, 'HTTP status 400')
  t.end()
})

test('errors of endpoints have the words users know', (t) => {
  const cluster = new ClusterError('UNAVAILABLE', [])
  t.equal(cluster.message, 'client: etcd cluster is unavailable or misconfigured')
  t.match(new MemberError('http://a', 500, 'x', ''), {
    message: 'client: etcd member http://a has no leader',
  })
  t.match(new MemberError('http://a', 503, 'x', ''), {
    message: 'client: etcd member http://a has no leader',
  })
  t.match(new MemberError('http://a', 502, 'Bad Gateway', ''), {
    message: 'client: etcd member http://a returns server error [Bad Gateway]',
  })
  t.equal(errorCode(new TransportError('x', 'ECONNREFUSED', false)), 'ECONNREFUSED')
  t.equal(errorCode(new Error('x')), '')
  t.equal(errorCode('x'), '')
  t.end()
})

test('an endpoint without a scheme is http; other schemes are refused', (t) => {
  t.equal(parseEndpoint('127.0.0.1:2379').href, 'http://127.0.0.1:2379/')
  t.equal(parseEndpoint(' https://a.example:1/x ').href, 'https://a.example:1/x')
  t.throws(() => parseEndpoint('unix:///x'), TypeError)
  t.throws(() => parseEndpoint('http://'), TypeError)
  t.equal(basicAuth('root', 'é'), `Basic ${Buffer.from('root:é').toString('base64')}`)
  t.equal(basicAuth('root'), `Basic ${Buffer.from('root:').toString('base64')}`)
  t.equal(basicAuth(''), undefined)
  t.equal(basicAuth(undefined), undefined)
  t.end()
})

test('the wait doubles up to its ceiling, half of it by chance', (t) => {
  const limits = { minMs: 100, maxMs: 1000 }
  const waits = [1, 2, 3, 4, 5, 99].map((failures) => backoffMs(failures, limits, () => 0))
  t.strictSame(waits, [50, 100, 200, 400, 500, 500])
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5000 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (n, chance) => {
        const wait = backoffMs(n, limits, () => chance)
        t.ok(wait >= 50 && wait <= 1000)
      },
    ),
  )
  t.end()
})

test('a pause ends early when its signal is aborted', async (t) => {
  const controller = new AbortController()
  const paused = pause(1e8, controller.signal)
  controller.abort()
  await paused
  await pause(1e8, controller.signal)
  await pause(1, new AbortController().signal)
  t.pass('none of them waited')
})

test('a watch shows what a live watch hears', (t) => {
  const event = (key: string, action = 'set') => ({
    action,
    node: { key, modifiedIndex: 1, createdIndex: 1 },
    etcdIndex: 1,
    raftIndex: 0,
    raftTerm: 0,
    clusterId: '',
  })
  const table: readonly (readonly [string, boolean, string, string, boolean])[] = [
    ['/a', false, '/a', 'set', true],
    ['/a', false, '/a/b', 'set', false],
    ['/a', true, '/a/b/c', 'set', true],
    ['/a', true, '/ab', 'set', false],
    ['/a', true, '/a/_h', 'set', false],
    ['/a', true, '/a/b/_h/c', 'set', false],
    ['/a', true, '/a/b_', 'set', true],
    ['/_h', false, '/_h', 'set', true],
    ['/_h', true, '/_h/a', 'set', true],
    ['/a/b', false, '/a', 'delete', true],
    ['/a/b', true, '/a', 'expire', true],
    ['/a/b', false, '/a', 'set', false],
    ['/ab', false, '/a', 'delete', false],
    ['/', true, '/a', 'set', true],
    ['/', true, '/_h', 'set', false],
    ['/', false, '/a', 'set', false],
  ]
  for (const [key, recursive, path, action, heard] of table) {
    const name = `${key} ${recursive ? 'recursive ' : ''}${action} ${path}`
    t.equal(matches(key, recursive, event(path, action)), heard, name)
  }
  t.end()
})

test('a mailbox gives in order, waits, and counts what waits', async (t) => {
  const box = new Mailbox<number>()
  const first = box.next()
  box.push(1, 10)
  t.equal(await first, 1)
  box.push(2, 20)
  box.push(3)
  t.equal(box.count, 2)
  t.equal(box.bytes, 20)
  t.equal(await box.next(), 2)
  t.equal(box.bytes, 0)
  t.equal(await box.next(), 3)
})

test('frames of kvd are read, unknown types passed over, malformed ones refused', (t) => {
  t.equal(
    watchFrame(1, { key: '/a', recursive: true, after: undefined }),
    '{"op":"watch","id":1,"key":"/a","recursive":true}',
  )
  t.strictSame(parseFrame('{"id":1,"type":"started","index":23,"oldest":5}'), {
    type: 'started',
    id: 1,
    index: 23,
  })
  const gone = parseFrame(
    '{"id":1,"type":"gone","errorCode":401,"message":"m","cause":"c","index":23,"oldest":5}',
  )
  t.match(gone, {
    type: 'refused',
    error: { errorCode: 401, subject: 'c', index: 23, status: 400 },
  })
  const denied = parseFrame('{"id":1,"type":"error","errorCode":110,"message":"m"}')
  t.match(denied, { type: 'refused', error: { errorCode: 110, status: 401 } })
  t.match(parseFrame('{"id":0,"type":"error"}'), { type: 'refused', error: { errorCode: 0 } })
  t.equal(parseFrame('{"id":1,"type":"news"}'), undefined)
  for (const bad of ['', '{', '[]', '{"id":1}', '{"type":"progress"}', '{"id":1,"type":"event"}']) {
    t.throws(() => parseFrame(bad), { code: 'BAD_ANSWER' }, bad)
  }
  t.end()
})

test('a KvError is an error', (t) => {
  const error = new KvError('Key not found', {
    errorCode: 100,
    subject: '/a',
    index: 1,
    status: 404,
  })
  t.ok(error instanceof Error)
  t.equal(error.name, 'KvError')
  t.end()
})
