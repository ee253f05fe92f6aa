import t from 'tap'
import { parseKeysRequest, type KeysRequest } from '../../src/http/keys-request.ts'
import type { RawRequest } from '../../src/http/message.ts'
import type { Operation } from '../../src/store/command.ts'
import { NOW } from '../helpers/commands.ts'

const FORM = 'application/x-www-form-urlencoded'

/** A request to /v2/keys/k; a body is sent as a form unless the type says otherwise. */
function parse(method: string, query: string, body?: string, type = FORM): KeysRequest {
  const request: RawRequest = {
    method,
    path: '/v2/keys/k',
    query,
    host: undefined,
    contentType: body === undefined ? undefined : type,
    authorization: undefined,
    origin: undefined,
    body: body ?? '',
    isBodyTooLarge: false,
  }
  return parseKeysRequest(request, '/k', NOW)
}

/** `CODE cause` of a refusal, or the type of request that it is. */
function verdict(request: KeysRequest): string {
  return request.type === 'refused'
    ? `${request.refusal.code} ${request.refusal.cause}`
    : request.type
}

function commandOf(request: KeysRequest): object {
  if (request.type !== 'write') throw new Error(verdict(request))
  const { op, value, dir, recursive, refresh, expireAt, prevValue, prevIndex } = request.command
  return { op, value, dir, recursive, refresh, expireAt, prevValue, prevIndex }
}

const PLAIN = {
  value: '',
  dir: false,
  recursive: false,
  refresh: false,
  expireAt: 0,
  prevValue: '',
  prevIndex: '',
}

t.test('which operation a request is', async (tt) => {
  const cases: [method: string, query: string, op: Operation, fields?: object][] = [
    ['PUT', '', 'set'],
    ['PUT', 'prevExist=false', 'create'],
    ['PUT', 'prevExist=true', 'update'],
    ['PUT', 'prevValue=x', 'compareAndSwap', { prevValue: 'x' }],
    ['PUT', 'prevIndex=5', 'compareAndSwap', { prevIndex: '5' }],
    ['PUT', 'prevIndex=0', 'set'],
    ['PUT', 'prevIndex=0&prevExist=true', 'update'],
    ['PUT', 'prevExist=true&prevValue=x', 'compareAndSwap', { prevValue: 'x' }],
    ['PUT', 'prevExist=false&prevValue=x&prevIndex=5', 'create'],
    ['PUT', 'prevIndex=007', 'compareAndSwap', { prevIndex: '7' }],
    [
      'PUT',
      'prevIndex=18446744073709551615',
      'compareAndSwap',
      { prevIndex: '18446744073709551615' },
    ],
    ['POST', '', 'createInOrder'],
    ['POST', 'prevExist=true&prevValue=x&prevIndex=5&dir=true', 'createInOrder', { dir: true }],
    ['DELETE', '', 'delete'],
    ['DELETE', 'dir=true', 'delete', { dir: true }],
    ['DELETE', 'recursive=1', 'delete', { recursive: true }],
    ['DELETE', 'prevExist=false', 'delete'],
    ['DELETE', 'prevValue=x&prevIndex=3', 'compareAndDelete', { prevValue: 'x', prevIndex: '3' }],
    ['PUT', 'dir=t&value=v', 'set', { dir: true, value: 'v' }],
    ['PUT', 'ttl=5', 'set', { expireAt: NOW + 5000 }],
    ['PUT', 'ttl=0', 'set', { expireAt: NOW }],
    ['PUT', 'ttl=', 'set'],
    ['PUT', 'ttl=7400000000', 'set', { expireAt: NOW + 7_400_000_000_000 }],
    ['PUT', 'ttl=7400000001', 'set', { expireAt: 0 }],
    ['PUT', 'ttl=18446744073709551615', 'set', { expireAt: 0 }],
    ['PUT', 'refresh=true&ttl=5', 'set', { refresh: true, expireAt: NOW + 5000 }],
    ['PUT', 'refresh=false&value=v', 'set', { value: 'v' }],
    ['PUT', 'wait=false&stream=true&quorum=T&sorted=0&waitIndex=9', 'set'],
    ['PUT', 'consistent=x&Value=y&unknown', 'set'],
  ]
  for (const [method, query, op, fields = {}] of cases)
    tt.same(commandOf(parse(method, query)), { ...PLAIN, op, ...fields }, `${method} ?${query}`)
  const written = parse('PUT', 'value=v')
  tt.match(written, { command: { key: '/k', time: NOW, space: 'keys' }, noValue: false })
})

