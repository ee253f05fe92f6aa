import { once } from 'node:events'
import { request } from 'node:http'
import t from 'tap'
import { WebSocket } from 'ws'
import { launch, type StoreProcess } from '../helpers/store-process.ts'

// The whole of auth in a running member: what its clients see. One member serves all tests, in
// order: it starts without auth, and at the end guests may read `/` only.

const dir = t.testdir()
let store: StoreProcess = await launch({ dir })
t.teardown(() => store.kill('SIGKILL'))

interface Sent {
  /** `name:password`. */
  readonly user?: string
  readonly json?: unknown
  readonly value?: string
  /** Sent with this header, which takes the connection to node:http. */
  readonly isUnusual?: boolean
}

function headersOf({ user, json, value }: Sent): Record<string, string> {
  return {
    ...(user !== undefined && { Authorization: basic(user) }),
    ...(json !== undefined && { 'Content-Type': 'application/json' }),
    ...(value !== undefined && { 'Content-Type': 'application/x-www-form-urlencoded' }),
  }
}

function basic(user: string): string {
  return `Basic ${Buffer.from(user).toString('base64')}`
}

async function call(method: string, path: string, sent: Sent = {}) {
  const { json, value } = sent
  const body = json === undefined ? value && `value=${value}` : JSON.stringify(json)
  const answer = await fetch(`${store.url}${path}`, {
    method,
    headers: headersOf(sent),
    ...(body !== undefined && { body }),
  })
  return { status: answer.status, body: await answer.text(), headers: answer.headers }
}

async function must(method: string, path: string, sent: Sent): Promise<void> {
  const { status, body } = await call(method, path, sent)
  if (status > 299) throw new Error(`${method} ${path}: ${status} ${body}`)
}

const asRoot = { user: 'root:rootpw' }

async function grant(role: string, kv: { read?: string[]; write?: string[] }): Promise<void> {
  const { read = [], write = [] } = kv
  const json = { role, grant: { kv: { read, write } } }
  await must('PUT', `/v2/auth/roles/${role}`, { ...asRoot, json })
}

async function revoke(role: string, kv: { read?: string[]; write?: string[] }): Promise<void> {
  const { read = [], write = [] } = kv
  const json = { role, revoke: { kv: { read, write } } }
  await must('PUT', `/v2/auth/roles/${role}`, { ...asRoot, json })
}

async function statusOf(path: string, user: string): Promise<number> {
  return (await call('GET', path, { user })).status
}

async function watchers(): Promise<number> {
  const { watchers: count }: { watchers: number } = JSON.parse(
    (await call('GET', '/v2/stats/store')).body,
  )
  return count
}

/** A long poll whose headers have come; `body` resolves when it ends. */
async function longPoll(path: string, sent: Sent): Promise<{ readonly body: Promise<string> }> {
  const sending = request(`${store.url}${path}`, {
    headers: { ...headersOf(sent), ...(sent.isUnusual && { 'Transfer-Encoding': 'chunked' }) },
    agent: false,
  })
  sending.end()
  const [answer] = await once(sending, 'response')
  if (answer.statusCode !== 200) throw new Error(`${path}: ${answer.statusCode}`)
  answer.setEncoding('utf8')
  const read = async (): Promise<string> => {
    let text = ''
    for await (const chunk of answer) text += String(chunk)
    return text
  }
  return { body: read() }
}

/** A connection for watches that keeps what it was told. */
class Watches {
  readonly #socket: WebSocket
  readonly #told: Record<string, unknown>[] = []
  #listener: () => void = () => undefined

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.on('message', (data: Buffer) => {
      this.#told.push(JSON.parse(data.toString()))
      this.#listener()
    })
  }

  static async open(user?: string): Promise<Watches> {
    const headers = user === undefined ? {} : { Authorization: basic(user) }
    const url = `${store.url.replace('http', 'ws')}/kvd/v1/watch`
    const socket = new WebSocket(url, 'kvd-watch.1', { headers })
    const watches = new Watches(socket)
    await once(socket, 'open')
    return watches
  }

  send(...messages: readonly object[]): void {
    for (const message of messages) this.#socket.send(JSON.stringify(message))
  }

  /** The next message that was not looked at. */
  async next(): Promise<Record<string, unknown>> {
    while (this.#told.length === 0)
      await new Promise<void>((resolve) => {
        this.#listener = resolve
      })
    return this.#told.shift() ?? {}
  }

  terminate(): void {
    this.#socket.terminate()
  }
}

