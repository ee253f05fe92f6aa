import t from 'tap'
import { Cluster } from '../../src/cluster.ts'
import type { AuthGate } from '../../src/http/auth-gate.ts'
import { authRoutes } from '../../src/http/auth.ts'
import type { Responder } from '../../src/http/message.ts'
import { requireRoot } from '../../src/http/require-root.ts'
import { Roster } from '../../src/membership/roster.ts'
import { command } from '../../src/store/command.ts'
import { refusal } from '../../src/store/errors.ts'
import type { StoreEvent } from '../../src/store/event.ts'
import { as, newGuarded, newMember, refuses, requestOf } from './member.ts'

const read = { write: false, recursive: false }
const readAll = { write: false, recursive: true }
const write = { write: true, recursive: false }

t.test('without credentials one is a guest, with bad ones nobody', async (tt) => {
  const { gate, grant } = await newGuarded()
  await grant('guest', { read: ['/g'] })
  tt.equal(gate.mayAccess(requestOf(), '/g', read), 'allowed')
  tt.equal(gate.mayAccess(requestOf(''), '/g', read), 'allowed')
  tt.equal(gate.mayAccess(requestOf(), '/g', readAll), 'allowed', 'recursion asks for no more')
  tt.equal(gate.mayAccess(requestOf(), '/g', write), 'refused')
  tt.equal(gate.mayAccess(requestOf(), '/r/a', read), 'refused')
  tt.equal(gate.mayAccess(requestOf('Bearer x'), '/g', read), 'refused')
  tt.equal(await gate.mayAccess(as('u:no'), '/g', read), 'refused', 'no guest either')
  tt.equal(await gate.mayAccess(as('nobody:p'), '/g', read), 'refused')
  tt.equal(gate.mayAdminister(requestOf()), 'refused')
})

t.test('users do what their roles allow; decided at once when they are known', async (tt) => {
  const { gate, wrong } = await newGuarded()
  tt.equal(await gate.mayAccess(as('u:p'), '/r/a', read), 'allowed')
  const cases = [
    ['/r/a', read, 'allowed'],
    ['/r/', readAll, 'allowed'],
    ['/r', read, 'refused'],
    ['/one', read, 'allowed'],
    ['/one', readAll, 'refused'],
    ['/w', write, 'allowed'],
    ['/w', read, 'refused'],
    ['/r/a', write, 'refused'],
  ] as const
  for (const [path, access, verdict] of cases)
    tt.equal(gate.mayAccess(as('u:p'), path, access), verdict, path)
  tt.equal(gate.mayAdminister(as('u:p')), 'refused')
  tt.equal(await gate.mayAdminister(as('root:r')), 'allowed')
  tt.equal(gate.mayAccess(as('root:r'), '', write), 'allowed')
  tt.equal(await gate.mayAdminister(as('root:p')), 'refused')
  tt.same(wrong, ['root'])
})

t.test('what changes while a password is checked counts', async (tt) => {
  const member = await newGuarded()
  const { gate, changes } = member
  const byUser = gate.mayAccess(as('u:p'), '/r/a', read)
  const byRoot = gate.mayAccess(as('root:r'), '/r/a', read)
  member.store.apply(command({ op: 'delete', space: 'auth', time: 1, key: '/2/users/u' }))
  tt.equal(await byUser, 'refused', 'the user is gone')
  tt.equal(await byRoot, 'allowed')
  const late = gate.mayAccess(as('root:no'), '/r/a', read)
  member.store.apply(
    command({ op: 'set', space: 'auth', time: 1, key: '/2/enabled', value: 'false' }),
  )
  tt.equal(await late, 'allowed', 'auth is off by now')
  await refuses(tt, changes.disable(), 409, 'auth: already disabled')
})

t.test('a full queue is no refusal', async (tt) => {
  const { gate } = await newGuarded()
  const many = Array.from({ length: 66 }, (_, at) => gate.mayAccess(as(`u:${at}`), '/r/a', read))
  tt.equal(await gate.mayAccess(as('u:p'), '/r/a', read), 'busy')
  tt.equal(await gate.mayAdminister(as('root:r')), 'busy')
  for (const verdict of many) tt.equal(await verdict, 'refused')
  tt.equal(await gate.mayAccess(as('u:p'), '/r/a', read), 'allowed')
})

t.test('auth waits until the cluster has agreed on its version', async (tt) => {
  const { rules, changes, gate, store } = await newGuarded()
  const cluster = new Cluster({ memberId: '1', clusterId: '2' }, store, new Roster(store))
  const routes = authRoutes({ context: { cluster, gate: () => gate }, rules, changes })
  for (const path of ['/v2/auth/users', '/v2/auth/roles/', '/v2/auth/enable']) {
    const { responder, replies } = newResponder()
    routes.get(path)?.(as('root:r'), responder, path)
    const text = 'Not capable of accessing auth feature during rolling upgrades.'
    tt.same(replies, [[500, 'Content-Type: application/json\r\n', `{"message":"${text}"}`]])
  }
})