t.test('reads and watches', async (tt) => {
  const read = {
    type: 'read',
    recursive: false,
    sorted: false,
    quorum: false,
    maxStalenessMs: Infinity,
  }
  const watch = { type: 'watch', recursive: false, stream: false, waitIndex: 0 }
  const cases: [method: string, query: string, request: object][] = [
    ['GET', '', read],
    ['HEAD', '', read],
    ['GET', 'recursive=true&sorted=true', { ...read, recursive: true, sorted: true }],
    ['HEAD', 'recursive=true&quorum=true', { ...read, recursive: true }],
    ['GET', 'quorum=true', { ...read, quorum: true }],
    ['GET', 'maxStalenessMs=0', { ...read, maxStalenessMs: 0 }],
    ['GET', 'maxStalenessMs=250&recursive=true', { ...read, recursive: true, maxStalenessMs: 250 }],
    ['GET', 'quorum=true&wait=true', { ...read, quorum: true }],
    ['GET', 'wait=true', watch],
    ['GET', 'wait=true&recursive=true&stream=true', { ...watch, recursive: true, stream: true }],
    ['GET', 'wait=true&waitIndex=7', { ...watch, waitIndex: 7 }],
    ['GET', 'stream=true&waitIndex=7', read],
    ['GET', 'value=v&ttl=5&prevExist=true&prevValue=x&dir=true', read],
  ]
  for (const [method, query, request] of cases)
    tt.same(parse(method, query), request, `${method} ?${query}`)
})

t.test(
  'values come from the form before the query, and only as a form of PUT and POST',
  async (tt) => {
    const cases: [method: string, query: string, body: string, type: string, value: string][] = [
      ['PUT', '', 'value=form', FORM, 'form'],
      ['PUT', 'value=query', 'value=form', FORM, 'form'],
      ['PUT', 'value=query', 'ttl=', FORM, 'query'],
      ['PUT', 'value=q1&value=q2', '', FORM, 'q1'],
      ['PUT', '', 'value=f1&value=f2', FORM, 'f1'],
      ['PUT', '', 'value=a+b%20c', FORM, 'a b c'],
      ['PUT', '', 'value=a%2Bb', FORM, 'a+b'],
      ['PUT', '', 'value=x;value=y', FORM, 'x'],
      ['PUT', '', 'value=\u00c3\u00a9', FORM, 'é'],
      ['PUT', '', 'value=%ff', FORM, '\udcff'],
      ['PUT', '', 'value==', FORM, '='],
      ['PUT', '', 'value', FORM, ''],
      ['PUT', '', 'value=form', 'Application/X-WWW-Form-Urlencoded; charset=utf-8', 'form'],
      ['PUT', '', 'value=form', `${FORM};`, 'form'],
      ['PUT', '', 'value=form', 'application/json', ''],
      ['PUT', '', 'value=form', 'text/plain', ''],
      ['PUT', '', 'value=form', '', ''],
      ['PUT', 'value=query', 'value=form', 'multipart/form-data; boundary=x', 'query'],
      ['POST', '', 'value=form', FORM, 'form'],
      ['DELETE', 'value=query', 'value=form', FORM, 'query'],
    ]
    for (const [method, query, body, type, value] of cases)
      tt.match(
        commandOf(parse(method, query, body, type)),
        { value },
        `${method} ?${query} ${JSON.stringify(body)} ${type}`,
      )
    tt.equal(verdict(parse('GET', '', 'wait=maybe')), 'read', 'a GET has no form')
  },
)

