import { test } from 'tap'
import { ClusterError, KvError, MemberError, TransportError } from '@flotilla/kv-client'
import type { KvNode, KvResponse } from '@flotilla/kv-client'
import { curlLine } from '../src/client.ts'
import { canonicalPath, padRoles, roleText } from '../src/commands/auth.ts'
import { spawnErrorText, watchEnv } from '../src/commands/exec-watch.ts'
import { configuration, memberLine } from '../src/commands/member.ts'
import { badArgs, errorText, isConnectionError, keyFailure, plainFailure } from '../src/errors.ts'
import { formatResponse, goJson, goQuote, listing, responseJson } from '../src/format.ts'
import { commandHelp, groupHelp, programHelp } from '../src/help.ts'
import { logLine } from '../src/log-line.ts'
import { checkPeerUrls } from '../src/urls.ts'

const FILE: KvNode = { key: '/a', value: 'v', modifiedIndex: 7, createdIndex: 4 }

function response(action: string, node: KvNode, prevNode?: KvNode): KvResponse {
  return {
    action,
    node,
    ...(prevNode === undefined ? {} : { prevNode }),
    etcdIndex: 9,
    raftIndex: 0,
    raftTerm: 0,
    clusterId: '',
  }
}

test('simple prints the value, or what a delete took away', (t) => {
  const gone: KvNode = { key: '/a', modifiedIndex: 8, createdIndex: 4 }
  const table: readonly (readonly [KvResponse, string])[] = [
    [response('get', FILE), 'v\n'],
    [response('get', { ...FILE, value: '' }), '\n'],
    [response('get', { ...FILE, value: 'x\ny\n' }), 'x\ny\n\n'],
    [response('delete', gone, FILE), 'PrevNode.Value: v\n'],
    [response('delete', gone), 'PrevNode.Value: \n'],
    [response('expire', gone, FILE), '\n'],
    [response('compareAndDelete', gone, FILE), '\n'],
  ]
  for (const [answer, want] of table) {
    t.strictSame(formatResponse(answer, 'simple'), { stdout: want, stderr: '' }, answer.action)
  }
  t.strictSame(formatResponse(response('get', FILE), 'yaml'), {
    stdout: '',
    stderr: 'Unsupported output format: yaml\n',
  })
  t.end()
})

test('extended prints the fields of the node', (t) => {
  const ttl = response('set', { ...FILE, ttl: 100 }, { ...FILE, value: 'old' })
  t.equal(
    formatResponse(ttl, 'extended').stdout,
    'Key: /a\nCreated-Index: 4\nModified-Index: 7\nPrevNode.Value: old\nTTL: 100\nIndex: 9\n\nv\n',
  )
  t.equal(
    formatResponse(response('get', FILE), 'extended').stdout,
    'Key: /a\nCreated-Index: 4\nModified-Index: 7\nTTL: 0\nIndex: 9\n\nv\n',
  )
  const gone = response('delete', { key: '/a', modifiedIndex: 8, createdIndex: 4 }, FILE)
  t.equal(
    formatResponse(gone, 'extended').stdout,
    'Key: /a\nCreated-Index: 4\nModified-Index: 8\nPrevNode.Value: v\nTTL: 0\nIndex: 9\n',
  )
  t.end()
})

test('json has the fields of the original in its order', (t) => {
  const dir: KvNode = { key: '/', dir: true, nodes: [FILE], modifiedIndex: 0, createdIndex: 0 }
  const expiring = { ...FILE, ttl: 5, expiration: '2015-01-01T00:00:00Z' }
  t.equal(
    responseJson(response('get', dir, expiring)),
    '{"action":"get","node":{"key":"","dir":true,"value":"","nodes":[{"key":"/a","value":"v",' +
      '"nodes":null,"createdIndex":4,"modifiedIndex":7}],"createdIndex":0,"modifiedIndex":0},' +
      '"prevNode":{"key":"/a","value":"v","nodes":null,"createdIndex":4,"modifiedIndex":7,' +
      '"expiration":"2015-01-01T00:00:00Z","ttl":5}}',
  )
  t.equal(formatResponse(response('get', FILE), 'json').stdout.endsWith('"prevNode":null}\n'), true)
  t.end()
})

