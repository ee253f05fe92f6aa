import type { RequestListener } from 'node:http'
import t from 'tap'
import { Director } from '../../src/proxy/director.ts'
import { Forwarder } from '../../src/proxy/forward.ts'
import { inTurn } from '../../src/proxy/in-turn.ts'
import { Liveness } from '../../src/proxy/liveness.ts'
import { ProxyMetrics } from '../../src/proxy/proxy-metrics.ts'
import { LogLines } from '../helpers/log-lines.ts'
import { openServer } from '../helpers/loopback.ts'
import { withoutTls } from '../helpers/no-tls.ts'

const DIVERGED_BODY = '{"errorCode":300}'

const ANSWERS = {
  good: (_request, response) => response.writeHead(201).end('done'),
  diverged: (_request, response) =>
    response.writeHead(503, { 'X-Kvd-Diverged': 'true' }).end(DIVERGED_BODY),
  // Longer than what a socket takes at once: nobody reads it to its end.
  'diverged at length': (_request, response) =>
    response.writeHead(503, { 'X-Kvd-Diverged': 'true' }).end('x'.repeat(8 << 20)),
  busy: (_request, response) => response.writeHead(503).end('busy'),
  'hangs up': (request) => request.socket.destroy(),
  // As a machine without power does on a connection made before.
  'is gone': () => {},
} satisfies Record<string, RequestListener>

type Kind = keyof typeof ANSWERS

interface Case {
  readonly members: readonly Kind[]
  readonly method: string
  /** How many of the members were asked. */
  readonly asked: number
  readonly status: number
  readonly body: string
  readonly isDiverged: boolean
  /** The places of those that may be asked next. */
  readonly left: readonly number[]
}

const good = { status: 201, body: 'done', isDiverged: false }
const diverged = { status: 503, body: DIVERGED_BODY, isDiverged: true }
const none = { status: 502, isDiverged: false }

const CASES: readonly Case[] = [
  { members: ['diverged', 'good'], method: 'PUT', asked: 2, ...good, left: [1] },
  { members: ['diverged', 'good'], method: 'GET', asked: 2, ...good, left: [1] },
  { members: ['diverged at length', 'good'], method: 'POST', asked: 2, ...good, left: [1] },
  { members: ['diverged', 'diverged', 'good'], method: 'DELETE', asked: 3, ...good, left: [2] },
  { members: ['good', 'diverged'], method: 'PUT', asked: 1, ...good, left: [0, 1] },
  { members: ['diverged'], method: 'PUT', asked: 1, ...diverged, left: [] },
  { members: ['diverged', 'diverged'], method: 'GET', asked: 2, ...diverged, left: [] },
  {
    members: ['diverged', 'busy'],
    method: 'PUT',
    asked: 2,
    status: 503,
    body: 'busy',
    isDiverged: false,
    left: [1],
  },
  {
    members: ['diverged', 'hangs up', 'good'],
    method: 'PUT',
    asked: 2,
    ...none,
    body: '{"message":"proxy: unable to get response from 2 endpoint(s)"}',
    left: [2],
  },
  {
    members: ['hangs up', 'diverged'],
    method: 'GET',
    asked: 2,
    ...none,
    body: '{"message":"proxy: unable to get response from 2 endpoint(s)"}',
    left: [],
  },
]

const GONE: readonly Case[] = [
  { members: ['is gone', 'good'], method: 'GET', asked: 2, ...good, left: [1] },
  {
    members: ['is gone', 'good'],
    method: 'PUT',
    asked: 1,
    ...none,
    body: '{"message":"proxy: unable to get response from 1 endpoint(s)"}',
    left: [1],
  },
]

for (const { members, method, asked, status, body, isDiverged, left } of [...CASES, ...GONE])
  t.test(
    `${method} to members of which one after the other is ${members.join(', ')}`,
    async (tt) => {
      const seen: string[] = []
      const urls = await Promise.all(
        members.map(
          async (kind, at) =>
            await openServer(tt, (request, response) => {
              seen.push(`${at} ${request.method}`)
              ANSWERS[kind](request, response)
            }),
        ),
      )
      const director = new Director(60_000, () => 0)
      director.update(urls)
      const log = new LogLines()
      const tls = await withoutTls(tt, 'client', log.logger)
      const metrics = new ProxyMetrics()
      // Without limits to connections whoever is gone is found as well.
      const limitMs = members.includes('is gone') ? 0 : 60_000
      const forwarder = new Forwarder({
        director,
        logger: log.logger,
        metrics,
        tls,
        nowMs: () => 0,
        dialMs: limitMs,
        writeMs: limitMs,
        readMs: 0,
        liveness: new Liveness(
          1,
          async ({ origin }) => await Promise.resolve(members[urls.indexOf(origin)] !== 'is gone'),
        ),
      })
      tt.teardown(() => forwarder.close())
      const proxy = await openServer(
        tt,
        inTurn((request, response, sent) => void forwarder.forward(request, response, sent)),
      )
      const answer = await fetch(`${proxy}/v2/keys/a`, { method })
      tt.same([answer.status, await answer.text()], [status, body])
      tt.equal(answer.headers.get('x-kvd-diverged'), isDiverged ? 'true' : null)
      tt.same(
        seen,
        Array.from({ length: asked }, (_, at) => `${at} ${method}`),
        'one after the other',
      )
      tt.same(
        director.available(0),
        left.map((at) => urls[at]),
      )
      const told = log.lines.filter((line) => line.includes('does not hold what')).length
      tt.equal(told, members.slice(0, asked).filter((kind) => kind.startsWith('diverged')).length)
      const counted = /^etcd_proxy_handled_total\{method="\w+",code="(\d+)"\} 1$/m
      tt.equal(counted.exec(await metrics.text())?.[1], status === 502 ? undefined : String(status))
    },
  )
