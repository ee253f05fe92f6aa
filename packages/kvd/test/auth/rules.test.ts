import t from 'tap'
import { AuthError } from '../../src/auth/auth-error.ts'
import { parseBasic } from '../../src/auth/basic.ts'
import { ShapeError } from '../../src/auth/json.ts'
import { parsePassword, passwordText, SCRYPT_COST } from '../../src/auth/password-text.ts'
import {
  changeRole,
  isEmpty,
  parseRoleRequest,
  roleAllows,
  roleJson,
  ROOT_ROLE,
} from '../../src/auth/role.ts'
import { AuthRules, ENABLED, roleKey, userKey } from '../../src/auth/rules.ts'
import {
  changedUserJson,
  changeUser,
  parseUser,
  parseUserRequest,
  shownUserJson,
  userText,
} from '../../src/auth/user.ts'

const read = { write: false, recursive: false }
const readAll = { write: false, recursive: true }
const write = { write: true, recursive: false }
const writeAll = { write: true, recursive: true }

t.test('a pattern that ends in a star means a prefix, any other one key', async (tt) => {
  const cases = [
    ['/a', '/a', true],
    ['/a', '/a/', false],
    ['/a', '/ab', false],
    ['/a', '/a/b', false],
    ['/a/', '/a/', true],
    ['/a/', '/a', false],
    ['/a/*', '/a', false],
    ['/a/*', '/a/', true],
    ['/a/*', '/a/b/c', true],
    ['/a/*', '/ab', false],
    ['/a*', '/a', true],
    ['/a*', '/ab', true],
    ['/a*', '/b', false],
    ['/*', '/', true],
    ['/*', '/x', true],
    ['/*', '', false],
    ['*', '', true],
    ['*', '/x', true],
    ['', '', false],
    ['', '/', false],
    ['/a*b', '/a*b', true],
    ['/a*b', '/axb', false],
    ['/é*', '/éa', true],
  ] as const
  for (const [pattern, path, isAllowed] of cases) {
    const role = { name: 'r', permissions: { read: [pattern], write: null } }
    tt.equal(roleAllows(role, path, read), isAllowed, `${pattern} on ${path}`)
    tt.equal(roleAllows(role, path, write), false, `${pattern} on ${path}: reading is not writing`)
  }
})

t.test('recursion needs a pattern that ends in a star', async (tt) => {
  const role = { name: 'r', permissions: { read: ['/a', '/b/*'], write: ['/c', '/d*'] } }
  tt.equal(roleAllows(role, '/a', read), true)
  tt.equal(roleAllows(role, '/a', readAll), false)
  tt.equal(roleAllows(role, '/b/', readAll), true)
  tt.equal(roleAllows(role, '/b', readAll), false)
  tt.equal(roleAllows(role, '/c', write), true)
  tt.equal(roleAllows(role, '/c', writeAll), false)
  tt.equal(roleAllows(role, '/d', writeAll), true)
  tt.equal(roleAllows(role, '/d', readAll), false)
})

t.test('the role root may do everything, whatever the path', async (tt) => {
  for (const access of [read, readAll, write, writeAll])
    for (const path of ['', '/', '/a', '/a/']) tt.equal(roleAllows(ROOT_ROLE, path, access), true)
})

t.test('a document of a role is read as Go reads it', async (tt) => {
  const none = { read: null, write: null }
  const cases = [
    ['{"role":"r"}', { name: 'r', permissions: none }, undefined],
    ['{"ROLE":"r","Permissions":null}', { name: 'r', permissions: none }, undefined],
    ['null', { name: '', permissions: none }, undefined],
    [
      '{"role":"r","permissions":{"kv":{"read":["/a"],"write":[]}},"other":1}',
      { name: 'r', permissions: { read: ['/a'], write: [] } },
      undefined,
    ],
    ['{"role":"r","grant":{}}', { name: 'r', permissions: none }, none],
    [
      '{"role":"r","grant":{"kv":{"read":[null,"/b"]}}}',
      { name: 'r', permissions: none },
      { read: ['', '/b'], write: null },
    ],
  ] as const
  for (const [json, role, grant] of cases)
    tt.same(parseRoleRequest(json), { role, grant, revoke: undefined }, json)
  for (const json of [
    '',
    '{',
    '[]',
    '1',
    '"r"',
    '{"role":1}',
    '{"role":"r","permissions":[]}',
    '{"role":"r","permissions":{"kv":"/a"}}',
    '{"role":"r","grant":{"kv":{"read":"/a"}}}',
    '{"role":"r","revoke":{"kv":{"write":[1]}}}',
  ])
    tt.throws(() => parseRoleRequest(json), ShapeError, json)
})