test('texts are escaped as Go does', (t) => {
  const table: readonly (readonly [string, string])[] = [
    ['<b>&"\\', '"\\u003cb\\u003e\\u0026\\"\\\\"'],
    ['\n\r\t', '"\\n\\r\\t"'],
    ['\b\f\u0000\u001f', '"\\u0008\\u000c\\u0000\\u001f"'],
    ['\\b \\f', '"\\\\b \\\\f"'],
    ['\u2028\u2029', '"\\u2028\\u2029"'],
    ['é☃😀\u007f', '"é☃😀\u007f"'],
  ]
  for (const [text, want] of table) t.equal(goJson(text), want, want)
  for (const [text] of table) t.equal(JSON.parse(goJson(text)), text)
  t.equal(goQuote('{"a":"b"}'), '"{\\"a\\":\\"b\\"}"')
  t.equal(goQuote('\u0001\u007f'), '"\\x01\\x7f"')
  t.equal(
    curlLine({ method: 'PUT', url: 'http://h/v2/keys/a', body: 'value=1' }),
    'cURL Command: curl -X PUT http://h/v2/keys/a -d "value=1"\n',
  )
  t.equal(
    curlLine({ method: 'PUT', url: 'http://h/x', body: '' }),
    'cURL Command: curl -X PUT http://h/x -d ""\n',
  )
  t.equal(curlLine({ method: 'GET', url: 'http://h/x' }), 'cURL Command: curl -X GET http://h/x\n')
  t.end()
})

test('a listing goes depth first and may mark directories', (t) => {
  const leaf = (key: string): KvNode => ({ key, modifiedIndex: 1, createdIndex: 1 })
  const dir = (key: string, nodes: readonly KvNode[]): KvNode => ({
    ...leaf(key),
    dir: true,
    nodes,
  })
  const tree = response('get', dir('/', [leaf('/a'), dir('/s', [leaf('/s/b')]), leaf('/z')]))
  t.equal(listing(tree, false), '/a\n/s\n/s/b\n/z\n')
  t.equal(listing(tree, true), '/a\n/s/\n/s/b\n/z\n')
  t.equal(listing(response('get', leaf('/f')), true), '/f\n')
  t.equal(listing(response('get', { ...leaf('/'), dir: true }), true), '')
  t.end()
})

function failed(code: string, cause: object = {}, message = 'm'): TransportError {
  return new TransportError(message, code, false, Object.assign(new Error(message), cause))
}

test('failures have the words of Go', (t) => {
  const at = { address: '127.0.0.1', port: 1 }
  const table: readonly (readonly [Error, string])[] = [
    [failed('ECONNREFUSED', at), 'dial tcp 127.0.0.1:1: connect: connection refused'],
    [
      failed('ECONNREFUSED', { address: '::1', port: 1 }),
      'dial tcp [::1]:1: connect: connection refused',
    ],
    [failed('EHOSTUNREACH', at), 'dial tcp 127.0.0.1:1: connect: no route to host'],
    [failed('ENETUNREACH', at), 'dial tcp 127.0.0.1:1: connect: network is unreachable'],
    [failed('ETIMEDOUT', at), 'dial tcp 127.0.0.1:1: i/o timeout'],
    [failed('ENOTFOUND', { hostname: 'x' }), 'dial tcp: lookup x: no such host'],
    [
      failed('EAI_AGAIN', { hostname: 'x' }),
      'dial tcp: lookup x: Temporary failure in name resolution',
    ],
    [failed('ECONNRESET', at), 'read tcp 127.0.0.1:1: read: connection reset by peer'],
    [failed('ECONNRESET', {}, 'socket hang up'), 'EOF'],
    [failed('CERT_HAS_EXPIRED'), 'x509: certificate has expired or is not yet valid'],
    [failed('SELF_SIGNED_CERT_IN_CHAIN'), 'x509: certificate signed by unknown authority'],
    [failed('ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE'), 'remote error: tls: bad certificate'],
    [
      failed('ERR_SSL_WRONG_VERSION_NUMBER'),
      'tls: first record does not look like a TLS handshake',
    ],
    [failed('OTHER'), 'm'],
    [new DOMException('x', 'TimeoutError'), 'context deadline exceeded'],
    [
      new MemberError('http://h', 502, 'Bad Gateway', ''),
      'client: etcd member http://h returns server error [Bad Gateway]',
    ],
  ]
  for (const [error, want] of table) t.equal(errorText(error), want)
  t.equal(errorText('x'), 'x')
  t.end()
})