t.test('an answer that is longer than a text can be is refused', async (tt) => {
  const { rules, changes, gate, store, user, grant } = await newGuarded()
  store.apply(command({ op: 'set', space: 'cluster', time: 1, key: '/version', value: '2.3.0' }))
  const cluster = new Cluster({ memberId: '1', clusterId: '2' }, store, new Roster(store))
  const routes = authRoutes({ context: { cluster, gate: () => gate }, rules, changes })
  await changes.createRole({ name: 'long', permissions: { read: [], write: [] } })
  await grant('long', { read: [`/${'x'.repeat(1_000_000)}`] })
  await user('many', { password: 'p', roles: Array<string>(600).fill('long') })
  for (const [route, path] of [
    ['/v2/auth/users/', '/v2/auth/users/many'],
    ['/v2/auth/users', '/v2/auth/users'],
  ] as const) {
    const { responder, replies, replied } = newResponder()
    routes.get(route)?.(as('root:r'), responder, path)
    await replied
    tt.match(replies, [[500, /json/, '{"message":"auth: the answer is too long"}']], path)
  }
})

t.test('who may not be checked now is told to come again', async (tt) => {
  const { gate } = await newGuarded()
  const many = Array.from({ length: 66 }, (_, at) => gate.mayAccess(as(`u:${at}`), '/r/a', read))
  const { responder, replies, replied } = newResponder()
  requireRoot(gate, { request: as('root:r'), responder }, () => tt.fail('served'))
  await replied
  const body = '{"message":"auth: too many passwords to check, try again later"}'
  tt.same(replies, [[503, 'Content-Type: application/json\r\n', body]])
  for (const verdict of many) tt.equal(await verdict, 'refused')
})

/** Keeps what it is told to answer. */
function newResponder() {
  const replies: [status: number, head: string, body: string][] = []
  let done: () => void = () => undefined
  const replied = new Promise<void>((resolve) => {
    done = resolve
  })
  const responder: Responder = {
    reply: (status, head, body) => {
      replies.push([status, head, body])
      done()
    },
    stream: () => {
      throw new Error('no stream was asked for')
    },
  }
  return { responder, replies, replied }
}

/** Watches of all kinds, by name; `ended` has the names of those that were ended. */
function watchAll(gate: AuthGate, ended: string[]): ReadonlyMap<string, () => void> {
  const watches = [
    ['guest', requestOf(), '/g', false],
    ['user', as('u:p'), '/r/a', false],
    ['user below', as('u:p'), '/r/', true],
    ['user one', as('u:p'), '/one', false],
    ['root', as('root:r'), '/x', true],
  ] as const
  return new Map(
    watches.map(([name, request, path, recursive]) => [
      name,
      gate.guardWatch({ request, path, recursive, end: () => ended.push(name) }),
    ]),
  )
}

t.test('a watch ends when its rights do, and not before', async (tt) => {
  const changesOf = async () => {
    const member = await newGuarded()
    await member.grant('guest', { read: ['/g'] })
    await member.gate.mayAccess(as('u:p'), '/r/a', read)
    await member.gate.mayAccess(as('root:r'), '/r/a', read)
    return member
  }
  type Member = Awaited<ReturnType<typeof changesOf>>
  const users = ['user', 'user below', 'user one']
  const cases: readonly [string, (member: Member) => Promise<unknown>, readonly string[]][] = [
    ['guest loses', (member) => member.revoke('guest', { read: ['/g'] }), ['guest']],
    ['role gone', (member) => member.changes.removeRole('guest'), ['guest']],
    ['pattern gone', (member) => member.revoke('reader', { read: ['/one'] }), ['user one']],
    ['star gone', (member) => member.revoke('reader', { read: ['/r/*'] }), ['user', 'user below']],
    ['role revoked', (member) => member.user('u', { revoke: ['reader'] }), users],
    ['user gone', (member) => member.changes.removeUser('u'), users],
    ['password changed', (member) => member.user('u', { password: 'q' }), users],
    ['same password again', (member) => member.user('u', { password: 'p' }), users],
    ['more granted', (member) => member.grant('reader', { read: ['/y'] }), []],
    ['another user', (member) => member.user('v', { password: 'v' }), []],
    ['root goes on', (member) => member.user('root', { revoke: ['root'] }), []],
    ['auth off', (member) => member.changes.disable(), []],
  ]
  for (const [name, change, wanted] of cases) {
    const member = await changesOf()
    const ended: string[] = []
    watchAll(member.gate, ended)
    await change(member)
    tt.same(ended, wanted, name)
  }
})

t.test('a watch that replaces a grant is judged by what is left', async (tt) => {
  const member = await newGuarded()
  await member.gate.mayAccess(as('u:p'), '/one', read)
  const ended: string[] = []
  const request = as('u:p')
  member.gate.guardWatch({ request, path: '/one', recursive: false, end: () => ended.push('one') })
  await member.grant('reader', { read: ['/o*'] })
  await member.revoke('reader', { read: ['/one'] })
  tt.same(ended, [], 'another pattern allows it')
  await member.revoke('reader', { read: ['/o*'] })
  tt.same(ended, ['one'])
  await member.changes.removeUser('u')
  tt.same(ended, ['one'], 'it ends once')
})

