import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { request as open } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import type { Extension } from '../src/api/extension.ts'
import { ApiError } from '../src/api/http.ts'
import { handle, type ApiOptions } from '../src/api/router.ts'
import { createApiServer } from '../src/api/server.ts'
import { forward } from '../src/forward.ts'
import { announcedURL, listen, parseListeners } from '../src/listeners.ts'
import { FakeManager } from './helpers/fake-manager.ts'
import { job } from './helpers/jobs.ts'
import { surroundings, type Surroundings } from './helpers/surroundings.ts'

interface Answer {
  readonly status: number
  readonly type: string | null
  readonly text: string
}

interface Fixture extends Surroundings {
  readonly url: string
  readonly errors: unknown[]
  readonly ask: (method: string, path: string, body?: unknown) => Promise<Answer>
}

const OPTIONS = [{ section: 'Service', name: 'ExecStart', value: '/bin/sleep 9' }]

async function serve(t: Test, options: ApiOptions): Promise<string> {
  const server = createApiServer(
    (request) => handle(request, options),
    (error) => t.fail(String(error)),
  )
  t.teardown(async () => {
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  })
  return await listen(server, { type: 'tcp', host: '127.0.0.1', port: 0 })
}

async function fixture(t: Test, change: Partial<ApiOptions> = {}): Promise<Fixture> {
  const around = await surroundings(t)
  const errors: unknown[] = []
  const manager = new FakeManager(join(t.testdir(), 'units'))
  const extension: Extension = {
    place: (name) =>
      name === 'here.service' ? { machineID: 'M', isLocal: true, apiURL: undefined } : undefined,
    status: (name) => manager.status(name),
    journal: (name, options) => manager.journal(name, options),
    forward,
  }
  const url = await serve(t, {
    registry: around.units,
    tokenLimit: 2,
    isReady: () => true,
    metrics: () => 'fleet_engine_leader_start_time 0\n',
    extension,
    onError: (error) => errors.push(error),
    ...change,
  })
  const ask = async (method: string, path: string, body?: unknown): Promise<Answer> => {
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    const init =
      body === undefined ? {} : { body: text, headers: { 'Content-Type': 'application/json' } }
    const answer = await fetch(url + path, { method, ...init })
    t.equal(answer.headers.get('server'), 'fleetd/v1.0.0')
    return {
      status: answer.status,
      type: answer.headers.get('content-type'),
      text: await answer.text(),
    }
  }
  return { ...around, url, errors, ask }
}

const message = (answer: Answer): [number, string] => {
  const body: unknown = JSON.parse(answer.text)
  const { error } = { error: { message: '' }, ...(typeof body === 'object' ? body : {}) }
  return [answer.status, error.message]
}

test('units are created, changed, replaced, listed and deleted', async (t) => {
  const { ask } = await fixture(t)
  t.same((await ask('GET', '/fleet/v1/units')).text, '{}')
  const created = await ask('PUT', '/fleet/v1/units/a.service', { options: OPTIONS })
  t.same(created, { status: 201, type: null, text: '' })
  t.equal((await ask('PUT', '/fleet/v1/units/a.service', { desiredState: 'loaded' })).status, 204)
  const other = [{ section: 'Service', name: 'ExecStart', value: '/bin/sleep 8' }]
  t.equal(
    (await ask('PUT', '/fleet/v1/units/a.service', { options: other, desiredState: 'launched' }))
      .status,
    201,
  )
  t.same(JSON.parse((await ask('GET', '/v1-alpha/units/a.service?alt=json')).text), {
    name: 'a.service',
    options: other,
    desiredState: 'launched',
    currentState: 'inactive',
  })
  t.equal((await ask('DELETE', '/fleet/v1/units/a.service')).status, 204)
  t.same(message(await ask('GET', '/fleet/v1/units/a.service')), [404, 'unit does not exist'])
  t.same(message(await ask('DELETE', '/fleet/v1/units/a.service')), [404, 'unit does not exist'])
})

