import { AuthError } from '../auth/auth-error.ts'
import { ShapeError } from '../auth/json.ts'
import { isEmpty, parseRoleRequest, roleJson, type Role } from '../auth/role.ts'
import type { AuthRules } from '../auth/rules.ts'
import { changedUserJson, parseUserRequest, shownUserJson } from '../auth/user.ts'
import { quoteJson, TEXT_LENGTH_MAX } from '../store/text.ts'
import type { AuthChanges } from './auth-changes.ts'
import { cleanKey } from './escape.ts'
import type { HttpContext } from './context.ts'
import { allowMethods, JSON_TYPE, type RawRequest, type Responder } from './message.ts'
import { requireRoot } from './require-root.ts'
import type { Handler } from './path-router.ts'
import type { Routes } from './router.ts'

export interface AuthApi {
  readonly context: Pick<HttpContext, 'cluster' | 'gate'>
  readonly rules: AuthRules
  readonly changes: AuthChanges
}

interface Answer {
  readonly status: number
  readonly body: string
}

const METHODS = ['GET', 'PUT', 'DELETE'] as const
const INCAPABLE = 'Not capable of accessing auth feature during rolling upgrades.'

/** The paths below /v2/auth (kvd.md 10). */
export function authRoutes(api: AuthApi): Routes {
  const users: Handler = (request, responder, path) =>
    handle(api, { request, responder }, path, USERS)
  const roles: Handler = (request, responder, path) =>
    handle(api, { request, responder }, path, ROLES)
  return new Map<string, Handler>([
    ['/v2/auth/users', users],
    ['/v2/auth/users/', users],
    ['/v2/auth/roles', roles],
    ['/v2/auth/roles/', roles],
    ['/v2/auth/enable', (request, responder) => handleEnable(api, { request, responder })],
  ])
}

interface Exchange {
  readonly request: RawRequest
  readonly responder: Responder
}

/** One of the two collections. */
interface Collection {
  list(rules: AuthRules): string
  /** @throws AuthError */
  show(rules: AuthRules, name: string): string
  /** @throws AuthError, ShapeError */
  put(changes: AuthChanges, name: string, json: string): Promise<Answer>
  /** @throws AuthError */
  remove(changes: AuthChanges, name: string): Promise<void>
}

function handle(api: AuthApi, exchange: Exchange, path: string, collection: Collection): void {
  const { request, responder } = exchange
  if (!isCapable(api, responder)) return
  const [, , , , name, ...rest] = cleanKey(path).split('/')
  if (rest.length > 0) {
    responder.reply(400, JSON_TYPE, messageJson('Invalid path'))
    return
  }
  if (!allowMethods(request, responder, name === undefined ? ['GET'] : METHODS)) return
  requireRoot(api.context.gate(), exchange, () =>
    send(api, responder, answer(api, collection, request, name)),
  )
}

async function answer(
  { rules, changes }: AuthApi,
  collection: Collection,
  request: RawRequest,
  name: string | undefined,
): Promise<Answer> {
  if (name === undefined) return { status: 200, body: `${collection.list(rules)}\n` }
  if (request.method === 'GET') return { status: 200, body: `${collection.show(rules, name)}\n` }
  if (request.method === 'PUT') return await collection.put(changes, name, bodyText(request))
  await collection.remove(changes, name)
  return { status: 200, body: '' }
}

const USERS: Collection = {
  list: (rules) => {
    const users = rules.userNames().map((name) => {
      const roles = rules.user(name)?.roles ?? []
      return shownUserJson(name, presentRoles(rules, roles))
    })
    return `{"users":${users.length === 0 ? 'null' : `[${users.join(',')}]`}}`
  },
  show: (rules, name) => {
    const user = rules.user(name)
    if (user === undefined) throw new AuthError(404, `auth: User ${name} does not exist.`)
    return shownUserJson(
      name,
      (user.roles ?? []).map((role) => presentRole(rules, role)),
    )
  },
  put: async (changes, name, json) => {
    const wanted = parseUserRequest(json)
    if (wanted.name !== name)
      throw new AuthError(400, 'User JSON name does not match the name in the URL')
    const isChange = wanted.grant.length > 0 || wanted.revoke.length > 0
    if (isChange && (wanted.roles ?? []).length > 0)
      throw new AuthError(400, 'User JSON contains both roles and grant/revoke')
    const { user, isNew } = await changes.putUser(wanted)
    return { status: isNew ? 201 : 200, body: `${changedUserJson(user)}\n` }
  },
  remove: async (changes, name) => await changes.removeUser(name),
}