test('the end of a command that failed', (t) => {
  const missing = { errorCode: 100, subject: '/foo', index: 12, status: 404 }
  const known = keyFailure(new KvError('Key not found', missing))
  t.match(known, { exitCode: 4, message: 'Error:  100: Key not found (/foo) [12]\n' })
  const foreign = new KvError('404 page not found', { ...missing, errorCode: 0 })
  t.match(keyFailure(foreign).message, /^Error: {2}client: response is invalid json\. The endpoint/)
  const cluster = new ClusterError('UNAVAILABLE', [
    { endpoint: 'http://a', error: failed('ECONNREFUSED', { address: '1.2.3.4', port: 1 }) },
    { endpoint: 'http://b', error: new MemberError('http://b', 503, '', '') },
  ])
  t.equal(
    keyFailure(cluster, 2).message,
    'Error:  client: etcd cluster is unavailable or misconfigured\n' +
      'error #0: dial tcp 1.2.3.4:1: connect: connection refused\n' +
      'error #1: client: etcd member http://b has no leader\n\n',
  )
  t.match(plainFailure(cluster), {
    exitCode: 1,
    message: 'client: etcd cluster is unavailable or misconfigured\n',
  })
  t.match(badArgs('key required'), { exitCode: 1, message: 'Error:  key required\n' })
  t.equal(isConnectionError(cluster), false, 'one of them answered')
  t.equal(isConnectionError(new ClusterError('UNAVAILABLE', [])), true)
  t.equal(isConnectionError(failed('HEADER_TIMEOUT')), true)
  t.equal(isConnectionError(new DOMException('x', 'TimeoutError')), true)
  t.equal(isConnectionError(failed('ECONNRESET')), true)
  t.equal(isConnectionError(failed('ECONNRESET', {}, 'socket hang up')), false)
  t.equal(isConnectionError(new Error('x')), false)
  t.end()
})

test('help has the sections of the original, columns set with tabs', (t) => {
  const options = [
    { names: ['ttl'], kind: 'int', fallback: '0', help: 'seconds' },
    { names: ['help', 'h'], kind: 'bool', help: 'show help' },
  ] as const
  t.equal(
    commandHelp('kvctl set', {
      name: 'set',
      usage: 'set a key',
      args: '<key>',
      description: 'One\n\nTwo',
      options,
    }),
    'NAME:\n   kvctl set - set a key\n\nUSAGE:\n   kvctl set [command options] <key>\n\n' +
      'DESCRIPTION:\n   One\n\n   Two\n\nOPTIONS:\n   --ttl "0"\tseconds\n   --help, -h\tshow help\n\n',
  )
  t.equal(
    commandHelp('kvctl x', { name: 'x', usage: 'u', args: '', options: [] }),
    'NAME:\n   kvctl x - u\n\nUSAGE:\n   kvctl x\n\n',
  )
  t.equal(
    groupHelp('kvctl member', 'members', [{ name: 'list', usage: 'show' }]),
    'NAME:\n   kvctl member - members\n\nUSAGE:\n   kvctl member command [command options] [arguments...]\n\n' +
      'COMMANDS:\n   list\t\tshow\n   help, h\tlist the commands, or show the help of one\n\n' +
      'OPTIONS:\n   --help, -h\tshow this help\n\n',
  )
  const list = { names: ['roles'], kind: 'list', help: 'r' } as const
  t.match(
    programHelp('kvctl', '1', [], [list]),
    /GLOBAL OPTIONS:\n {3}--roles \[--roles option --roles option\]\tr\n/,
  )
  t.end()
})