test('bad requests are refused with the words of the original', async (t) => {
  const { ask } = await fixture(t)
  await ask('PUT', '/fleet/v1/units/a.service', { options: OPTIONS })
  const put = async (path: string, body: unknown): Promise<[number, string]> =>
    message(await ask('PUT', `/fleet/v1/units/${path}`, body))
  t.same(await put('a.service', { name: 'b.service' }), [
    400,
    'name in URL "a.service" differs from unit name in request body "b.service"',
  ])
  t.same(await put('a.service', {}), [409, 'must provide DesiredState to update existing unit'])
  t.same(await put('a.service', { desiredState: 'started' }), [
    400,
    'invalid desiredState "started"',
  ])
  t.same(await put('n.service', {}), [409, 'unit does not exist and options field empty'])
  t.same(await put('n.service', { options: OPTIONS, desiredState: 'x' }), [500, ''])
  t.same(await put('nodot', { options: OPTIONS }), [400, 'unit name must contain "."'])
  t.same(await put('..%2f..%2fx.service', { options: OPTIONS }), [404, ''])
  t.match(await put('a.service', '{nope'), [400, /^unable to decode body: /])
  t.match(await put('a.service', '[]'), [400, /^unable to decode body: /])
  t.match(await put('a.service', { options: [1] }), [400, /^unable to decode body: /])
  t.match(await put('a.service', { options: 5 }), [400, /^unable to decode body: /])
  t.match(await put('a.service', { desiredState: 5 }), [400, /^unable to decode body: /])
  const template = { options: OPTIONS, desiredState: 'launched' }
  t.equal((await ask('PUT', '/fleet/v1/units/t@.service', template)).status, 201)
  t.same(await put('t@.service', { desiredState: 'launched' }), [
    400,
    'cannot activate template "t@.service"',
  ])
  const global = [...OPTIONS, { section: 'X-Fleet', name: 'Global', value: 'true' }]
  const pinned = [...global, { section: 'X-Fleet', name: 'MachineID', value: 'x' }]
  t.same(await put('g.service', { options: pinned }), [400, 'MachineID cannot be used with Global'])
  t.same(message(await ask('POST', '/fleet/v1/units')), [
    405,
    'only GET supported against this resource',
  ])
  t.same(message(await ask('POST', '/fleet/v1/units/a.service')), [
    405,
    'only GET, PUT and DELETE supported against this resource',
  ])
  t.same(message(await ask('GET', '/fleet/v1/%zz')), [400, ''])
  const big = { options: [{ section: 'S', name: 'N', value: 'x'.repeat(1 << 20) }] }
  t.same(await put('big.service', big), [413, 'request body too large'])
})

test('a path that leaves its collection reaches nothing', async (t) => {
  const { url, store, units } = await fixture(t)
  await units.putUnit('a.service', job('a.service').file.options, 'launched')
  const before = store.tree('')
  // fetch would tidy the path up; a hostile client does not.
  const send = async (method: string, path: string): Promise<number | undefined> => {
    const outgoing = open(url, { method, path }).end()
    const [incoming]: { statusCode?: number; resume(): unknown }[] = await once(
      outgoing,
      'response',
    )
    incoming?.resume()
    return incoming?.statusCode
  }
  for (const name of ['..', '.', '%2e%2e', '..%2fjob', '..%2f..']) {
    for (const method of ['GET', 'PUT', 'DELETE']) {
      t.equal(await send(method, `/fleet/v1/units/${name}`), 404, `${method} ${name}`)
    }
    t.equal(await send('GET', `/fleet/v1/state/${name}`), 404)
    const answer = await fetch(`${url}/fleet/v1/state?unitName=${name}`)
    t.equal(await answer.text(), '{}')
  }
  for (const path of ['/../metadata/a', '/./metadata/a', '/M/metadata/..', '/M/metadata/.']) {
    const body = JSON.stringify([{ op: 'add', path, value: { value: 'x' } }])
    const answer = await fetch(`${url}/fleet/v1/machines`, { method: 'PATCH', body })
    t.equal(answer.status, 400, path)
  }
  t.same(store.tree(''), before)
})

test('the content type must be JSON, and one', async (t) => {
  const { url } = await fixture(t)
  const send = async (headers: Record<string, string | string[]>): Promise<number | undefined> => {
    const outgoing = open(`${url}/fleet/v1/units/a.service`, { method: 'PUT', headers })
    outgoing.end(JSON.stringify({ options: OPTIONS }))
    const [incoming]: { statusCode?: number; resume(): unknown }[] = await once(
      outgoing,
      'response',
    )
    incoming?.resume()
    return incoming?.statusCode
  }
  t.equal(await send({}), 415)
  t.equal(await send({ 'Content-Type': 'text/plain' }), 415)
  t.equal(await send({ 'Content-Type': ['application/json', 'application/json'] }), 415)
  t.equal(await send({ 'Content-Type': 'Application/JSON; charset=utf-8' }), 201)
})

test('lists come in pages; a full one promises another', async (t) => {
  const { ask, units } = await fixture(t)
  for (const name of ['a.service', 'b.service'])
    await units.putUnit(name, job(name).file.options, 'inactive')
  const first: unknown = JSON.parse((await ask('GET', '/fleet/v1/units')).text)
  t.match(first, {
    units: [{ name: 'a.service' }, { name: 'b.service' }],
    nextPageToken: 'AgACAA==',
  })
  t.equal((await ask('GET', '/fleet/v1/units?nextPageToken=AgACAA==')).text, '{}')
  const refused = async (query: string): Promise<[number, string]> =>
    message(await ask('GET', `/fleet/v1/units?${query}`))
  t.same(await refused('nextPageToken=ZAACAA=='), [400, 'token limit must be 2'])
  t.same(await refused('nextPageToken=AgAAAA=='), [400, 'token page must be greater than zero'])
  t.same(await refused('nextPageToken='), [400, 'invalid page token'])
  t.same(await refused('nextPageToken=AgACAA==&nextPageToken=AgACAA=='), [
    400,
    'too many values for page token',
  ])
})