t.test('watches that began while auth was off are judged when it is switched on', async (tt) => {
  const member = await newGuarded()
  await member.grant('guest', { read: ['/g'] })
  await member.gate.mayAccess(as('root:r'), '/x', read)
  await member.changes.disable()
  const ended: string[] = []
  const forget = watchAll(member.gate, ended)
  const request = requestOf()
  member.gate.guardWatch({ request, path: '/h', recursive: false, end: () => ended.push('h') })
  forget.get('user one')?.()
  await member.changes.enable()
  tt.same(
    ended,
    ['user', 'user below', 'h'],
    'guests without the right, and users who were never checked; root was, the guest may',
  )
})

t.test('a watch is over before the next write is applied', async (tt) => {
  const member = await newGuarded()
  await member.gate.mayAccess(as('u:p'), '/one', read)
  const seen: string[] = []
  const { store } = member
  const watcher = {
    key: '/one',
    recursive: false,
    since: 0,
    mode: 'stream',
    deliver: (event: StoreEvent) => seen.push(event.action),
    lost: () => undefined,
  } as const
  store.watchers.add(watcher)
  const end = (): void => store.watchers.remove(watcher)
  member.gate.guardWatch({ request: as('u:p'), path: '/one', recursive: false, end })
  store.apply(command({ op: 'set', time: 1, key: '/one', value: 'a' }))
  store.apply(command({ op: 'delete', space: 'auth', time: 1, key: '/2/roles/reader' }))
  store.apply(command({ op: 'delete', time: 1, key: '/one' }))
  tt.same(seen, ['set'])
})

t.test('the first write of auth makes the directories: four more entries', async (tt) => {
  const { store, changes, user } = newMember()
  await refuses(tt, changes.enable(), 409, 'auth: No root user available, please create one')
  await refuses(tt, user('u'), 400, 'auth: Cannot create user u with an empty password')
  await refuses(
    tt,
    changes.createRole({ name: 'root', permissions: { read: [], write: [] } }),
    403,
    'auth: Cannot modify role root: is root role.',
  )
  tt.equal(store.index, 0, 'what is refused before it comes to the store leaves no trace')
  await refuses(tt, changes.removeRole('r'), 404, "auth: Role r doesn't exist.")
  tt.equal(store.index, 4)
  await user('root', { password: 'r' })
  tt.equal(store.index, 5)
  await changes.enable()
  tt.equal(store.index, 7, 'the role guest and the switch')
  await changes.disable()
  await changes.enable()
  tt.equal(store.index, 9, 'the role guest is there')
})

t.test('changes at the same time all count', async (tt) => {
  const { rules, user, changes } = newMember()
  await user('u', { password: 'p' })
  const roles = Array.from({ length: 20 }, (_, at) => `r${String(at).padStart(2, '0')}`)
  await Promise.all(roles.map((role) => user('u', { grant: [role] })))
  tt.same(rules.user('u')?.roles, roles)
  const made = await Promise.allSettled(
    roles.map((name) =>
      changes.createRole({ name: 'one', permissions: { read: [name], write: null } }),
    ),
  )
  tt.equal(made.filter(({ status }) => status === 'fulfilled').length, 1)
})

t.test('a change that another member overtakes is decided anew', async (tt) => {
  let overtakings = 1
  let attempts = 0
  const { rules, user, changes, store } = newMember((entry, target) => {
    if (entry.op === 'compareAndSwap') {
      attempts += 1
      if (overtakings > 0) {
        overtakings -= 1
        const value = (target.peek('auth', entry.key) ?? '').replace('["', `["other${attempts}","`)
        target.apply(command({ op: 'set', space: 'auth', time: 1, key: entry.key, value }))
      }
    }
    return target.apply(entry)
  })
  await user('u', { password: 'p', roles: ['a'] })
  await user('u', { grant: ['b'] })
  tt.same(rules.user('u')?.roles, ['a', 'b', 'other1'], 'both changes are there')
  overtakings = Infinity
  attempts = 0
  await refuses(tt, user('u', { grant: ['c'] }), 500, 'Internal Server Error')
  tt.equal(attempts, 10)
  overtakings = 0
  store.apply(command({ op: 'delete', space: 'auth', time: 1, key: '/2/users/u' }))
  await refuses(tt, user('u', { grant: ['c'] }), 404, 'auth: User u does not exist.')
  await user('u', { password: 'p' })
  await changes.removeUser('u')
})

t.test(
  'a proposal that fails is an error of the server, and the next change goes on',
  async (tt) => {
    let fails = true
    const { user, rules } = newMember((entry, store) =>
      fails ? refusal(300, 'etcdserver: request timed out', 0) : store.apply(entry),
    )
    await refuses(tt, user('u', { password: 'p' }), 500, 'Internal Server Error')
    fails = false
    tt.same((await user('u', { password: 'p' })).isNew, true)
    tt.equal(rules.user('u')?.name, 'u')
  },
)
