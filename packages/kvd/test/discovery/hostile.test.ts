import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import * as fc from 'fast-check'
import t from 'tap'
import { memberId } from '../../src/cluster.ts'
import { discoverCluster } from '../../src/discovery/discover.ts'
import { DiscoveryError } from '../../src/discovery/discovery-error.ts'
import { openLog } from '../helpers/log.ts'

// A discovery service is somebody else's computer: whatever it answers, there is a cluster that makes
// sense, an error with a code, or another try after a while. fast-check prints the seed of a failure;
// it is replayed with FUZZ_SEED.

const RUNS = 300
const seedText = process.env['FUZZ_SEED']
const OWN = { name: 'a', peerURLs: ['http://a:2380'] }

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

const value = fc.oneof(
  fc.constantFrom(
    'b=http://b:2380',
    'c=http://c:2380',
    'b=http://a:2380',
    '',
    'a',
    '=',
    ',',
    'a=,',
  ),
  fc.constantFrom('0', '-1', '1e9', '99', '1.5'),
  fc.constantFrom('__proto__=http://p:1', 'a=http://a:2380,a=http://a:2380', 'b=http://[::1]:1'),
  fc.string({ unit: 'binary' }),
)
const { node } = fc.letrec<{ node: unknown }>((tie) => ({
  node: fc.record(
    {
      key: fc.oneof(
        fc.constantFrom('/t/1', '/t/2', '/t/_config', '/', '', '/t/\n<6>fake'),
        fc.string(),
        fc.jsonValue(),
      ),
      value: fc.oneof({ weight: 3, arbitrary: value }, { weight: 1, arbitrary: fc.jsonValue() }),
      dir: fc.oneof(fc.boolean(), fc.jsonValue()),
      nodes: fc.oneof(
        { maxDepth: 3 },
        { weight: 1, arbitrary: fc.jsonValue() },
        { weight: 3, arbitrary: fc.array(tie('node'), { maxLength: 4 }) },
      ),
      createdIndex: fc.oneof(fc.nat(9), fc.double(), fc.jsonValue()),
      modifiedIndex: fc.oneof(fc.nat(9), fc.jsonValue()),
    },
    { requiredKeys: [] },
  ),
}))
const event = fc.record({ action: fc.oneof(fc.constant('get'), fc.jsonValue()), node })
const problem = fc.record(
  {
    errorCode: fc.oneof(fc.constantFrom(100, 105, 110, 401), fc.jsonValue()),
    message: fc.oneof(fc.string(), fc.jsonValue()),
    cause: fc.jsonValue(),
    index: fc.oneof(fc.nat(), fc.jsonValue()),
  },
  { requiredKeys: [] },
)
const body = fc.oneof(
  { weight: 6, arbitrary: event.map((one) => JSON.stringify(one)) },
  { weight: 2, arbitrary: problem.map((one) => JSON.stringify(one)) },
  { weight: 1, arbitrary: fc.json() },
  { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
)
const headers = fc.record(
  {
    'X-Etcd-Index': fc.constantFrom('7', '-1', '1e400', 'NaN', '99999999999999999999', ''),
    Location: fc.constantFrom('/t', 'http://[', 'ftp://x', '//127.0.0.1:1/'),
  },
  { requiredKeys: [] },
)
const status = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(200, 200, 201) },
  { weight: 1, arbitrary: fc.constantFrom(204, 301, 307, 400, 401, 404, 412, 500, 503) },
)
const answer: fc.Arbitrary<Answer> = fc.record({ status, headers, body })
/** Answers as a good service gives them, whose content may yet be anything; OWN stands for the member's id. */
const good = (json: fc.Arbitrary<unknown>): fc.Arbitrary<Answer> =>
  fc.record({
    status: fc.constant(200),
    headers,
    body: json.map((one) => JSON.stringify(one)),
  })
const goodSize = good(
  fc
    .constantFrom('1', '2', '2', '3')
    .map((text) => ({ action: 'get', node: { key: '/s', value: text } })),
)
const goodListing = good(
  fc
    .uniqueArray(
      fc.record({
        key: fc.constantFrom('/t/OWN', '/t/1', '/t/2', '/t/3', '/t/_config'),
        value: fc.oneof(
          { weight: 2, arbitrary: fc.constant('a=http://a:2380') },
          { weight: 1, arbitrary: value },
        ),
        createdIndex: fc.nat(9),
        modifiedIndex: fc.nat(9),
      }),
      { maxLength: 4, selector: ({ key }) => key },
    )
    .map((nodes) => ({ action: 'get', node: { key: '/t', dir: true, nodes } })),
)
const sometimes = (usual: fc.Arbitrary<Answer>): fc.Arbitrary<Answer> =>
  fc.oneof({ weight: 9, arbitrary: usual }, { weight: 1, arbitrary: answer })
