import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { test } from 'tap'
import { lookUpEndpoints } from '../src/srv.ts'
import { readAll, readHidden } from '../src/terminal.ts'
import { event, run, serve } from './helpers/command.ts'
import type { Script } from './helpers/command.ts'

const VALUE: Script = ({ line }) =>
  line.includes('/v2/keys') ? { body: event('get', '/a', 'v') } : undefined

test('wrong usage and help go to stdout and exit 0', async (t) => {
  const wrong: readonly (readonly string[])[] = [
    ['--bogus', 'get', '/a'],
    ['--timeout', 'abc', 'get', '/a'],
    ['get', '--bogus', '/a'],
    ['set', '--ttl', 'abc', '/a', 'v'],
    ['set', '/a', '-5'],
    ['member', '--bogus'],
    ['member', 'list', '--bogus'],
  ]
  for (const args of wrong) {
    const { code, stdout, stderr } = await run(args)
    t.equal(code, 0)
    t.equal(stderr, '')
    t.match(stdout, /^Incorrect Usage\.\n\nNAME:\n {3}kvctl/, args.join(' '))
  }
  const helps: readonly (readonly [readonly string[], string])[] = [
    [[], 'kvctl - '],
    [['--help'], 'kvctl - '],
    [['-h', 'get'], 'kvctl - '],
    [['help'], 'kvctl - '],
    [['h'], 'kvctl - '],
    [['help', 'set'], 'kvctl set - '],
    [['help', 'member'], 'kvctl member - '],
    [['set', '--help'], 'kvctl set - '],
    [['set', '/a', '-h'], 'kvctl set - '],
    [['member'], 'kvctl member - '],
    [['member', '-h'], 'kvctl member - '],
    [['user', 'help'], 'kvctl user - '],
    [['user', 'h', 'grant'], 'kvctl user grant - '],
    [['role', 'grant', '--help'], 'kvctl role grant - '],
  ]
  for (const [args, name] of helps) {
    const { code, stdout, stderr } = await run(args)
    t.match({ code, stderr }, { code: 0, stderr: '' })
    t.equal(stdout.startsWith(`NAME:\n   ${name}`), true, args.join(' '))
  }
  t.strictSame(await run(['--version']), { code: 0, stdout: 'etcdctl version 2.3.8\n', stderr: '' })
  const unknown = { code: 0, stdout: "No help topic for 'bogus'\n", stderr: '' }
  for (const args of [
    ['bogus'],
    ['help', 'bogus'],
    ['member', 'bogus'],
    ['user', 'help', 'bogus'],
  ]) {
    t.strictSame(await run(args), unknown, args.join(' '))
  }
  t.match(
    (await run(['-o', 'a', '--output', 'b'])).stdout,
    /^Cannot use two forms .*: o output\nNAME/,
  )
  t.match((await run(['get', '-h', '--help'])).stdout, /^Cannot use two forms .*: h help\n\nNAME/)
  t.match((await run(['user', '-h', '--help'])).stdout, /^Cannot use two forms .*: h help\n\nNAME/)
})

test('the first list of endpoints that is set counts', async (t) => {
  const { url } = await serve(t, VALUE)
  const dead = 'http://127.0.0.1:1'
  const get = ['get', '/a']
  const calls: readonly (readonly [readonly string[], Record<string, string>])[] = [
    [['--endpoints', url], { ETCDCTL_ENDPOINTS: dead }],
    [['--endpoint', dead], { ETCDCTL_ENDPOINTS: url }],
    [['--endpoint', url], { ETCDCTL_ENDPOINT: dead }],
    [['--peers', dead], { ETCDCTL_ENDPOINT: url }],
    [['-C', url], { ETCDCTL_PEERS: dead }],
    [[], { ETCDCTL_PEERS: url }],
    [['--endpoints', url.slice('http://'.length)], {}],
    [['--endpoints', `${dead},${url}`], {}],
    [['--no-sync', '--endpoints', `${dead},${url}`], {}],
  ]
  for (const [options, env] of calls) {
    const result = await run([...options, ...get], { env })
    t.strictSame(result, { code: 0, stdout: 'v\n', stderr: '' }, options.join(' '))
  }
})