t.test('permissions are empty when they name nothing', async (tt) => {
  tt.equal(isEmpty(undefined), true)
  tt.equal(isEmpty({ read: null, write: null }), true)
  tt.equal(isEmpty({ read: [], write: null }), true)
  tt.equal(isEmpty({ read: [], write: ['/a'] }), false)
  tt.equal(isEmpty({ read: ['/a'], write: null }), false)
})

t.test('a role changes by grant and revoke', async (tt) => {
  const unset = { read: null, write: null }
  const some = { read: ['/a'], write: ['/c'] }
  const cases = [
    ['sorted', unset, { read: ['/b', '/a*'], write: ['/c'] }, undefined, ['/a*', '/b'], ['/c']],
    ['a grant makes lists', unset, { read: ['/b'], write: null }, undefined, ['/b'], []],
    ['revoked', some, undefined, { read: ['/a'], write: [] }, [], ['/c']],
    [
      'granted, then revoked',
      some,
      { read: ['/b'], write: [] },
      { read: ['/a'], write: [] },
      ['/b'],
      ['/c'],
    ],
    ['not missed', some, undefined, { read: ['/zz'], write: ['/c'] }, ['/a'], []],
    ['null becomes a list', unset, undefined, { read: ['/zz'], write: [] }, [], []],
    [
      'by bytes',
      unset,
      { read: ['/\u{1F600}', '/\uFFFD'], write: [] },
      undefined,
      ['/\uFFFD', '/\u{1F600}'],
      [],
    ],
  ] as const
  for (const [name, permissions, grant, revoke, wantedRead, wantedWrite] of cases) {
    const changed = changeRole(
      { name: 'r', permissions },
      { role: { name: 'r', permissions: unset }, grant, revoke },
    )
    tt.same(changed, { name: 'r', permissions: { read: wantedRead, write: wantedWrite } }, name)
  }
  const refused = [
    [{ read: ['/a'], write: [] }, undefined, 409, 'auth: Granting duplicate read permission /a'],
    [{ read: [], write: ['/c'] }, undefined, 409, 'auth: Granting duplicate write permission /c'],
    [
      { read: ['/b', '/b'], write: [] },
      undefined,
      409,
      'auth: Granting duplicate read permission /b',
    ],
    [
      undefined,
      { read: ['/zz'], write: [] },
      400,
      'auth: Role not updated. Use grant/revoke to update the role.',
    ],
    [
      { read: ['/b'], write: [] },
      { read: ['/b'], write: [] },
      400,
      'auth: Role not updated. Use grant/revoke to update the role.',
    ],
  ] as const
  for (const [grant, revoke, status, message] of refused)
    tt.throws(
      () =>
        changeRole(
          { name: 'r', permissions: some },
          { role: { name: 'r', permissions: unset }, grant, revoke },
        ),
      { constructor: AuthError, status, message },
      message,
    )
})

t.test('JSON of a role is the JSON of Go', async (tt) => {
  tt.equal(
    roleJson({ name: 'a<b', permissions: { read: null, write: ['/&', '/"'] } }),
    '{"role":"a\\u003cb","permissions":{"kv":{"read":null,"write":["/\\u0026","/\\""]}}}',
  )
  const role = { name: 'r', permissions: { read: [], write: ['/x*'] } }
  tt.same(parseRoleRequest(roleJson(role)).role, role, 'what was written is read again')
})