t.test('malformed requests', async (tt) => {
  const cases: [method: string, query: string, verdict: string, body?: string, type?: string][] = [
    ['GET', 'a=%zz', '210 invalid URL escape "%zz"'],
    ['PUT', 'a=%zz', '210 invalid URL escape "%yy"', 'b=%yy'],
    ['PUT', '', '210 invalid URL escape "%"', 'value=%'],
    ['PUT', '', '210 mime: invalid media parameter', 'value=v', 'text/plain; x'],
    ['PUT', '', '210 mime: invalid media parameter', 'value=v', `${FORM}; =y`],
    ['PUT', '', '210 mime: no media type', 'value=v', '; charset=utf-8'],
    ['PUT', '', '210 mime: expected token after slash', 'value=v', 'text/'],
    ['GET', 'prevIndex=x', '203 invalid value for "prevIndex"'],
    ['GET', 'prevIndex=', '203 invalid value for "prevIndex"'],
    ['GET', 'waitIndex=-1', '203 invalid value for "waitIndex"'],
    ['GET', 'waitIndex=+1', '203 invalid value for "waitIndex"'],
    ['GET', 'waitIndex=0x1', '203 invalid value for "waitIndex"'],
    ['GET', 'waitIndex=18446744073709551616', '203 invalid value for "waitIndex"'],
    ['GET', 'waitIndex=99999999999999999999999', '203 invalid value for "waitIndex"'],
    ['GET', 'recursive', '209 invalid value for "recursive"'],
    ['GET', 'sorted=yes', '209 invalid value for "sorted"'],
    ['GET', 'wait=', '209 invalid value for "wait"'],
    ['GET', 'dir=TRue', '209 invalid value for "dir"'],
    ['GET', 'quorum=2', '209 invalid value for "quorum"'],
    ['GET', 'stream=+true', '209 invalid value for "stream"'],
    ['PUT', 'wait=true', '209 "wait" can only be used with GET requests'],
    ['HEAD', 'wait=true', '209 "wait" can only be used with GET requests'],
    ['GET', 'prevValue=', '201 "prevValue" cannot be empty'],
    ['PUT', '', '201 "prevValue" cannot be empty', 'prevValue'],
    ['PUT', 'noValueOnSuccess=x', '209 invalid value for "noValueOnSuccess"'],
    ['GET', 'ttl=x', '202 invalid value for "ttl"'],
    ['PUT', 'ttl=-1', '202 invalid value for "ttl"'],
    ['PUT', 'ttl=1.5', '202 invalid value for "ttl"'],
    ['GET', 'prevExist=', '209 invalid value for prevExist'],
    ['GET', 'refresh=x', '209 invalid value for refresh'],
    ['PUT', 'refresh=true&value=v', '211 A value was provided on a refresh'],
    ['PUT', 'refresh=true', '212 No TTL value set'],
    ['PUT', 'refresh=true&ttl=', '212 No TTL value set'],
    ['PUT', 'refresh=true&value=&ttl=5', 'write'],
  ]
  for (const [method, query, expected, body, type] of cases)
    tt.equal(verdict(parse(method, query, body, type)), expected, `${method} ?${query} ${body}`)
})

t.test('a form that was too large is refused, any other body is not looked at', async (tt) => {
  const request: RawRequest = {
    method: 'PUT',
    path: '/v2/keys/k',
    query: '',
    host: undefined,
    contentType: FORM,
    authorization: undefined,
    origin: undefined,
    body: '',
    isBodyTooLarge: true,
  }
  tt.equal(verdict(parseKeysRequest(request, '/k', NOW)), '210 http: POST too large')
  tt.equal(verdict(parseKeysRequest({ ...request, contentType: 'text/plain' }, '/k', NOW)), 'write')
  tt.equal(verdict(parseKeysRequest({ ...request, method: 'DELETE' }, '/k', NOW)), 'write')
})

t.test('the checks come in the order of the original', async (tt) => {
  // Each of these is wrong by itself; of any two the first one is reported.
  const checks: [wrong: string, verdict: string][] = [
    ['x=%zz', '210 invalid URL escape "%zz"'],
    ['prevIndex=a', '203 invalid value for "prevIndex"'],
    ['waitIndex=a', '203 invalid value for "waitIndex"'],
    ['recursive=a', '209 invalid value for "recursive"'],
    ['sorted=a', '209 invalid value for "sorted"'],
    ['wait=a', '209 invalid value for "wait"'],
    ['dir=a', '209 invalid value for "dir"'],
    ['quorum=a', '209 invalid value for "quorum"'],
    ['stream=a', '209 invalid value for "stream"'],
    ['wait=true', '209 "wait" can only be used with GET requests'],
    ['prevValue=', '201 "prevValue" cannot be empty'],
    ['noValueOnSuccess=a', '209 invalid value for "noValueOnSuccess"'],
    ['ttl=a', '202 invalid value for "ttl"'],
    ['prevExist=a', '209 invalid value for prevExist'],
    ['refresh=a', '209 invalid value for refresh'],
  ]
  for (const [at, [first, expected]] of checks.entries())
    for (const [second] of checks.slice(at + 1)) {
      if (first.startsWith('wait=') && second.startsWith('wait=')) continue
      tt.equal(verdict(parse('PUT', `${second}&${first}`)), expected, `${first} and ${second}`)
    }
  tt.equal(
    verdict(parse('PUT', 'refresh=true&value=v')),
    '211 A value was provided on a refresh',
    'the value of a refresh comes before its TTL',
  )
})

t.test('short answers are asked for with PUT and POST only', async (tt) => {
  const noValue = (method: string, query: string, body?: string): unknown => {
    const request = parse(method, query, body)
    return request.type === 'write' ? request.noValue : request.type
  }
  tt.equal(noValue('PUT', 'noValueOnSuccess=true'), true)
  tt.equal(noValue('POST', '', 'noValueOnSuccess=1'), true)
  tt.equal(noValue('PUT', 'noValueOnSuccess=false'), false)
  tt.equal(noValue('DELETE', 'noValueOnSuccess=true'), false)
  tt.equal(noValue('GET', 'noValueOnSuccess=true'), 'read')
})