test('the members are read first, unless --no-sync; --debug shows the requests', async (t) => {
  const { url, asked } = await serve(t, ({ line }) =>
    line.includes('/v2/keys') ? { body: event('set', '/a', 'v w') } : undefined,
  )
  const debug = await run(['--debug', '--endpoints', url, 'set', '--ttl', '100', '/a', 'v w'])
  t.equal(
    debug.stderr,
    `start to sync cluster using endpoints(${url})\n` +
      `cURL Command: curl -X GET ${url}/v2/members\n` +
      `got endpoints(${url}) after sync\n` +
      `Cluster-Endpoints: ${url}\n` +
      `cURL Command: curl -X PUT ${url}/v2/keys/a -d "ttl=100&value=v+w"\n`,
  )
  asked.length = 0
  const plain = await run(['--debug', '--no-sync', '--endpoints', url, 'get', '/a'])
  t.equal(
    plain.stderr,
    `Cluster-Endpoints: ${url}\n` +
      `cURL Command: curl -X GET ${url}/v2/keys/a?quorum=false&recursive=false&sorted=false\n`,
  )
  t.equal(asked.length, 1)
})

test('a cluster that cannot be used', async (t) => {
  const dead = 'http://127.0.0.1:1'
  const refused =
    'Error:  client: etcd cluster is unavailable or misconfigured\n' +
    'error #0: dial tcp 127.0.0.1:1: connect: connection refused\n\n'
  t.strictSame(await run(['--endpoints', dead, 'get', '/a']), {
    code: 2,
    stdout: '',
    stderr: refused,
  })
  t.strictSame(await run(['--no-sync', '--endpoints', dead, 'get', '/a']), {
    code: 4,
    stdout: '',
    stderr: refused,
  })
  t.strictSame(await run(['--endpoints', dead, 'get']), { code: 2, stdout: '', stderr: refused })

  const unpublished = await serve(t, () => ({ body: '{"members":[]}' }))
  t.strictSame(await run(['--endpoints', unpublished.url, 'get', '/a']), {
    code: 4,
    stdout: '',
    stderr:
      'etcd cluster has no published client endpoints.\n' +
      `Try '--no-sync' if you want to access non-published client endpoints(${unpublished.url}).\n` +
      'Error:  client: no endpoints available\n\n',
  })

  const broken = await serve(t, () => ({ status: 502 }))
  t.match(await run(['--endpoints', broken.url, 'get', '/a']), {
    code: 4,
    stderr: /error #0: client: etcd member http:.* returns server error \[Bad Gateway\]\n\n$/,
  })

  const mute = await serve(t, ({ line }) => (line.includes('keys') ? undefined : { status: 404 }))
  const slow = ['--timeout', '30ms', '--endpoints', mute.url, 'get', '/a']
  t.match(await run(slow), {
    code: 4,
    stderr: `error #0: client: endpoint ${mute.url} exceeded header timeout\n\n`,
  })
  const total = ['--total-timeout', '40ms', '--timeout', '5s', '--endpoints', mute.url, 'get', '/a']
  t.strictSame(await run(total), {
    code: 4,
    stdout: '',
    stderr: 'Error:  context deadline exceeded\n',
  })
})

test('timeouts may be as long as one likes', async (t) => {
  const { url } = await serve(t, VALUE)
  const fine = { code: 0, stdout: 'v\n', stderr: '' }
  for (const time of ['600h', '2000h', '2540400h']) {
    const limits = ['--timeout', time, '--total-timeout', time]
    t.strictSame(await run(['--endpoints', url, ...limits, 'get', '/a']), fine, time)
  }
})

test('a server without /v2/members is used as it is given (etcd 0.4)', async (t) => {
  const { url } = await serve(t, ({ line }) =>
    line.includes('/v2/keys') ? { body: event('get', '/a', 'v') } : { status: 404, body: 'no' },
  )
  t.strictSame(await run(['--endpoints', url, 'get', '/a']), { code: 0, stdout: 'v\n', stderr: '' })
})

test('bad endpoints and TLS files end the command before anything is asked', async (t) => {
  const directory = t.testdir({ 'ca.pem': 'x' })
  const table: readonly (readonly [readonly string[], RegExp])[] = [
    [['--endpoints', 'http://'], /Invalid URL/],
    [['--endpoints', 'ftp://x'], /neither http nor https/],
    [['--cert-file', 'c'], /^KeyFile and CertFile must both be present\[key: , cert: c\]\n$/],
    [['--ca-file', join(directory, 'none')], /^open .*\/none: no such file or directory\n$/],
    [['--ca-file', join(directory, 'ca.pem')], /\/ca.pem holds no certificate in PEM form\n$/],
  ]
  for (const [options, stderr] of table) {
    t.match(
      await run([...options, 'get', '/a']),
      { code: 1, stdout: '', stderr },
      options.join(' '),
    )
  }
  const asking = await run(['--username', 'root', 'get', '/a'])
  t.strictSame(asking, { code: 1, stdout: 'Password: ', stderr: 'no terminal\n' })
  const env = { ETCDCTL_CA_FILE: join(directory, 'ca.pem') }
  t.match(await run(['get', '/a'], { env }), { code: 1, stderr: /holds no certificate/ })
})