t.test('a document of a user is read as Go reads it', async (tt) => {
  const empty = { name: '', password: '', roles: null, grant: [], revoke: [] }
  const cases = [
    ['{"user":"u"}', { ...empty, name: 'u' }],
    ['{"USER":"u","Password":"p"}', { ...empty, name: 'u', password: 'p' }],
    ['null', empty],
    [
      '{"user":"u","roles":[],"grant":null,"revoke":["r"]}',
      { ...empty, name: 'u', roles: [], revoke: ['r'] },
    ],
    ['{"user":"\\ud800x"}', { ...empty, name: '\uFFFDx' }],
  ] as const
  for (const [json, wanted] of cases) tt.same(parseUserRequest(json), wanted, json)
  for (const json of ['', '[', '[]', 'true', '{"user":{}}', '{"user":"u","grant":"x"}'])
    tt.throws(() => parseUserRequest(json), ShapeError, json)
})

t.test('a user changes by grant, revoke and password', async (tt) => {
  const user = { name: 'u', password: 'old', roles: ['b', 'a'] }
  const nothing = { grant: [], revoke: [] }
  const cases = [
    ['granted', user, { grant: ['0'], revoke: [] }, undefined, 'old', ['0', 'a', 'b']],
    ['revoked', user, { grant: [], revoke: ['a'] }, undefined, 'old', ['b']],
    ['both', user, { grant: ['c'], revoke: ['c', 'a'] }, undefined, 'old', ['b']],
    ['password', user, nothing, 'new', 'new', ['a', 'b']],
    ['sorting is a change', user, nothing, undefined, 'old', ['a', 'b']],
    ['so is a list for null', { ...user, roles: null }, nothing, undefined, 'old', []],
  ] as const
  for (const [name, before, change, password, wantedPassword, roles] of cases)
    tt.same(
      changeUser(before, change, password),
      { name: 'u', password: wantedPassword, roles },
      name,
    )
  const sorted = { ...user, roles: ['a'] }
  const refused = [
    [{ grant: ['a'], revoke: [] }, 409, 'auth: Granting duplicate role a for user u'],
    [{ grant: [], revoke: ['z'] }, 409, 'auth: Revoking ungranted role z for user u'],
    [nothing, 400, 'auth: User not updated. Use grant/revoke/password to update the user.'],
  ] as const
  for (const [change, status, message] of refused)
    tt.throws(
      () => changeUser(sorted, change, undefined),
      { constructor: AuthError, status, message },
      message,
    )
})

t.test('the user root has the role root, whatever the store says', async (tt) => {
  tt.same(parseUser('{"user":"root","password":"h","roles":null}').roles, ['root'])
  tt.same(parseUser('{"user":"root","password":"h","roles":["a"]}').roles, ['a', 'root'])
  tt.same(parseUser('{"user":"root","password":"h","roles":["root","a"]}').roles, ['root', 'a'])
  tt.same(parseUser('{"user":"toor","password":"h","roles":null}').roles, null)
})

t.test('JSON of a user: kept with its hash, shown without', async (tt) => {
  const user = { name: 'u"', password: '$scrypt$', roles: null }
  tt.equal(userText(user), '{"user":"u\\"","password":"$scrypt$","roles":null}')
  tt.same(parseUser(userText(user)), user)
  tt.equal(changedUserJson(user), '{"user":"u\\"","roles":null}')
  tt.equal(changedUserJson({ ...user, roles: ['r'] }), '{"user":"u\\"","roles":["r"]}')
  tt.equal(shownUserJson('u', []), '{"user":"u"}')
  tt.equal(
    shownUserJson('u', [ROOT_ROLE]),
    '{"user":"u","roles":[{"role":"root","permissions":{"kv":{"read":["/*"],"write":["/*"]}}}]}',
  )
})

