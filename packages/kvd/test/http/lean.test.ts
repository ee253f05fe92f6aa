import assert from 'node:assert/strict'
import t from 'tap'
import { openClientPort } from '../helpers/client-port.ts'
import {
  exchange,
  FORM,
  get,
  put,
  requestText,
  UNUSUAL,
  valueOf,
  visible,
  type Sent,
} from '../helpers/exchange.ts'
import { countFrom, Random, seedFrom } from '../helpers/random.ts'

// The lean parser and node:http behind it: one client must not notice which of them answered.
// FLOTILLA_LEAN_ROUNDS for a long run, FLOTILLA_LEAN_SEED to replay.

const seed = seedFrom('FLOTILLA_LEAN_SEED')
const rounds = countFrom('FLOTILLA_LEAN_ROUNDS', 150)
t.setTimeout(60_000 + rounds * 1000)

const TARGETS = [
  '/v2/keys',
  '/v2/keys/',
  '/v2/keys/a',
  '/v2/keys/a/',
  '/v2/keys/a/b',
  '/v2/keys/_h',
  '/v2/keys//a',
  '/v2/keys/a/../b',
  '/v2/keys/%61',
  '/v2/keys/%2F',
  '/v2/keys/%zz',
  '/v2/keys/%ff',
  '/v2/keysx',
  '/v2/machines',
  '/v2/members',
  '/v2/stats/store',
  '/version',
  '/health',
  '/nowhere',
] as const
const QUERIES = [
  '',
  '',
  '',
  'recursive=true&sorted=true',
  'quorum=true',
  'prevExist=true',
  'prevExist=false',
  'prevValue=1',
  'dir=true',
  'recursive=true',
  'ttl=100',
  'ttl=x',
  'value=q',
  'wait',
  'noValueOnSuccess=true',
  'x=%z',
] as const
const METHODS = [
  'GET',
  'GET',
  'GET',
  'PUT',
  'PUT',
  'PUT',
  'POST',
  'DELETE',
  'HEAD',
  'OPTIONS',
  'PATCH',
] as const
const HEADERS = [
  FORM,
  FORM,
  FORM,
  'content-type: Application/x-www-form-urlencoded; charset=utf-8',
  'Content-Type: application/json',
  'Content-Type: text/plain; =',
  'Accept: */*',
  'Connection: keep-alive',
  'connection: Keep-Alive',
  'Origin: http://a',
  'Authorization: Basic eA==',
  'X-Content-Length: 99',
  'Cookie: a=b',
  'TE: trailers',
] as const
const BODIES = [
  '',
  'value=1',
  'value=%C3%A9+x',
  'value=\u00e9',
  'ttl=5&value=<&>',
  'value=%',
  'x',
] as const

function randomRequest(random: Random): Sent {
  const method = random.pick(METHODS)
  const query = random.pick(QUERIES)
  const target = `${random.pick(TARGETS)}${query === '' ? '' : `?${query}`}`
  const headers = new Set(Array.from({ length: random.int(0, 4) }, () => random.pick(HEADERS)))
  const names = [...headers].map((line) => line.split(':')[0]?.toLowerCase())
  const unique = [...headers].filter(
    (line, at) => names.indexOf(line.split(':')[0]?.toLowerCase()) === at,
  )
  const body = method === 'GET' || method === 'HEAD' ? '' : random.pick(BODIES)
  return { text: requestText(method, target, unique, body), isHead: method === 'HEAD' }
}

/** The request's framing changed: the body in chunks. */
function chunked({ text, ...rest }: Sent, random: Random): Sent {
  const end = text.indexOf('\r\n\r\n')
  const body = text.slice(end + 4)
  if (body === '') return { text, ...rest }
  const cut = random.int(1, body.length)
  const pieces = [body.slice(0, cut), body.slice(cut)].filter((piece) => piece !== '')
  const chunks = pieces.map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`).join('')
  const head = text.slice(0, end).replace(/\r\nContent-Length: \d+/, '')
  return { text: `${head}\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`, ...rest }
}

function unusual({ text, ...rest }: Sent): Sent {
  const plain = text.replace(/\r\nconnection: [^\r]*/i, '')
  return { text: plain.replace('\r\n\r\n', `\r\n${UNUSUAL}\r\n\r\n`), ...rest }
}

t.test(
  `the lean parser and node:http answer alike (${rounds} rounds, seed ${seed})`,
  async (tt) => {
    const lean = await openClientPort(tt, { cors: ['http://a'] })
    const full = await openClientPort(tt, { cors: ['http://a'] })
    for (let round = 0; round < rounds; round += 1) {
      const random = new Random(seed + round)
      const requests = Array.from({ length: random.int(1, 8) }, () => randomRequest(random))
      const size = requests.reduce((sum, { text }) => sum + text.length, 0)
      const cuts = Array.from({ length: random.int(0, 5) }, () => random.int(0, size))
      const others = requests
        .map((sent) => (random.chance(0.3) ? chunked(sent, random) : sent))
        .map((sent, at) => (at === 0 ? unusual(sent) : sent))
      const [here, there] = await Promise.all([
        exchange(lean.port, requests, cuts),
        exchange(full.port, others, cuts),
      ])
      const sent = requests.map(({ text }) => text)
      try {
        assert.deepEqual(here.map(visible), there.map(visible))
        const isCut = here.some(({ headers }) => headers['connection'] === 'close')
        assert.ok(isCut || here.length === requests.length, `${here.length} answers`)
        assert.equal(lean.store.index, full.store.index)
      } catch (error) {
        tt.fail(`FLOTILLA_LEAN_SEED=${seed}, round ${round}`, {
          sent,
          problem: String(error),
        })
        return
      }
    }
    tt.ok(lean.store.index > 3 + rounds / 10, `${lean.store.index} is the index by then`)
  },
)

t.test('a request may be cut at any byte', async (tt) => {
  const { port } = await openClientPort(tt)
  const sent = [put('/v2/keys/k', 'value=v1'), get('/v2/keys/k'), put('/v2/keys/k', 'value=v2')]
  const { length } = sent.map(({ text }) => text).join('')
  for (let at = 1; at < length; at += 1) {
    const replies = await exchange(port, sent, [at])
    if (replies.map(valueOf).join() !== 'v1,v1,v2')
      tt.fail(`cut at ${at}: ${replies.map(valueOf).join()}`)
  }
  tt.pass(`${length} places`)
})
