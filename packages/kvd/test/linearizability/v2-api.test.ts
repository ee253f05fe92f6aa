import t from 'tap'
import type { Request } from './history.ts'
import { askFor, brokenOf, endingOf } from './v2-api.ts'

const k = '/lin/k'

t.test('each request is the one of the v2 API', (tt) => {
  const cases: readonly (readonly [Request, object])[] = [
    [
      { f: 'get', k },
      { method: 'GET', path: '/v2/keys/lin/k?quorum=true' },
    ],
    [
      { f: 'get', k, isLocal: true },
      { method: 'GET', path: '/v2/keys/lin/k' },
    ],
    [
      { f: 'list', k },
      { method: 'GET', path: '/v2/keys/lin/k?sorted=true&quorum=true' },
    ],
    [
      { f: 'set', k, v: '1' },
      { method: 'PUT', path: '/v2/keys/lin/k', form: { value: '1' } },
    ],
    [
      { f: 'create', k, v: '1' },
      { method: 'PUT', path: '/v2/keys/lin/k', form: { value: '1', prevExist: 'false' } },
    ],
    [
      { f: 'update', k, v: '1' },
      { method: 'PUT', path: '/v2/keys/lin/k', form: { value: '1', prevExist: 'true' } },
    ],
    [
      { f: 'cas', k, v: '1', exp: '0' },
      { method: 'PUT', path: '/v2/keys/lin/k', form: { value: '1', prevValue: '0' } },
    ],
    [
      { f: 'cas', k, v: '1', exp: '0', at: 7 },
      { method: 'PUT', path: '/v2/keys/lin/k', form: { value: '1', prevIndex: '7' } },
    ],
    [
      { f: 'post', k, v: '1' },
      { method: 'POST', path: '/v2/keys/lin/k', form: { value: '1' } },
    ],
    [
      { f: 'delete', k },
      { method: 'DELETE', path: '/v2/keys/lin/k' },
    ],
    [
      { f: 'cad', k, exp: '0' },
      { method: 'DELETE', path: '/v2/keys/lin/k?prevValue=0' },
    ],
    [
      { f: 'cad', k, exp: '0', at: 7 },
      { method: 'DELETE', path: '/v2/keys/lin/k?prevIndex=7' },
    ],
  ]
  for (const [request, ask] of cases) tt.same(askFor(request), ask, JSON.stringify(request))
  tt.end()
})

t.test('answers say all that they know', (tt) => {
  const node = '"key":"/lin/k","value":"2","modifiedIndex":9,"createdIndex":4'
  const prev = '"key":"/lin/k","value":"1","modifiedIndex":7,"createdIndex":4'
  const body = `{"action":"compareAndSwap","node":{${node}},"prevNode":{${prev}}}\n`
  const r = { etcdIndex: 9, mod: 9, created: 4, prev: '1', prevMod: 7 }
  const reply = { status: 200, index: 9, body }
  tt.same(endingOf({ f: 'cas', k, v: '2', exp: '1' }, reply), { e: 'ok', r })
  tt.same(endingOf({ f: 'get', k }, reply), { e: 'ok', r: { ...r, v: '2' } })

  const post = '"key":"/q/00000000000000000012","value":"p","modifiedIndex":12,"createdIndex":12'
  const made = { status: 201, index: 12, body: `{"action":"create","node":{${post}}}` }
  const name = '00000000000000000012'
  tt.same(endingOf({ f: 'post', k: '/q', v: 'p' }, made), {
    e: 'ok',
    r: { etcdIndex: 12, mod: 12, created: 12, name },
  })
  const list = `{"action":"get","node":{"key":"/q","dir":true,"nodes":[{${post}}]}}`
  tt.same(endingOf({ f: 'list', k: '/q' }, { status: 200, index: 12, body: list }), {
    e: 'ok',
    r: { etcdIndex: 12, items: [{ name, v: 'p', mod: 12 }] },
  })
  tt.end()
})

t.test('an error of the store is an answer, one of the cluster leaves all open', (tt) => {
  const error = (code: number, cause: string, index = 9) =>
    JSON.stringify({ errorCode: code, message: 'm', cause, index })
  const asked: Request = { f: 'cas', k, v: '2', exp: '1' }
  const ending = (status: number, body: string) => endingOf(asked, { status, index: 9, body })
  tt.same(ending(412, error(101, '[1 != 7.7]')), {
    e: 'ok',
    r: { code: 101, etcdIndex: 9, cur: '7.7' },
  })
  tt.same(ending(404, error(100, '/lin')), { e: 'ok', r: { code: 100, etcdIndex: 9 } })
  tt.equal(ending(500, error(300, 'etcdserver: request timed out', 0)).e, 'info')
  tt.equal(ending(503, 'proxy').e, 'info')
  tt.equal(ending(200, '{"action":"se').e, 'info', 'half an answer')
  tt.equal(ending(404, '404 page not found').e, 'info')
  tt.end()
})

t.test('only a connection that never came about is certain to have done nothing', (tt) => {
  const error = (code: string) => Object.assign(new Error(code), { code })
  tt.same(brokenOf(error('ECONNREFUSED')), { e: 'fail', why: 'ECONNREFUSED' })
  tt.same(brokenOf(error('ECONNRESET')), { e: 'info', why: 'ECONNRESET' })
  tt.equal(brokenOf(new Error('late')).e, 'info')
  tt.end()
})