test('states are filtered by unit and machine', async (t) => {
  const { ask, agents } = await fixture(t)
  const state = { loadState: 'loaded', activeState: 'active', subState: 'running', unitHash: 'h' }
  for (const machineID of ['M', 'N'])
    await agents.putState('g.service', { ...state, machineID }, 30)
  await agents.putState('a.service', { ...state, machineID: 'M' }, 30)
  const names = async (query: string): Promise<unknown> => {
    const body: unknown = JSON.parse((await ask('GET', `/fleet/v1/state?${query}`)).text)
    const { states } = { states: [], ...(typeof body === 'object' ? body : {}) }
    return states.map((it: Record<string, string>) => `${it['name']}@${it['machineID']}`)
  }
  t.same(await names('machineID=M'), ['a.service@M', 'g.service@M'])
  t.same(await names('unitName=g.service'), ['g.service@M', 'g.service@N'])
  t.same(await names('unitName=g.service&machineID=N'), ['g.service@N'])
  t.match(JSON.parse((await ask('GET', '/fleet/v1/state/g.service')).text), {
    machineID: 'M',
    hash: 'h',
  })
  t.same(message(await ask('GET', '/fleet/v1/state/none.service')), [
    404,
    'unit state does not exist',
  ])
  t.equal((await ask('PUT', '/fleet/v1/state/g.service', {})).status, 405)
})

test('metadata is patched all at once or not at all', async (t) => {
  const { ask, store, agents } = await fixture(t)
  await agents.putMachine(
    { id: 'M', publicIP: '', version: '', metadata: new Map([['a', '1']]) },
    30,
  )
  const patch = async (...operations: unknown[]): Promise<Answer> =>
    ask('PATCH', '/fleet/v1/machines', operations)
  const good = { op: 'add', path: '/M/metadata/b', value: { value: '2' } }
  t.same(await patch(good, { op: 'remove', path: '/M/metadata/a' }), {
    status: 204,
    type: 'application/json',
    text: '',
  })
  t.same(JSON.parse((await ask('GET', '/fleet/v1/machines')).text), {
    machines: [{ id: 'M', metadata: { b: '2' } }],
  })
  const before = store.tree('/fleet/machines')
  t.same(message(await patch(good, { op: 'move', path: '/M/metadata/a' })), [
    400,
    'invalid op: expect add, remove, or replace',
  ])
  t.same(message(await patch({ ...good, path: '/M/x' })), [400, 'machine metadata path invalid'])
  t.same(message(await patch({ ...good, value: {} })), [
    400,
    'invalid value: add and replace require a value',
  ])
  t.match(message(await patch({ ...good, value: 'tape' })), [
    400,
    /^json: cannot unmarshal string into Go/,
  ])
  t.equal((await ask('PATCH', '/fleet/v1/machines', {})).status, 400)
  t.equal((await ask('PATCH', '/fleet/v1/machines', '')).status, 400)
  t.same(store.tree('/fleet/machines'), before)
  t.equal((await ask('POST', '/fleet/v1/machines')).status, 405)
})

test('roots, discovery, metrics and everything else', async (t) => {
  const { ask } = await fixture(t)
  for (const path of ['/', '/fleet/v1', '/v1-alpha'])
    t.same(message(await ask('GET', path)), [405, ''])
  for (const path of ['/fleet', '/fleet/v1/', '/fleet/v1/units/', '/fleet/v1/units/a/b', '/x']) {
    t.same(message(await ask('GET', path)), [404, ''], path)
  }
  t.match(JSON.parse((await ask('GET', '/fleet/v1/discovery')).text), { id: 'fleet:v1' })
  t.equal((await ask('POST', '/fleet/v1/discovery')).status, 400)
  t.match((await ask('GET', '/metrics')).text, /leader_start_time/)
  t.same(await ask('HEAD', '/fleet/v1/units/a.service'), {
    status: 405,
    type: 'application/json',
    text: '',
  })
})

test('a store that is away is a bare 500; a fleetd that is not registered says 503', async (t) => {
  const { ask, store, errors } = await fixture(t)
  store.isAway = true
  t.same(message(await ask('GET', '/fleet/v1/units')), [500, ''])
  t.match(errors, [{ message: 'the store is away' }])
  const other = await fixture(t, { isReady: () => false })
  t.same(message(await other.ask('GET', '/fleet/v1/machines')), [
    503,
    'fleet server unable to communicate with etcd',
  ])
})