t.test('users and roles are made before auth is switched on', async (tt) => {
  tt.equal((await call('PUT', '/v2/auth/enable')).status, 409)
  await must('PUT', '/v2/auth/users/root', { json: { user: 'root', password: 'rootpw' } })
  await must('PUT', '/v2/auth/users/ann', { json: { user: 'ann', password: 'one' } })
  const kv = { read: ['/r/*', '/one'], write: ['/w/*'] }
  await must('PUT', '/v2/auth/roles/dev', { json: { role: 'dev', permissions: { kv } } })
  await must('PUT', '/v2/auth/users/ann', { json: { user: 'ann', grant: ['dev'] } })
  for (const key of ['r/a', 'one', 'w/a', 'g']) await must('PUT', `/v2/keys/${key}`, { value: '1' })
  tt.equal((await call('GET', '/v2/auth/enable')).body, '{"enabled":false}\n')
})

t.test('a watch that began while auth was off ends when guests may not read', async (tt) => {
  const lean = await longPoll('/v2/keys/g?wait=true&stream=true', {})
  const full = await longPoll('/v2/keys/g?wait=true&recursive=true', { isUnusual: true })
  const named = await longPoll('/v2/keys/one?wait=true', { user: 'ann:not checked yet' })
  const socket = await Watches.open()
  socket.send({ op: 'watch', id: 1, key: '/g' })
  tt.equal((await socket.next())['type'], 'started')
  tt.equal(await watchers(), 4)
  await must('PUT', '/v2/auth/enable', {})
  tt.equal(await named.body, '', 'credentials that nobody checked')
  tt.equal(await watchers(), 3, 'the default role guest may do everything')
  await revoke('guest', { read: ['/*'], write: ['/*'] })
  tt.equal(await lean.body, '')
  tt.equal(await full.body, '')
  tt.match(await socket.next(), { id: 1, type: 'error', errorCode: 110 })
  tt.equal(await watchers(), 0)
  await grant('guest', { read: ['/'] })
  socket.send({ op: 'watch', id: 1, key: '/' })
  tt.equal((await socket.next())['type'], 'started', 'the connection and the id are still good')
  socket.terminate()
})

t.test('every path asks for the right that it needs', async (tt) => {
  const json = { role: 'x' }
  const member = { peerURLs: ['http://127.0.0.1:1'] }
  const ann = 'ann:one'
  const cases: readonly [string, string, Sent, number][] = [
    ['GET', '/v2/keys/', {}, 200],
    ['GET', '/v2/keys', {}, 401],
    ['GET', '/v2/keys/g', {}, 401],
    ['HEAD', '/v2/keys/g', {}, 401],
    ['GET', '/v2/keys/g', asRoot, 200],
    ['GET', '/v2/keys/r/a', { user: ann }, 200],
    ['GET', '/v2/keys/r/a?quorum=true', { user: ann }, 200],
    ['GET', '/v2/keys/r', { user: ann }, 401],
    ['GET', '/v2/keys/r/', { user: ann }, 200],
    ['GET', '/v2/keys/%72/a', { user: ann }, 200],
    ['GET', '/v2/keys/r%2F', { user: ann }, 200],
    ['GET', '/v2/keys/one', { user: ann }, 200],
    ['GET', '/v2/keys/one/', { user: ann }, 401],
    ['GET', '/v2/keys/one?recursive=true', { user: ann }, 401],
    ['GET', '/v2/keys/r/?recursive=true', { user: ann }, 200],
    ['GET', '/v2/keys/one?wait=true&recursive=true', { user: ann }, 401],
    ['GET', '/v2/keys/w/a', { user: ann }, 401],
    ['PUT', '/v2/keys/w/a', { user: ann, value: '2' }, 200],
    ['PUT', '/v2/keys/w/a?recursive=true', { user: ann, value: '3' }, 200],
    ['POST', '/v2/keys/w/q', { user: ann, value: '1' }, 201],
    ['DELETE', '/v2/keys/w/q?recursive=true', { user: ann }, 200],
    ['DELETE', '/v2/keys/one', { user: ann }, 401],
    ['PUT', '/v2/keys/r/a', { user: ann, value: '2' }, 401],
    ['PUT', '/v2/keys/g', { value: '2' }, 401],
    ['GET', '/v2/keys/g?recursive=bad', {}, 400],
    ['GET', '/v2/members', {}, 200],
    ['POST', '/v2/members', { json: member }, 401],
    ['POST', '/v2/members', { json: member, user: ann }, 401],
    ['DELETE', '/v2/members/1', {}, 401],
    ['DELETE', '/v2/members/1', asRoot, 404],
    ['DELETE', '/v2/members', {}, 401],
    ['PUT', '/v2/members/1', { json: member }, 401],
    ['GET', '/v2/auth/enable', {}, 200],
    ['PUT', '/v2/auth/enable', {}, 401],
    ['PUT', '/v2/auth/enable', asRoot, 409],
    ['DELETE', '/v2/auth/enable', { user: ann }, 401],
    ['GET', '/v2/auth/users', { user: ann }, 401],
    ['GET', '/v2/auth/users/', asRoot, 200],
    ['GET', '/v2/auth/users/ann', { user: ann }, 401],
    ['GET', '/v2/auth/users/ann/', asRoot, 200],
    ['DELETE', '/v2/auth/users/root', asRoot, 403],
    ['GET', '/v2/auth/roles', {}, 401],
    ['PUT', '/v2/auth/roles/x', { user: ann, json }, 401],
    ['DELETE', '/v2/auth/roles/dev', { user: ann }, 401],
    ['GET', '/v2/auth/roles/dev/x', {}, 400],
    ['POST', '/v2/auth/roles/dev', {}, 405],
    ['GET', '/v2/auth', {}, 404],
    ['GET', '/version', {}, 200],
    ['GET', '/health', {}, 200],
    ['GET', '/v2/stats/self', {}, 200],
    ['GET', '/v2/machines', {}, 200],
    ['GET', '/metrics', {}, 200],
  ]
  for (const [method, path, sent, status] of cases) {
    const who = sent.user ?? 'a guest'
    tt.equal((await call(method, path, sent)).status, status, `${method} ${path} by ${who}`)
  }
})

