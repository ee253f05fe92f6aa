import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'tap'
import type { Test } from 'tap'
import { run } from './helpers/command.ts'

const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
const hasOpenssl = spawnSync('openssl', ['version']).status === 0

/** `{ca,other}.pem` of two CAs; `{server,client,elsewhere}.{pem,key}` by the first, `stranger` by the second. */
function makeCertificates(directory: string): (file: string) => string {
  const openssl = (...args: readonly string[]): void => {
    execFileSync('openssl', args, { cwd: directory, stdio: ['ignore', 'ignore', 'pipe'] })
  }
  for (const ca of ['ca', 'other'])
    openssl(
      'req',
      '-x509',
      ...EC,
      '-keyout',
      `${ca}.key`,
      '-out',
      `${ca}.pem`,
      '-subj',
      `/CN=${ca}`,
    )
  for (const [name, ca, names] of [
    ['server', 'ca', 'IP:127.0.0.1,DNS:localhost'],
    ['client', 'ca', 'DNS:client'],
    ['elsewhere', 'ca', 'IP:127.0.0.9,DNS:a.example,DNS:b.example'],
    ['stranger', 'other', 'DNS:client'],
  ] as const) {
    const files = ['-keyout', `${name}.key`, '-out', `${name}.csr`]
    openssl('req', ...EC, ...files, '-subj', `/CN=${name}`, '-addext', `subjectAltName=${names}`)
    const by = ['-CA', `${ca}.pem`, '-CAkey', `${ca}.key`, '-CAcreateserial']
    const copy = ['-copy_extensions', 'copy', '-days', '30']
    openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.pem`, ...by, ...copy)
  }
  return (file) => join(directory, file)
}

const etcd = (process.env['PATH'] ?? '')
  .split(delimiter)
  .map((directory) => join(directory, 'etcd'))
  .find((file) => existsSync(file))
const kvd = fileURLToPath(new URL('../../../kvd/bin/kvd.js', import.meta.url))
const PROGRAMS = [
  { name: 'kvd', command: existsSync(kvd) ? [process.execPath, kvd] : undefined },
  { name: 'etcd', command: etcd === undefined ? undefined : [etcd, '--enable-v2'] },
]

function freePort(): Promise<number> {
  const server = createServer()
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      const port = typeof address === 'object' ? (address?.port ?? 0) : 0
      server.close(() => resolve(port))
    })
  })
}

/** Starts a server with this certificate that asks for one of the CA; its URL, when it answers. */
async function start(
  t: Test,
  [program = '', ...first]: readonly string[],
  path: (file: string) => string,
  name: string,
): Promise<string> {
  const url = `https://127.0.0.1:${await freePort()}`
  const peerUrl = `http://127.0.0.1:${await freePort()}`
  const args = [
    ...first,
    `--data-dir=${path(`data-${name}`)}`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=default=${peerUrl}`,
    `--cert-file=${path(`${name}.pem`)}`,
    `--key-file=${path(`${name}.key`)}`,
    `--trusted-ca-file=${path('ca.pem')}`,
    '--client-cert-auth',
  ]
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text
    child.emit('said')
  })
  const ended = new Promise((resolve) => child.on('close', resolve))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  while (!/listening for client requests on|ready to serve client requests/.test(log)) {
    if (child.exitCode !== null) throw new Error(`the server ended: ${log}`)
    await Promise.race([new Promise((resolve) => child.once('said', resolve)), ended])
  }
  return url
}

for (const { name, command } of PROGRAMS) {
  const skip = command === undefined || !hasOpenssl ? 'not installed or not built' : false

  test(`${name}: commands over TLS with a client certificate`, { skip }, async (t) => {
    const path = makeCertificates(t.testdir())
    const url = await start(t, command ?? [], path, 'server')
    const trust = ['--endpoints', url, '--ca-file', path('ca.pem')]
    const full = [...trust, '--cert-file', path('client.pem'), '--key-file', path('client.key')]
    let isUp = false
    while (!isUp) isUp = (await run([...full, 'ls', '/'])).code === 0
    t.strictSame(await run([...full, 'set', '/a', 'v']), { code: 0, stdout: 'v\n', stderr: '' })
    const env = {
      ETCDCTL_ENDPOINTS: url,
      ETCDCTL_CA_FILE: path('ca.pem'),
      ETCDCTL_CERT_FILE: path('client.pem'),
      ETCDCTL_KEY_FILE: path('client.key'),
    }
    t.strictSame(await run(['get', '/a'], { env }), { code: 0, stdout: 'v\n', stderr: '' })
    t.match(await run(['member', 'list'], { env }), { code: 0, stdout: `clientURLs=${url}` })
    t.match(await run(['cluster-health'], { env }), { code: 0, stdout: /cluster is healthy\n$/ })
    const watch = run(['watch', '/w'], { env })
    const over = new AbortController()
    void watch.finally(() => over.abort())
    // It does not say when it has begun.
    while (!over.signal.aborted) await run(['set', '/w', 'seen'], { env })
    t.match(await watch, { code: 0, stdout: 'seen\n' })

    const refused: [what: string, options: string[], stderr: RegExp][] = [
      ['no certificate', trust, /remote error: tls: (certificate required|bad certificate)/],
      [
        "another CA's certificate",
        [...trust, '--cert-file', path('stranger.pem'), '--key-file', path('stranger.key')],
        /EOF|remote error: tls|connection reset by peer/,
      ],
      [
        'another CA trusted',
        ['--endpoints', url, '--ca-file', path('other.pem')],
        /x509: certificate signed by unknown authority/,
      ],
    ]
    for (const [what, options, stderr] of refused) {
      const { code, stderr: said } = await run([...options, 'get', '/a'])
      t.not(code, 0, what)
      t.match(said, stderr, what)
    }
  })
}

test(
  'a certificate for another host is refused, in the words of the original',
  { skip: PROGRAMS[0]?.command === undefined || !hasOpenssl ? 'kvd is not built' : false },
  async (t) => {
    const path = makeCertificates(t.testdir())
    const url = await start(t, PROGRAMS[0]?.command ?? [], path, 'elsewhere')
    const show = ['--cert-file', path('client.pem'), '--key-file', path('client.key')]
    const options = ['--ca-file', path('ca.pem'), ...show]
    const byAddress = await run(['--endpoints', url, ...options, 'get', '/a'])
    t.equal(byAddress.code, 4)
    t.match(byAddress.stderr, 'x509: certificate is valid for 127.0.0.9, not 127.0.0.1')
    const local = url.replace('127.0.0.1', 'localhost')
    const byName = await run(['--endpoints', local, ...options, 'get', '/a'])
    t.match(byName.stderr, 'x509: certificate is valid for a.example, b.example, not localhost')
  },
)

test('certificate files are checked before anything is asked', { skip: !hasOpenssl }, async (t) => {
  const path = makeCertificates(t.testdir({ text: 'x' }))
  const cases: [cert: string, key: string, problem: string][] = [
    ['none', 'client.key', `open ${path('none')}: no such file or directory\n`],
    ['text', 'client.key', `${path('text')} holds no certificate in PEM form\n`],
    ['client.pem', 'text', `${path('text')} holds no private key that can be read\n`],
    [
      'client.pem',
      'server.key',
      `tls: private key does not match public key: ${path('server.key')} and ${path('client.pem')}\n`,
    ],
  ]
  for (const [cert, key, stderr] of cases) {
    const options = ['--cert-file', path(cert), '--key-file', path(key)]
    t.strictSame(await run([...options, 'get', '/a']), { code: 1, stdout: '', stderr })
  }
})