test('a user name brings a password, or asks for it', async (t) => {
  const { url, asked } = await serve(t, VALUE)
  await run(['-u', 'root:p:w', '--endpoints', url, 'get', '/a'])
  t.equal(asked.at(-1)?.authorization, `Basic ${Buffer.from('root:p:w').toString('base64')}`)
  const prompted = await run(['-u', 'root', '--endpoints', url, 'get', '/a'], { password: 'x' })
  t.equal(prompted.stdout, 'Password: v\n')
  t.equal(asked.at(-1)?.authorization, `Basic ${Buffer.from('root:x').toString('base64')}`)
})

test('key commands ask what the original asks', async (t) => {
  const { url, asked } = await serve(t, ({ line }) =>
    line.includes('/v2/keys') ? { body: event('set', '/a', 'v') } : undefined,
  )
  const keys = '/v2/keys/a'
  const table: readonly (readonly [readonly string[], string, string, string])[] = [
    [
      ['get', '--sort', '--quorum', '/a'],
      `GET ${keys}?quorum=true&recursive=false&sorted=true`,
      '',
      'v\n',
    ],
    [['set', '/a', 'v'], `PUT ${keys}`, 'value=v', 'v\n'],
    [['set', '/a', ''], `PUT ${keys}`, 'value=', 'v\n'],
    [
      ['set', '--swap-with-value', 'o', '--swap-with-index', '7', '/a', 'v'],
      `PUT ${keys}?prevIndex=7&prevValue=o`,
      'value=v',
      'v\n',
    ],
    [
      ['set', '--swap-with-index', '-1', '/a', 'v'],
      `PUT ${keys}?prevIndex=18446744073709551615`,
      'value=v',
      'v\n',
    ],
    [['set', '--ttl=-5', '/a', 'v'], `PUT ${keys}`, 'value=v', 'v\n'],
    [['mk', '--ttl', '5', '/a', 'v'], `PUT ${keys}?prevExist=false`, 'ttl=5&value=v', 'v\n'],
    [['mk', '--in-order', '/a', 'v'], `POST ${keys}`, 'value=v', 'v\n'],
    [['update', '/a', 'v'], `PUT ${keys}?prevExist=true`, 'value=v', 'v\n'],
    [['mkdir', '/a'], `PUT ${keys}?dir=true&prevExist=false`, '', ''],
    [['setdir', '--ttl', '5', '/a'], `PUT ${keys}?dir=true`, 'ttl=5', ''],
    [['updatedir', '/a'], `PUT ${keys}?dir=true&prevExist=true`, '', ''],
    [['rm', '/a'], `DELETE ${keys}`, '', 'v\n'],
    [
      ['rm', '--dir', '--recursive', '--with-value', 'o', '--with-index', '7', '/a'],
      `DELETE ${keys}?dir=true&prevIndex=7&prevValue=o&recursive=true`,
      '',
      'v\n',
    ],
    [['rmdir', '/a'], `DELETE ${keys}?dir=true`, '', 'v\n'],
    [
      ['ls', '--recursive', '/a'],
      `GET ${keys}?quorum=false&recursive=true&sorted=false`,
      '',
      '/a\n',
    ],
    [['ls'], 'GET /v2/keys/?quorum=false&recursive=false&sorted=false', '', '/a\n'],
  ]
  for (const [args, line, body, stdout] of table) {
    const result = await run(['--endpoints', url, ...args])
    t.strictSame(result, { code: 0, stdout, stderr: '' }, args.join(' '))
    t.match(asked.at(-1), { line, body }, args.join(' '))
  }
})

test('keys and values that are missing', async (t) => {
  const { url, asked } = await serve(t, VALUE)
  const at = ['--endpoints', url]
  for (const name of [
    'get',
    'set',
    'mk',
    'update',
    'mkdir',
    'setdir',
    'updatedir',
    'rm',
    'rmdir',
    'watch',
  ]) {
    const want = { code: 1, stdout: '', stderr: 'Error:  key required\n' }
    t.strictSame(await run([...at, name]), want, name)
  }
  for (const name of ['set', 'mk', 'update']) {
    const want = { code: 1, stdout: '', stderr: 'Error:  value required\n' }
    t.strictSame(await run([...at, name, '/a']), want, name)
    await run([...at, name, '/a'], { stdin: 'from stdin\n' })
    t.equal(asked.at(-1)?.body, 'value=from+stdin%0A')
  }
})