t.test('refusals look as in the original', async (tt) => {
  const key = await call('GET', '/v2/keys/g')
  tt.equal(
    key.body,
    '{"errorCode":110,"message":"The request requires user authentication","cause":"Insufficient credentials","index":0}\n',
  )
  tt.equal(key.headers.get('x-etcd-index'), '0')
  tt.equal(key.headers.get('www-authenticate'), null)
  const user = await call('GET', '/v2/auth/users')
  tt.equal(user.body, '{"message":"Insufficient credentials"}')
  tt.equal(user.headers.get('x-etcd-cluster-id'), null)
  const unknown = await call('GET', '/v2/auth/users/bob', asRoot)
  tt.equal(unknown.body, '{"message":"auth: User bob does not exist."}')
  tt.match(unknown.headers.get('x-etcd-cluster-id'), /^[0-9a-f]+$/)
  const method = await call('POST', '/v2/auth/users/ann', asRoot)
  tt.equal(method.headers.get('allow'), 'GET,PUT,DELETE')
  const broken = await call('PUT', '/v2/auth/users/ann', { ...asRoot, json: [1] })
  tt.same([broken.status, broken.body], [400, '{"message":"Invalid JSON in request body."}'])
  const list = await call('GET', '/v2/auth/users', asRoot)
  tt.match(list.body, /^\{"users":\[\{"user":"ann","roles":\[\{"role":"dev",.*\{"user":"root",/)
  tt.notMatch(list.body, 'scrypt', 'no hash is ever shown')
})

t.test('a watch ends when its right is revoked, and hears nothing more', async (tt) => {
  const watches = [
    await longPoll('/v2/keys/one?wait=true&stream=true', { user: 'ann:one' }),
    await longPoll('/v2/keys/one?wait=true', { user: 'ann:one', isUnusual: true }),
  ]
  const other = await longPoll('/v2/keys/r/?wait=true&recursive=true', { user: 'ann:one' })
  const socket = await Watches.open('ann:one')
  socket.send(
    { op: 'watch', id: 1, key: '/one' },
    { op: 'watch', id: 2, key: '/r/', recursive: true },
  )
  tt.same([(await socket.next())['type'], (await socket.next())['type']], ['started', 'started'])
  await revoke('dev', { read: ['/one'] })
  await must('PUT', '/v2/keys/one', { ...asRoot, value: 'secret' })
  for (const { body } of watches) tt.equal(await body, '')
  tt.match(await socket.next(), { id: 1, type: 'error', errorCode: 110 })
  await must('PUT', '/v2/keys/r/a', { ...asRoot, value: 'new' })
  tt.match(await socket.next(), { id: 2, type: 'event', event: { node: { value: 'new' } } })
  tt.match(JSON.parse(await other.body), { node: { key: '/r/a', value: 'new' } })
  socket.send({ op: 'watch', id: 3, key: '/one' }, { op: 'watch', id: 4, key: '/r' })
  tt.match(await socket.next(), { id: 3, type: 'error', errorCode: 110 })
  tt.match(await socket.next(), { id: 4, type: 'error', errorCode: 110 }, '/r is not /r/')
  socket.terminate()
})

t.test('a password counts until it is changed, and the new one from then on', async (tt) => {
  tt.equal(await statusOf('/v2/keys/r/a', 'ann:one'), 200)
  const poll = await longPoll('/v2/keys/r/a?wait=true', { user: 'ann:one' })
  await must('PUT', '/v2/auth/users/ann', { ...asRoot, json: { user: 'ann', password: 'two' } })
  tt.equal(await poll.body, '', 'its credentials are no longer good')
  tt.equal(await statusOf('/v2/keys/r/a', 'ann:one'), 401)
  tt.equal(await statusOf('/v2/keys/r/a', 'ann:two'), 200)
  await must('DELETE', '/v2/auth/users/ann', asRoot)
  tt.equal(await statusOf('/v2/keys/r/a', 'ann:two'), 401)
  await must('PUT', '/v2/auth/users/ann', {
    ...asRoot,
    json: { user: 'ann', password: 'two', roles: ['dev'] },
  })
  tt.equal(await statusOf('/v2/keys/r/a', 'ann:two'), 200)
})

t.test('credentials cost a hash once, not on every request', async (tt) => {
  await must('PUT', '/v2/auth/users/ann', { ...asRoot, json: { user: 'ann', password: 'three' } })
  for (const [user, status] of [
    ['ann:three', 200],
    ['ann:wrong', 401],
    ['nobody:wrong', 401],
  ] as const) {
    const start = performance.now()
    tt.equal(await statusOf('/v2/keys/r/a', user), status)
    const firstMs = performance.now() - start
    for (let count = 0; count < 200; count += 1) await statusOf('/v2/keys/r/a', user)
    const restMs = performance.now() - start - firstMs
    tt.ok(restMs < firstMs * 50, `${user}: ${firstMs} ms, then 200 in ${restMs} ms`)
  }
})

t.test('a watch that was given up while its password was checked never starts', async (tt) => {
  const fresh = async (password: string): Promise<void> =>
    must('PUT', '/v2/auth/users/ann', { ...asRoot, json: { user: 'ann', password } })
  await fresh('four')
  const before = await watchers()
  const socket = await Watches.open('ann:four')
  const watch = { op: 'watch', key: '/r/a' }
  socket.send({ ...watch, id: 1 }, { op: 'cancel', id: 1 }, { ...watch, id: 2 })
  tt.match(await socket.next(), { id: 1, type: 'cancelled' })
  tt.match(await socket.next(), { id: 2, type: 'started' })
  tt.equal(await watchers(), before + 1)
  await fresh('five')
  tt.match(await socket.next(), { id: 2, type: 'error', errorCode: 110 })

  const gone = await Watches.open('ann:five')
  gone.send({ ...watch, id: 1 })
  gone.terminate()
  const stays = await Watches.open('ann:five')
  stays.send({ ...watch, id: 1 }, { ...watch, id: 1 })
  tt.match(await stays.next(), { id: 1, type: 'error', errorCode: 209 }, 'it is being checked')
  tt.match(await stays.next(), { id: 1, type: 'started' })
  tt.equal(await watchers(), before + 1)
  socket.terminate()
  stays.terminate()
})

t.test('users, roles and the switch outlive the process', async (tt) => {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const { ports } = store
    await store.kill(signal)
    store = await launch({ dir, ports })
    tt.equal((await call('GET', '/v2/auth/enable')).body, '{"enabled":true}\n', signal)
    tt.equal((await call('GET', '/v2/keys/g')).status, 401)
    tt.equal(await statusOf('/v2/keys/g', 'root:rootpw'), 200)
    tt.equal(await statusOf('/v2/keys/r/a', 'ann:five'), 200)
    tt.equal(await statusOf('/v2/keys/r/a', 'ann:one'), 401)
    tt.equal(
      (await call('GET', '/v2/auth/users/ann', asRoot)).body,
      '{"user":"ann","roles":[{"role":"dev","permissions":{"kv":{"read":["/r/*"],"write":["/w/*"]}}}]}\n',
    )
  }
  await must('DELETE', '/v2/auth/enable', asRoot)
  tt.equal((await call('GET', '/v2/keys/g')).status, 200)
})
