import { once } from 'node:events'
import { test, type Test } from 'tap'
import type { ApiRequest, ApiResponse } from '../src/api/http.ts'
import { createApiServer } from '../src/api/server.ts'
import { forward } from '../src/forward.ts'
import { listen } from '../src/listeners.ts'

interface Served {
  readonly url: string
  /** What would stand in fleetd's log. */
  readonly errors: unknown[]
}

async function serve(
  t: Test,
  answer: (request: ApiRequest) => Promise<ApiResponse>,
): Promise<Served> {
  const errors: unknown[] = []
  const server = createApiServer(answer, (error) => errors.push(error))
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return { url: await listen(server, { type: 'tcp', host: '127.0.0.1', port: 0 }), errors }
}

/** Reads the first piece of an answer and goes away. */
async function leave(url: string): Promise<void> {
  const leaving = new AbortController()
  const answer = await fetch(url, { signal: leaving.signal })
  await answer.body?.getReader().read()
  leaving.abort()
}

const PIECE = 'x'.repeat(1 << 18)

test('a long stream is written as fast as its reader takes it', async (t) => {
  const warnings: string[] = []
  const onWarning = ({ message }: Error): void => void warnings.push(message)
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  async function* pieces(): AsyncIterable<string> {
    for (let count = 0; count < 40; count++) yield await Promise.resolve(PIECE)
  }
  const { url, errors } = await serve(
    t,
    async () => await Promise.resolve({ status: 200, stream: pieces() }),
  )
  const answer = await fetch(url)
  t.equal((await answer.text()).length, 40 * PIECE.length)
  t.same(errors, [])
  t.same(warnings, [], 'waiting for the reader leaves nothing behind')
})

test('a stream ends with its reader, here and on the machine that it comes from', async (t) => {
  const ended: Promise<void>[] = []
  async function* pieces(done: () => void): AsyncIterable<string> {
    try {
      for (;;) yield await Promise.resolve(PIECE)
    } finally {
      done()
    }
  }
  const there = await serve(t, async () => {
    const stream = await new Promise<AsyncIterable<string>>((resolve) => {
      ended.push(new Promise((done) => resolve(pieces(done))))
    })
    return { status: 200, stream }
  })
  const here = await serve(t, async ({ signal }) => forward(there.url, signal))
  for (const { url } of [there, here]) {
    await leave(url)
    await Promise.all(ended)
  }
  t.equal(ended.length, 2)
})

test('a reader who leaves a quiet stream of another machine is no failure', async (t) => {
  const gone: Promise<unknown>[] = []
  async function* quiet(signal: AbortSignal): AsyncIterable<string> {
    const end = once(signal, 'abort')
    gone.push(end)
    yield 'the last line\n'
    await end
  }
  const there = await serve(
    t,
    async ({ signal }) => await Promise.resolve({ status: 200, stream: quiet(signal) }),
  )
  const here = await serve(t, async ({ signal }) => forward(there.url, signal))
  await leave(here.url)
  await Promise.all(gone)
  await new Promise(setImmediate)
  t.same([...here.errors, ...there.errors], [])
})
