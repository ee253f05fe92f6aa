import { join } from 'node:path'
import { test } from 'tap'
import { event, member, run, serve } from './helpers/command.ts'

test('member commands', async (t) => {
  const two = JSON.stringify({
    members: [member('ab', 'one', ['http://c:1']), member('cd', '', [])],
  })
  const { url, asked } = await serve(t, ({ line, body }) => {
    if (line === 'GET /v2/members') return { body: two }
    if (line === 'GET /v2/members/leader') return { body: JSON.stringify(member('ab', 'one', [])) }
    if (line.startsWith('POST')) return { status: 201, body: JSON.stringify(member('cd', '', [])) }
    if (line === 'PUT /v2/members/ab') return { status: 204 }
    if (line === 'DELETE /v2/members/ab') return { status: 204 }
    if (line === 'DELETE /v2/members/cd') return { status: 410, body: '{"message":"gone"}' }
    return { status: 404, body: `{"message":"No such member: ${body.length}"}` }
  })
  const at = ['--no-sync', '--endpoints', url, 'member']
  t.strictSame(await run([...at, 'list']), {
    code: 0,
    stdout:
      'ab: name=one peerURLs=http://ab:2380 clientURLs=http://c:1 isLeader=true\n' +
      'cd[unstarted]: peerURLs=http://cd:2380\n',
    stderr: '',
  })
  t.strictSame(await run([...at, 'add', 'new', 'http://cd:2380']), {
    code: 0,
    stdout:
      'Added member named new with ID cd to cluster\n\nETCD_NAME="new"\n' +
      'ETCD_INITIAL_CLUSTER="one=http://ab:2380,new=http://cd:2380"\n' +
      'ETCD_INITIAL_CLUSTER_STATE="existing"\n',
    stderr: '',
  })
  t.equal(
    asked.find(({ line }) => line.startsWith('POST'))?.body,
    '{"peerURLs":["http://cd:2380"]}',
  )
  t.match(await run([...at, 'remove', 'ab']), {
    code: 0,
    stdout: 'Removed member ab from cluster\n',
  })
  t.strictSame(await run([...at, 'remove', 'cd']), {
    code: 1,
    stdout: '',
    stderr: 'Received an error trying to remove member cd: gone',
  })
  t.match(await run([...at, 'remove', 'one']), {
    code: 1,
    stderr:
      /^Found a member named one; .*\n\tetcdctl member remove ab\n.*\n\nCouldn't find .* of one\.\n$/,
  })
  t.match(await run([...at, 'update', 'ab', 'http://z:1,http://y:1']), {
    code: 0,
    stdout: 'Updated member with ID ab in cluster\n',
  })
  t.equal(asked.at(-1)?.body, '{"peerURLs":["http://y:1","http://z:1"]}')
  t.match(await run([...at, 'update', 'xx', 'http://y:1']), {
    code: 1,
    stderr: 'No such member: 27\n',
  })
  const usage: readonly (readonly [readonly string[], RegExp])[] = [
    [['list', 'x'], /^No arguments accepted\n$/],
    [['add', 'x'], /^Provide a name and a single member peerURL\n$/],
    [['add', 'x', 'bar'], /^URL scheme must be http or https: bar\n$/],
    [['remove'], /^Provide a single member ID\n$/],
    [['update', 'a'], /^Provide an ID and a list of comma separated peerURL \(0xabcd http/],
  ]
  for (const [args, stderr] of usage) {
    t.match(await run([...at, ...args]), { code: 1, stdout: '', stderr }, args.join(' '))
  }
})

test('member list without a leader, and members that cannot be listed', async (t) => {
  const { url } = await serve(t, ({ line }) =>
    line.endsWith('leader') ? { status: 503 } : undefined,
  )
  t.match(await run(['--endpoints', url, 'member', 'list']), {
    code: 1,
    stderr: 'Failed to get leader:  client: etcd cluster is unavailable or misconfigured\n',
  })
  const at = ['--no-sync', '--endpoints', 'http://127.0.0.1:1', 'member']
  const unavailable = 'client: etcd cluster is unavailable or misconfigured\n'
  t.strictSame(await run([...at, 'list']), { code: 1, stdout: '', stderr: unavailable })
  t.match(await run([...at, 'remove', 'x']), {
    code: 1,
    stderr: `Error while verifying ID against known members: ${unavailable}`,
  })
})

test('cluster-health asks every member', async (t) => {
  let health = '{"health": "true"}'
  const { url } = await serve(t, ({ line }, server) => {
    if (line === 'GET /health') return { body: health }
    const dead = ['http://127.0.0.1:1', 'http://127.0.0.1:1']
    const members = [member('a', 'a', [server.url]), member('b', '', []), member('c', 'c', dead)]
    return { body: JSON.stringify({ members }) }
  })
  const rest =
    'member b is unreachable: no available published client urls\n' +
    'failed to check the health of member c on http://127.0.0.1:1: Get "http://127.0.0.1:1/health": dial tcp 127.0.0.1:1: connect: connection refused\n'.repeat(
      2,
    ) +
    'member c is unreachable: [http://127.0.0.1:1 http://127.0.0.1:1] are all unreachable\n'
  const call = ['--endpoints', url, 'cluster-health']
  t.strictSame(await run(call), {
    code: 0,
    stdout: `member a is healthy: got healthy result from ${url}\n${rest}cluster is healthy\n`,
    stderr: '',
  })
  health = '{"health": "false"}'
  t.strictSame(await run(call), {
    code: 5,
    stdout: `member a is unhealthy: got unhealthy result from ${url}\n${rest}cluster is unhealthy\n`,
    stderr: '',
  })
  const stop = new AbortController()
  const onOutput = (text: string): void => {
    if (text.includes('next check')) stop.abort()
  }
  const forever = await run([...call, '--forever'], { interrupt: stop.signal, onOutput })
  t.match(forever, {
    code: 0,
    stdout: /cluster is unhealthy\n\nnext check after 10 second\.\.\.\n\n$/,
  })
  t.match(await run(['--endpoints', 'http://127.0.0.1:1', 'cluster-health']), {
    code: 4,
    stdout: 'cluster may be unhealthy: failed to list members\n',
    stderr: /^Error: {2}client: etcd cluster is unavailable/,
  })
})

test('users and roles', async (t) => {
  const users = new Set(['old'])
  const { url, asked } = await serve(t, ({ line, body }) => {
    const [method, path = ''] = line.split(' ')
    const name = path.split('/')[4]
    if (path.endsWith('/enable')) return { status: 200 }
    if (path.startsWith('/v2/auth/users')) {
      if (name === undefined) return { body: '{"users":[{"user":"old","roles":[]}]}' }
      if (method === 'GET' && !users.has(name))
        return { status: 404, body: '{"message":"no user"}' }
      return method === 'DELETE'
        ? { status: 200 }
        : { body: JSON.stringify({ user: name, roles: [{ role: 'root' }] }) }
    }
    if (!path.startsWith('/v2/auth/roles')) return undefined
    if (name === undefined) return { body: '{"roles":[{"role":"root"}]}' }
    if (method === 'GET' && name === 'none') return { status: 404, body: '{"message":"no role"}' }
    const kv = body.includes('grant') ? { read: ['/a'], write: [] } : { read: [], write: ['/b'] }
    return { body: JSON.stringify({ role: name, permissions: { kv } }) }
  })
  const at = ['--no-sync', '--endpoints', url]
  const table: readonly (readonly [string, string, RegExp | undefined])[] = [
    ['auth enable', 'Authentication Enabled\n', /^PUT \/v2\/auth\/enable $/],
    ['auth disable', 'Authentication Disabled\n', /^DELETE \/v2\/auth\/enable $/],
    ['user list', 'old\n', undefined],
    ['user get old', 'User: old\nRoles:  root\n', undefined],
    ['user add new:pw', 'User new created\n', /users\/new \{"user":"new","password":"pw"\}$/],
    ['user add new', 'New password: User new created\n', /"password":"typed"/],
    ['user remove old', 'User old removed\n', /^DELETE .*users\/old $/],
    ['user passwd old', 'New password: Password updated\n', /"password":"typed"/],
    ['user grant --roles a --roles b old', 'User old updated\n', /"grant":\["a","b"\]/],
    ['user revoke -roles a old', 'User old updated\n', /"revoke":\["a"\]/],
    ['role list', 'root\n', undefined],
    ['role get r', 'Role: r\nKV Read:\nKV Write:\n\t/b\n', undefined],
    ['role add none', 'Role none created\n', /roles\/none \{"role":"none"/],
    ['role remove r', 'Role r removed\n', /^DELETE .*roles\/r $/],
    [
      'role grant --path /a --read r',
      'Role r updated\n',
      /"grant":\{"kv":\{"read":\["\/a"\],"write":\[\]\}\}/,
    ],
    ['role grant --path /a --write r', 'Role r updated\n', /"read":\[\],"write":\["\/a"\]/],
    [
      'role grant --path /a --readwrite r',
      'Role r updated\n',
      /"read":\["\/a"\],"write":\["\/a"\]/,
    ],
    [
      'role revoke --path /a --read r',
      'Role unchanged; already revokedRole r updated\n',
      /"revoke":/,
    ],
  ]
  for (const [words, stdout, sent] of table) {
    const result = await run([...at, ...words.split(' ')], { password: 'typed' })
    t.strictSame(result, { code: 0, stdout, stderr: '' }, words)
    const { line = '', body = '' } = asked.at(-1) ?? {}
    if (sent !== undefined) t.match(`${line} ${body}`, sent, words)
  }
  const refusals: readonly (readonly [string, string])[] = [
    ['auth enable x', 'No arguments accepted\n'],
    ['user list x', 'No arguments accepted\n'],
    ['user add', 'Please provide a username\n'],
    ['user add old:pw', 'User old already exists\n'],
    ['user add new', 'Error reading password: no terminal\n'],
    ['user get none', 'no user\n'],
    ['user passwd none', 'no user\n'],
    ['user grant --roles a none', 'no user\n'],
    ['user grant old', 'No roles specified; please use `-roles`\n'],
    ['user grant --roles a', 'Please provide a username\n'],
    ['role add', 'Please provide a role name\n'],
    ['role add r', 'Role r already exists\n'],
    ['role get none', 'no role\n'],
    ['role grant r', 'No path specified; please use `-path`\n'],
    ['role grant --path a//b --read r', 'Not canonical path; please use `-path=/a/b`\n'],
    ['role grant --path /a r', 'Please specify exactly one of -read, -write or -readwrite\n'],
    [
      'role grant --path /a --read --write r',
      'Please specify exactly one of -read, -write or -readwrite\n',
    ],
    ['role grant --path /a --read', 'Please provide a role name\n'],
    ['role grant --path /a --read none', 'no role\n'],
  ]
  for (const [words, stderr] of refusals) {
    const result = await run([...at, ...words.split(' ')])
    t.match(result, { code: 1, stderr }, words)
  }
  const debug = await run(['--debug', ...at, 'user', 'list'])
  t.equal(debug.stderr.split(`Cluster-Endpoints: ${url}\n`).length, 3, 'twice, as the original')
})

test('import writes the keys of a 0.4 snapshot', async (t) => {
  const { url, asked } = await serve(t, ({ line, body }) => {
    if (!line.startsWith('PUT')) return undefined
    if (body === 'value=bad')
      return { status: 403, body: '{"errorCode":102,"message":"Not a file"}' }
    return { body: event('set', '/x', '') }
  })
  const file = (Path: string, Value: string, ExpireTime = '0001-01-01T00:00:00Z'): object => ({
    Path,
    Value,
    ExpireTime,
    Children: null,
  })
  const soon = new Date(Date.now() + 10_000).toISOString()
  const later = new Date(Date.now() + 1_000_000).toISOString()
  const hidden = { Path: '/_h', Children: { k: file('/_h/k', 'secret') } }
  const dir = { Path: '/d', Children: { y: file('/d/y', 'Y', soon), x: file('/d/x', 'X', later) } }
  const store = JSON.stringify({
    Root: { Path: '/', Children: { z: file('/z', 'Z'), d: dir, _h: hidden } },
    CurrentIndex: 5,
  })
  const directory = t.testdir({
    plain: store,
    framed: `0badcafe\n${JSON.stringify({ state: Buffer.from(store).toString('base64') })}`,
    bad: JSON.stringify({ Root: { Path: '/', Children: { a: file('/a', 'bad') } } }),
    other: '[]',
  })
  const puts = (): string[] =>
    asked.filter(({ line }) => line.startsWith('PUT')).map(({ line, body }) => `${line} ${body}`)
  const at = ['--endpoints', url, 'import']
  for (const name of ['plain', 'framed']) {
    asked.length = 0
    const snap = join(directory, name)
    const { code, stdout, stderr } = await run([...at, '--snap', snap, '-c', '1'])
    t.equal(code, 0)
    t.equal(
      stdout,
      `starting to import snapshot ${snap} with 1 clients\nfinished importing 3 keys\n`,
    )
    t.match(puts(), [
      /^PUT \/v2\/keys\/d\/x ttl=(1000|999)&value=X$/,
      'PUT /v2/keys/d/y ttl=300&value=Y',
      'PUT /v2/keys/z value=Z',
    ])
    t.strictSame(
      stderr.split('\n').map((line) => line.slice(20)),
      [
        'entering dir: /',
        'entering dir: /d',
        'copying key: /d/x',
        'copying key: /d/y',
        "extending key /d/y's ttl to 300 seconds",
        'copying key: /z',
        '',
      ],
    )
  }
  asked.length = 0
  const more = await run([...at, '--snap', join(directory, 'plain'), '--hidden', '/_h'])
  t.match(more.stdout, /with 10 clients\nfinished importing 4 keys\n$/)
  t.ok(puts().includes('PUT /v2/keys/_h/k value=secret'))
  t.match(await run([...at, '--snap', join(directory, 'plain'), '--hidden', '/no']), {
    code: 4,
    stderr: 'Error:  100: Key not found (/no) [0]\n',
  })
  t.match(await run([...at, '--snap', join(directory, 'bad')]), {
    code: 1,
    stderr: / failed to copy key: Not a file\n$/,
  })
  t.match(await run(at), { code: 1, stdout: 'no snapshot file provided (use --snap)\n' })
  for (const name of ['none', 'other']) {
    const snap = join(directory, name)
    const want = { code: 1, stdout: `cannot read snapshot file ${snap}\n`, stderr: '' }
    t.strictSame(await run([...at, '--snap', snap]), want)
  }
})

test('export prints a tree, import --json writes it', async (t) => {
  const file = (key: string, value: string, more: object = {}): object => ({
    key,
    value,
    modifiedIndex: 7,
    createdIndex: 7,
    ...more,
  })
  const dir = (key: string, nodes: readonly object[], more: object = {}): object => ({
    key,
    dir: true,
    nodes,
    modifiedIndex: 7,
    createdIndex: 7,
    ...more,
  })
  const there = '{"errorCode":105,"message":"Key already exists","cause":"/d"}'
  const { url, asked } = await serve(t, ({ line }) => {
    if (line.startsWith('PUT /v2/keys/d?dir=true&prevExist=false')) {
      return { status: 412, body: there }
    }
    if (line.startsWith('PUT /v2/keys/x')) return { status: 403, body: '{"message":"no"}' }
    if (line.startsWith('PUT')) return { body: event('set', '/a', '') }
    if (line.includes('/v2/keys/none')) {
      return {
        status: 404,
        body: '{"errorCode":100,"message":"Key not found","cause":"/none","index":9}',
      }
    }
    if (line.includes('/v2/keys/_h')) {
      return { body: JSON.stringify({ action: 'get', node: file('/_h', 'H') }) }
    }
    if (!line.includes('/v2/keys/')) return undefined
    const empty = { key: '/e', dir: true, modifiedIndex: 8, createdIndex: 8 }
    const root = {
      dir: true,
      nodes: [file('/a', 'é'), dir('/d', [file('/d/b', '', { ttl: 5 })], { ttl: 9 }), empty],
    }
    return { body: JSON.stringify({ action: 'get', node: root }) }
  })
  const at = ['--no-sync', '--endpoints', url]
  const { code, stdout } = await run([...at, 'export'])
  t.equal(code, 0)
  t.equal(asked.at(-1)?.line, 'GET /v2/keys/?quorum=true&recursive=true&sorted=true')
  const tree = {
    key: '/',
    nodes: [
      { key: '/a', value: 'é' },
      { key: '/d', ttl: 9, nodes: [{ key: '/d/b', value: '', ttl: 5 }] },
      { key: '/e', nodes: [] },
    ],
  }
  t.equal(stdout, `${JSON.stringify(tree, null, 2)}\n`)
  const both = await run([...at, 'export', '--hidden', '/_h', '/'])
  t.strictSame(JSON.parse(both.stdout), [tree, { key: '/_h', value: 'H' }])
  t.match(await run([...at, 'export', '/none']), { code: 4, stderr: /100: Key not found/ })

  asked.length = 0
  const imported = await run([...at, 'import', '--json', '-', '-c', '1'], { stdin: both.stdout })
  t.strictSame(imported, { code: 0, stdout: 'finished importing 3 keys\n', stderr: '' })
  t.strictSame(
    asked.map(({ line, body }) => `${line} ${body}`),
    [
      'PUT /v2/keys/d?dir=true&prevExist=false ',
      'PUT /v2/keys/e?dir=true&prevExist=false ',
      'PUT /v2/keys/a value=%C3%A9',
      'PUT /v2/keys/d/b ttl=5&value=',
      'PUT /v2/keys/_h value=H',
      'PUT /v2/keys/d?dir=true&prevExist=true ttl=9',
    ],
    'a directory must not die before its keys are written, or they would make one that stays',
  )
  const wrong: readonly (readonly [string, RegExp])[] = [
    ['x', /^cannot read tree -: /],
    ['5', /: the tree is no node\n$/],
    ['{"key":"/a","nodes":[{}]}', /: \/a has a node without a key\n$/],
    ['{"key":"/a"}', /: \/a has neither a value nor nodes\n$/],
    ['{"key":"/a","value":"","ttl":"5"}', /: \/a has a ttl that is no number\n$/],
    ['{"key":"/x","value":""}', / failed to copy key: no\n$/],
    ['{"key":"/x","nodes":[]}', / failed to copy key: no\n$/],
  ]
  for (const [stdin, stderr] of wrong) {
    const result = await run([...at, 'import', '--json', '-'], { stdin })
    t.match(result, { code: 1, stderr }, stdin)
  }
  const none = join(t.testdir(), 'none')
  t.match(await run([...at, 'import', '--json', none]), { code: 1, stderr: /ENOENT/ })
})
