import { createLogger } from '@flotilla/daemon'
import type { Test } from 'tap'
import { AuthError } from '../../src/auth/auth-error.ts'
import type { ScryptCost } from '../../src/auth/password-text.ts'
import { AuthRules } from '../../src/auth/rules.ts'
import { AuthChanges } from '../../src/http/auth-changes.ts'
import { AuthGate } from '../../src/http/auth-gate.ts'
import type { RawRequest } from '../../src/http/message.ts'
import { Passwords } from '../../src/http/passwords.ts'
import type { Command } from '../../src/store/command.ts'
import type { Refusal } from '../../src/store/errors.ts'
import type { StoreEvent } from '../../src/store/event.ts'
import { Store } from '../../src/store/store.ts'

/** Hashes that cost nothing. */
export const cheap: ScryptCost = { costLog2: 1, blockSize: 1, rounds: 1 }

/** A request with an Authorization header, or without. */
export function requestOf(authorization?: string): RawRequest {
  return {
    method: 'GET',
    path: '/',
    query: '',
    host: undefined,
    contentType: undefined,
    authorization,
    origin: undefined,
    body: '',
    isBodyTooLarge: false,
  }
}

/** A request of `name:password`. */
export function as(user: string): RawRequest {
  return requestOf(`Basic ${Buffer.from(user).toString('base64')}`)
}

/** Fails unless the promise is rejected with an error for clients. */
export async function refuses(tt: Test, asked: Promise<unknown>, status: number, message?: string) {
  const error: unknown = await asked.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof AuthError)) throw new Error('it was not refused', { cause: error })
  tt.equal(error.status, status)
  if (message !== undefined) tt.equal(error.message, message)
}

type Outcome = StoreEvent | Refusal | undefined

/** A store with auth in front of it; proposals are applied at once, or as `propose` says. */
export function newMember(propose?: (entry: Command, store: Store) => Promise<Outcome> | Outcome) {
  const store = new Store({ historySize: 1000 })
  const rules = new AuthRules({
    peek: (key) => store.peek('auth', key),
    peekNames: (key) => store.peekNames('auth', key),
  })
  const wrong: string[] = []
  const passwords = new Passwords((name) => wrong.push(name), cheap)
  const logger = createLogger({ sink: { write: () => true, writableLength: 0 } })
  const gate = new AuthGate({ rules, passwords, logger })
  store.onAuthChange(() => gate.changed())
  const replica = {
    proposeAsync: async (entry: Command): Promise<Outcome> =>
      propose === undefined ? store.apply(entry) : await propose(entry, store),
  }
  const changes = new AuthChanges({ store, replica, rules, passwords, logger, nowMs: () => 1 })
  const user = async (name: string, change: object = {}) =>
    await changes.putUser({ name, password: '', roles: null, grant: [], revoke: [], ...change })
  const grant = async (name: string, kv: { read?: string[]; write?: string[] }) => {
    const permissions = { read: kv.read ?? [], write: kv.write ?? [] }
    const role = { name, permissions: { read: null, write: null } }
    return await changes.changeRole({ role, grant: permissions, revoke: undefined })
  }
  const revoke = async (name: string, kv: { read?: string[]; write?: string[] }) => {
    const permissions = { read: kv.read ?? [], write: kv.write ?? [] }
    const role = { name, permissions: { read: null, write: null } }
    return await changes.changeRole({ role, grant: undefined, revoke: permissions })
  }
  return { store, rules, wrong, passwords, gate, changes, user, grant, revoke }
}

/** Auth is on, guests may do nothing, `u` with password `p` may read /r/*. */
export async function newGuarded() {
  const member = newMember()
  await member.user('root', { password: 'r' })
  await member.user('u', { password: 'p', roles: ['reader'] })
  await member.changes.createRole({
    name: 'reader',
    permissions: { read: ['/r/*', '/one'], write: ['/w'] },
  })
  await member.changes.enable()
  await member.revoke('guest', { read: ['/*'], write: ['/*'] })
  return member
}