/** Check, register or poll, check, ... */
const conversation = fc
  .array(fc.tuple(sometimes(goodSize), sometimes(goodListing), sometimes(goodListing)), {
    minLength: 1,
    maxLength: 3,
  })
  .map((rounds) => rounds.flat())

t.test(
  'whatever a service answers ends in a cluster, in an error with a code, or in a pause',
  async (tt) => {
    let script: Answer[] = []
    let ownId = ''
    const respond = (response: ServerResponse): void => {
      const next = script.shift()
      if (next === undefined) response.destroy()
      else
        response.writeHead(next.status, { ...next.headers }).end(next.body.replaceAll('OWN', ownId))
    }
    const server = createServer((request, response) => {
      request.resume()
      request.on('end', () => respond(response))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    tt.teardown(() => server.close())
    tt.teardown(() => server.closeAllConnections())
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : 0
    const url = `http://127.0.0.1:${port}/t`
    ownId = memberId(OWN.peerURLs, url)
    const log = openLog()
    const ends = new Map<string, number>()
    const play = async (answers: readonly Answer[]): Promise<string> => {
      script = [...answers]
      const { logger } = log
      const stop = new AbortController()
      const enough = new Error('paused')
      const config = {
        ...OWN,
        clusterToken: url,
        discovery: { type: 'url', url, proxy: undefined, fallback: 'proxy' },
      } as const
      const pause = async (): Promise<void> => {
        if (script.length === 0) stop.abort(enough)
      }
      try {
        const found = await discoverCluster(config, { logger, signal: stop.signal, pause })
        if ('full' in found) return 'full'
        tt.same(found.initialCluster.get('a'), OWN.peerURLs, 'a cluster has its own member')
        return 'cluster'
      } catch (error) {
        if (error === enough) return 'pause'
        if (error instanceof DiscoveryError) return error.code
        throw error
      }
    }
    const answers = fc.oneof(
      { weight: 1, arbitrary: fc.array(answer, { maxLength: 6 }) },
      { weight: 3, arbitrary: conversation },
    )
    await fc.assert(
      fc.asyncProperty(answers, async (given) => {
        const end = await play(given)
        ends.set(end, (ends.get(end) ?? 0) + 1)
      }),
      { numRuns: RUNS, ...(seedText === undefined ? {} : { seed: Number(seedText) }) },
    )
    tt.notOk(
      log.lines.find((line) => /\p{Cc}/u.test(line)),
      'nobody begins lines of the log',
    )
    tt.comment(JSON.stringify(Object.fromEntries(ends)))
    tt.ok(ends.size >= 5, 'the answers lead to many places')
  },
)

t.test('an answer that is too deep, too long or too large is no crash either', async (tt) => {
  const bodies = [
    `{"action":"get","node":${'{"nodes":['.repeat(50_000)}${']}'.repeat(50_000)}}`,
    '['.repeat(500_000),
    JSON.stringify({ action: 'get', node: { value: '9'.repeat(900_000) } }),
    `{"action":"get","node":{"value":"${'x'.repeat(2_000_000)}"}}`,
  ]
  let at = 0
  const server = createServer((_, response) => response.end(bodies[at]))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  tt.teardown(() => server.close())
  tt.teardown(() => server.closeAllConnections())
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : 0
  const url = `http://127.0.0.1:${port}/t`
  const ends: string[] = []
  for (at = 0; at < bodies.length; at += 1) {
    const { logger, lines } = openLog()
    const stop = new AbortController()
    const discovery = { type: 'url', url, proxy: undefined, fallback: 'proxy' } as const
    const pause = async (): Promise<void> => stop.abort(new Error(lines[0]))
    const found = discoverCluster(
      { ...OWN, clusterToken: url, discovery },
      { logger, signal: stop.signal, pause },
    )
    ends.push(
      await found.then(
        () => 'found',
        (error: unknown) => (error instanceof DiscoveryError ? error.code : String(error)),
      ),
    )
  }
  tt.match(ends, [
    'BAD_ENDPOINT',
    'BAD_ENDPOINT',
    'BAD_SIZE',
    /answer is longer than 1048576 bytes/,
  ])
})