test('a unit that cannot be read can be repaired and deleted', async (t) => {
  const { ask, store, units } = await fixture(t)
  await units.putUnit('a.service', job('a.service').file.options, 'inactive')
  await store.set('/fleet/job/a.service/target-state', 'bogus')
  t.equal((await ask('GET', '/fleet/v1/units/a.service')).status, 500)
  t.equal((await ask('PUT', '/fleet/v1/units/a.service', { desiredState: 'loaded' })).status, 204)
  t.equal((await ask('GET', '/fleet/v1/units/a.service')).status, 200)
  await store.set('/fleet/job/a.service/target-state', 'bogus')
  t.equal((await ask('DELETE', '/fleet/v1/units/a.service')).status, 204)
})

test('status and journal are answered here or by the fleetd of the machine', async (t) => {
  const there = await fixture(t)
  const places = new Map([
    ['here.service', { machineID: 'N', isLocal: false, apiURL: there.url }],
    ['mute.service', { machineID: 'N', isLocal: false, apiURL: undefined }],
    ['dead.service', { machineID: 'N', isLocal: false, apiURL: 'http://127.0.0.1:1' }],
    ['nowhere.service', { machineID: '', isLocal: false, apiURL: undefined }],
  ])
  const never = (): never => {
    throw new ApiError(500)
  }
  const extension: Extension = {
    place: (name) => places.get(name),
    status: never,
    journal: never,
    forward,
  }
  const { url, ask } = await fixture(t, { extension })
  for (const base of [there.url, url]) {
    const answer = await fetch(`${base}/flotilla/v1/units/here.service/status`)
    t.equal(answer.headers.get('flotilla-exit-code'), '3')
    t.match(await answer.text(), /Active: inactive/)
    const journal = await fetch(`${base}/flotilla/v1/units/here.service/journal?lines=3&output=cat`)
    t.equal(await journal.text(), 'here.service lines=3 output=cat\n')
  }
  const unit = async (name: string): Promise<[number, string]> =>
    message(await ask('GET', `/flotilla/v1/units/${name}/status`))
  t.same(await unit('none.service'), [404, 'unit does not exist'])
  t.same(await unit('mute.service'), [501, 'fleetd of machine N cannot be asked'])
  t.same(await unit('nowhere.service'), [409, 'unit is not scheduled'])
  t.match(await unit('dead.service'), [502, /does not answer/])
  // Another fleetd has the address of one that was killed, until the key of that one expires.
  places.set('ring.service', { machineID: 'N', isLocal: false, apiURL: url })
  t.match(await unit('ring.service'), [502, /is another machine's/])
  t.equal((await there.ask('GET', '/flotilla/v1/units/here.service/journal?lines=x')).status, 400)
  t.equal((await ask('POST', '/flotilla/v1/units/here.service/status')).status, 405)
})

test('listeners are TCP addresses, unix sockets and passed sockets', async (t) => {
  t.same(parseListeners(['http://[::1]:80', 'unix:///run/f.sock'], [{ fd: 3, name: 'x' }]), [
    { type: 'fd', fd: 3 },
    { type: 'tcp', host: '::1', port: 80 },
    { type: 'unix', path: '/run/f.sock' },
  ])
  for (const bad of ['127.0.0.1:80', 'unix://var/x', 'https://a:1', '']) {
    t.throws(() => parseListeners([bad], []), { name: 'ConfigError' }, bad)
  }
  t.equal(announcedURL(['unix:///a', 'http://0.0.0.0:49153'], '10.0.0.1'), 'http://10.0.0.1:49153')
  t.equal(announcedURL(['http://10.0.0.2:49153'], '10.0.0.1'), 'http://10.0.0.2:49153')
  t.equal(announcedURL(['http://0.0.0.0:1'], ''), '')
  t.equal(announcedURL(['unix:///a'], '10.0.0.1'), '')
  // A test directory's path is too long for a socket.
  const dir = mkdtempSync(join(tmpdir(), 'fleetd-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const path = join(dir, 'sub', 'fleet.sock')
  const server = createApiServer(
    async () => await Promise.resolve({ status: 204 }),
    () => undefined,
  )
  t.equal(await listen(server, { type: 'unix', path }), `unix://${path}`)
  const rival = createApiServer(
    async () => await Promise.resolve({ status: 204 }),
    () => undefined,
  )
  await t.rejects(
    listen(rival, { type: 'unix', path }),
    { code: 'EADDRINUSE' },
    'a live socket is not taken',
  )
  const socket = connect(path)
  await once(socket, 'connect')
  socket.destroy()
  server.close()
  await once(server, 'close')
})