t.test('credentials come as HTTP Basic', async (tt) => {
  const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`
  const cases = [
    [basic('u:p'), 'u', 'p'],
    [basic('u:'), 'u', ''],
    [basic(':p'), '', 'p'],
    [basic('u:p:q'), 'u', 'p:q'],
    [basic('é:ü'), 'é', 'ü'],
    ['basic dTpw', 'u', 'p'],
  ] as const
  for (const [header, name, password] of cases) {
    const credentials = parseBasic(header)
    tt.equal(credentials?.name, name, header)
    tt.equal(credentials?.password.toString(), password, header)
  }
  for (const header of [
    '',
    'Basic',
    'Basic ',
    'Bearer dTpw',
    'Basic  dTpw',
    'Basic dTpw=',
    'Basic dTp',
    'Basic dT!w',
    'Basic dTpw dTpw',
    basic('nocolon'),
  ])
    tt.equal(parseBasic(header), undefined, JSON.stringify(header))
})

t.test('a password is kept with its salt and its cost', async (tt) => {
  const hashed = { cost: SCRYPT_COST, salt: Buffer.alloc(16, 1), key: Buffer.alloc(32, 2) }
  const text = passwordText(hashed)
  tt.equal(
    text,
    '$scrypt$ln=14,r=8,p=5$AQEBAQEBAQEBAQEBAQEBAQ$AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI',
  )
  tt.same(parsePassword(text), hashed)
  for (const other of [
    '',
    'pw',
    '$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy',
    text.replace('ln=14', 'ln=0'),
    text.replace('ln=14', 'ln=21'),
    text.replace('p=5', 'p=0'),
    text.replace('r=8', 'r=888'),
    text.slice(0, -40),
  ])
    tt.equal(parsePassword(other), undefined, other)
})

t.test('rules are what the store has, read once until they are forgotten', async (tt) => {
  const keys = new Map<string, string>()
  let peeks = 0
  const rules = new AuthRules({
    peek: (key) => {
      peeks += 1
      return keys.get(key)
    },
    peekNames: (dir) =>
      [...keys.keys()]
        .filter((key) => key.startsWith(`${dir}/`))
        .map((key) => key.slice(dir.length + 1)),
  })
  const set = (key: string, value: string): void => {
    keys.set(key, value)
    rules.forget()
  }
  tt.equal(rules.isEnabled, false, 'off before it was ever set up')
  tt.equal(rules.user('u'), undefined)
  tt.equal(rules.role('root'), ROOT_ROLE)
  tt.same(rules.userNames(), [])
  tt.same(rules.roleNames(), ['root'])
  tt.equal(rules.allowsGuest('/a', false), false, 'no role guest, no right')

  set(ENABLED, 'false')
  tt.equal(rules.isEnabled, false)
  set(ENABLED, 'true')
  tt.equal(rules.isEnabled, true)
  set(userKey('z'), '{"user":"z","password":"h","roles":["gone","r"]}')
  set(userKey('u'), '{"user":"u","password":"h","roles":null}')
  set(roleKey('s'), '{"role":"s","permissions":{"kv":{"read":null,"write":null}}}')
  set(roleKey('r'), '{"role":"r","permissions":{"kv":{"read":["/a/*"],"write":null}}}')
  set(roleKey('guest'), '{"role":"guest","permissions":{"kv":{"read":["/g"],"write":["/w"]}}}')
  tt.same(rules.userNames(), ['u', 'z'])
  tt.same(rules.roleNames(), ['guest', 'r', 'root', 's'])

  const z = rules.user('z')
  const u = rules.user('u')
  if (z === undefined || u === undefined) throw new Error('users are missing')
  tt.equal(rules.allows(z, '/a/b', readAll), true, 'a role that is gone is no obstacle')
  tt.equal(rules.allows(z, '/b', read), false)
  tt.equal(rules.allows(u, '/a/b', read), false, 'no role, no right')
  tt.equal(rules.allowsGuest('/g', false), true)
  tt.equal(rules.allowsGuest('/g', true), false)
  tt.equal(rules.allowsGuest('/w', true), true)

  const before = peeks
  rules.user('z')
  rules.allows(z, '/b', read)
  tt.equal(peeks - before, 1, 'only the role that is gone is looked for again')
})