test('lines of member, user, role and exec-watch', (t) => {
  const started = {
    id: 'ab',
    name: 'n',
    peerURLs: ['http://p:1', 'http://p:2'],
    clientURLs: ['http://c:1'],
  }
  t.equal(
    memberLine(started, 'ab'),
    'ab: name=n peerURLs=http://p:1,http://p:2 clientURLs=http://c:1 isLeader=true\n',
  )
  t.match(memberLine(started, 'cd'), 'isLeader=false\n')
  const added = { id: 'cd', name: '', peerURLs: ['http://q:1'], clientURLs: [] }
  t.equal(memberLine(added, 'ab'), 'cd[unstarted]: peerURLs=http://q:1\n')
  t.equal(
    configuration('new', [started, { ...added, name: 'new' }]),
    'ETCD_NAME="new"\nETCD_INITIAL_CLUSTER="n=http://p:1,n=http://p:2,new=http://q:1"\n' +
      'ETCD_INITIAL_CLUSTER_STATE="existing"\n',
  )
  t.equal(padRoles([]), '')
  t.equal(padRoles(['root']), ' root')
  t.equal(padRoles(['r1', 'root']), '  r1 root')
  const kv = { read: ['/a/*'], write: ['/b', '/c'] }
  t.equal(
    roleText({ role: 'r', permissions: { kv } }),
    'Role: r\nKV Read:\n\t/a/*\nKV Write:\n\t/b\n\t/c\n',
  )
  t.equal(canonicalPath('a//b'), '/a/b')
  t.equal(canonicalPath('/a/'), '/a/')
  t.equal(canonicalPath('/a/../b/.'), '/b')
  t.strictSame(watchEnv(response('set', FILE)), {
    ETCD_WATCH_ACTION: 'set',
    ETCD_WATCH_MODIFIED_INDEX: '7',
    ETCD_WATCH_KEY: '/a',
    ETCD_WATCH_VALUE: 'v',
  })
  const enoent = Object.assign(new Error('x'), { code: 'ENOENT' })
  const eacces = Object.assign(new Error('x'), { code: 'EACCES' })
  t.equal(spawnErrorText('x', enoent), 'exec: "x": executable file not found in $PATH')
  t.equal(spawnErrorText('x', eacces), 'exec: "x": permission denied')
  t.equal(spawnErrorText('/x', enoent), 'fork/exec /x: no such file or directory')
  t.equal(spawnErrorText('/x', eacces), 'fork/exec /x: permission denied')
  const eagain = Object.assign(new Error(), { code: 'EAGAIN' })
  t.equal(spawnErrorText('x', eagain), 'fork/exec x: resource temporarily unavailable')
  t.equal(spawnErrorText('x', new Error('no idea')), 'fork/exec x: no idea')
  t.end()
})

test('peer URLs are checked as etcd 2.3 does', (t) => {
  t.strictSame(checkPeerUrls([' http://b:1', 'https://[::1]:2']), ['http://b:1', 'https://[::1]:2'])
  const table: readonly (readonly [string, string])[] = [
    ['bar', 'URL scheme must be http or https: bar\n'],
    ['unix://x', 'URL scheme must be http or https: unix://x\n'],
    ['', 'URL scheme must be http or https: \n'],
    ['http://foo', 'URL address does not have the form "host:port": http://foo\n'],
    ['http://a:1:2', 'URL address does not have the form "host:port": http://a:1:2\n'],
    ['http://127.0.0.1:1/x', 'URL must not contain a path: http://127.0.0.1:1/x\n'],
    ['http://127.0.0.1:1/', 'URL must not contain a path: http://127.0.0.1:1/\n'],
  ]
  for (const [url, message] of table) {
    t.throws(() => checkPeerUrls([url]), { message, exitCode: 1 }, url)
  }
  t.end()
})

test('a log line has local time to the second', (t) => {
  t.equal(logLine('text', new Date(2015, 0, 2, 3, 4, 5)), '2015/01/02 03:04:05 text\n')
  t.end()
})