const ROLES: Collection = {
  list: (rules) => {
    const roles = presentRoles(rules, rules.roleNames())
    return `{"roles":[${roles.map(roleJson).join(',')}]}`
  },
  show: (rules, name) => roleJson(presentRole(rules, name)),
  put: async (changes, name, json) => {
    const wanted = parseRoleRequest(json)
    const { role, grant, revoke } = wanted
    if (role.name !== name)
      throw new AuthError(400, 'Role JSON name does not match the name in the URL')
    if (isEmpty(grant) && isEmpty(revoke)) {
      await changes.createRole(role)
      return { status: 201, body: `${roleJson(role)}\n` }
    }
    if (!isEmpty(role.permissions))
      throw new AuthError(400, 'Role JSON contains both permissions and grant/revoke')
    return { status: 200, body: `${roleJson(await changes.changeRole(wanted))}\n` }
  },
  remove: async (changes, name) => await changes.removeRole(name),
}

/** Without those that are gone. */
function presentRoles(rules: AuthRules, names: readonly string[]): readonly Role[] {
  return names.map((name) => rules.role(name)).filter((role) => role !== undefined)
}

function presentRole(rules: AuthRules, name: string): Role {
  const role = rules.role(name)
  if (role === undefined) throw new AuthError(404, `auth: Role ${name} does not exist.`)
  return role
}

function handleEnable(api: AuthApi, exchange: Exchange): void {
  const { request, responder } = exchange
  if (!isCapable(api, responder)) return
  if (!allowMethods(request, responder, METHODS)) return
  const gate = request.method === 'GET' ? undefined : api.context.gate()
  requireRoot(gate, exchange, () => send(api, responder, answerEnable(api, request.method)))
}

async function answerEnable({ rules, changes }: AuthApi, method: string): Promise<Answer> {
  if (method === 'GET') return { status: 200, body: `{"enabled":${rules.isEnabled}}\n` }
  await (method === 'PUT' ? changes.enable() : changes.disable())
  return { status: 200, body: '' }
}

/** Auth is for clusters that have agreed on their version. */
function isCapable({ context }: AuthApi, responder: Responder): boolean {
  if (context.cluster.version !== undefined) return true
  responder.reply(500, JSON_TYPE, messageJson(INCAPABLE))
  return false
}

function bodyText(request: RawRequest): string {
  return Buffer.from(request.body, 'latin1').toString('utf8')
}

function messageJson(message: string): string {
  return `{"message":${quoteJson(message)}}`
}

/** @throws RangeError */
function bounded(whole: Answer): Answer {
  if (whole.body.length > TEXT_LENGTH_MAX) throw new RangeError('the answer is too long')
  return whole
}

function send({ context }: AuthApi, responder: Responder, answered: Promise<Answer>): void {
  const head = `${context.cluster.head}${JSON_TYPE}`
  answered.then(bounded).then(
    ({ status, body }) => responder.reply(status, head, body),
    (error: unknown) => {
      if (error instanceof ShapeError)
        responder.reply(400, head, messageJson('Invalid JSON in request body.'))
      else if (error instanceof AuthError)
        responder.reply(error.status, head, messageJson(error.message))
      // Longer than a string can be: roles are shown in full, each time that a user has them.
      else if (error instanceof RangeError)
        responder.reply(500, head, messageJson('auth: the answer is too long'))
      else throw error
    },
  )
}