test('directories and errors of the server', async (t) => {
  const dir = (key: string): string =>
    JSON.stringify({ action: 'get', node: { ...(key === '/' ? {} : { key }), dir: true } })
  const { url } = await serve(t, ({ line }) => {
    if (line.includes('/v2/keys/d')) return { body: dir('/d') }
    if (line.includes('/v2/keys/?')) return { body: dir('/') }
    if (!line.includes('/v2/keys')) return undefined
    const body = '{"errorCode":100,"message":"Key not found","cause":"/x","index":12}'
    return { status: 404, body }
  })
  const at = ['--endpoints', url]
  t.strictSame(await run([...at, 'get', '/d']), {
    code: 1,
    stdout: '',
    stderr: '/d: is a directory\n',
  })
  t.strictSame(await run([...at, 'get', '/']), {
    code: 1,
    stdout: '',
    stderr: ': is a directory\n',
  })
  t.strictSame(await run([...at, 'rm', '/d']), { code: 0, stdout: '', stderr: '' })
  t.strictSame(await run([...at, 'ls', '/x']), {
    code: 4,
    stdout: '',
    stderr: 'Error:  100: Key not found (/x) [12]\n',
  })
  t.match(await run([...at, '-o', 'yaml', 'get', '/x']), { code: 4, stderr: /^Error: {2}100/ })
})

test('endpoints out of SRV records, https first, by priority and weight', async (t) => {
  const records: Record<string, readonly (readonly [string, number, number, number])[]> = {
    '_etcd-client-ssl._tcp.x': [['s', 1, 0, 0]],
    '_etcd-client._tcp.x': [
      ['late', 1, 20, 9],
      ['light', 2, 10, 1],
      ['heavy', 3, 10, 5],
    ],
    '_etcd-client._tcp.y': [['only', 1, 0, 0]],
  }
  const resolve = async (name: string) => {
    const found = records[name]
    if (found === undefined) throw new Error(`no ${name}`)
    return found.map(([host, port, priority, weight]) => ({ name: host, port, priority, weight }))
  }
  t.strictSame(await lookUpEndpoints('x', resolve), [
    'https://s:1',
    'http://heavy:3',
    'http://light:2',
    'http://late:1',
  ])
  t.strictSame(await lookUpEndpoints('y', resolve), ['http://only:1'])
  await t.rejects(lookUpEndpoints('z', resolve), {
    message: 'dns lookup errors: no _etcd-client-ssl._tcp.z and no _etcd-client._tcp.z',
  })
  for (const around of [{ env: { ETCDCTL_DISCOVERY_SRV: 'x.invalid' } }, {}]) {
    const option = around.env === undefined ? ['-D', 'x.invalid'] : []
    t.match(await run([...option, 'get', '/a'], around), {
      code: 1,
      stderr: /^dns lookup errors: /,
    })
  }
})

test('a password is read without showing it', async (t) => {
  const table: readonly (readonly [string, string])[] = [
    ['secret\r', 'secret'],
    ['sex\u007fcret\n', 'secret'],
    ['secret\u0004', 'secret'],
    ['sécret', 'sécret'],
  ]
  for (const [typed, password] of table) {
    const modes: boolean[] = []
    const keyboard = Object.assign(new PassThrough(), {
      isTTY: true as const,
      setRawMode(this: PassThrough, mode: boolean) {
        modes.push(mode)
        return this
      },
    })
    let shown = ''
    const screen = { write: (text: string) => (shown += text) !== '' }
    keyboard.end(typed)
    t.equal(await readHidden('Password: ', keyboard, screen), password)
    t.equal(shown, 'Password: \n')
    t.strictSame(modes, [true, false])
  }
  const stopped = new PassThrough()
  stopped.end('abc\u0003')
  await t.rejects(readHidden('', stopped, { write: () => true }), { message: 'interrupted' })
})

test('a password takes its line of stdin and no more', async (t) => {
  const screen = { write: () => true }
  const ask = async (input: PassThrough) => readHidden('', input, screen)
  const long = 'é'.repeat(50_000)
  for (const end of ['\n', '\r\n']) {
    const pipe = new PassThrough({ highWaterMark: 1 << 20 })
    pipe.end(`one${end}two${end}${long}\n`)
    t.equal(await ask(pipe), 'one')
    t.equal(await ask(pipe), 'two', 'a second password')
    t.equal(await readAll(pipe), `${long}\n`, 'and the value')
  }
  const short = new PassThrough()
  short.end('one')
  t.equal(await ask(short), 'one')
  t.equal(await ask(short), '', 'what has ended does not keep one waiting')
  const broken = new PassThrough()
  const asked = ask(broken)
  broken.destroy(new Error('no such device'))
  await t.rejects(asked, { message: 'no such device' })
})
