import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { delimiter, join } from 'node:path'
import { connect } from 'node:tls'
import t, { type Test } from 'tap'
import { Authority, opensslSkip, read, replacePair, type Pair } from '../helpers/certificates.ts'
import { askSecurely, Daemon } from '../helpers/daemon.ts'
import { freePorts } from '../helpers/store-process.ts'

const skip = opensslSkip()
const etcdctl = (process.env['PATH'] ?? '')
  .split(delimiter)
  .map((directory) => join(directory, 'etcdctl'))
  .find((file) => existsSync(file))

interface Member {
  readonly daemon: Daemon
  readonly url: string
  readonly peerUrl: string
}

/** Starts a member on https URLs and waits until it listens. */
async function startMember(tt: Test, dir: string, flags: readonly string[]): Promise<Member> {
  const ports = await freePorts()
  const url = `https://127.0.0.1:${ports.client}`
  const peerUrl = `https://127.0.0.1:${ports.peer}`
  const daemon = new Daemon(tt, [
    `--data-dir=${join(dir, 'member')}`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    ...flags,
  ])
  await daemon.said(`listening for client requests on ${url}`)
  return { daemon, url, peerUrl }
}

function flagsOf(pair: Pair, ca: Authority, prefix = ''): string[] {
  return [
    `--${prefix}cert-file=${pair.cert}`,
    `--${prefix}key-file=${pair.key}`,
    `--${prefix}trusted-ca-file=${ca.file}`,
    `--${prefix}client-cert-auth`,
  ]
}

/** Runs a program; its output, or what went wrong. */
async function run(file: string, args: readonly string[]): Promise<string> {
  const env = { ...process.env, ETCDCTL_API: '2' }
  return await new Promise((resolve) => {
    execFile(file, args, { env }, (error, stdout, stderr) =>
      resolve(error === null ? stdout : `${error.code}: ${stdout}${stderr}`),
    )
  })
}

t.test(
  "etcd's own command line works with client certificates, and not without",
  { skip: skip || (etcdctl === undefined ? 'there is no etcdctl command' : false) },
  async (tt) => {
    const dir = tt.testdir()
    const ca = new Authority(dir, 'ca')
    const { url, daemon } = await startMember(tt, dir, [
      ...flagsOf(ca.issue('server'), ca),
      ...flagsOf(ca.issue('peer'), ca, 'peer-'),
    ])
    const client = ca.issue('client')
    const trusting = ['--endpoints', url, '--ca-file', ca.file]
    const full = [...trusting, '--cert-file', client.cert, '--key-file', client.key]
    const ctl = async (...words: string[]): Promise<string> =>
      await run(etcdctl ?? '', [...full, ...words])
    tt.equal(await ctl('set', '/a', 'one'), 'one\n')
    tt.equal(await ctl('get', '/a'), 'one\n')
    tt.equal(await ctl('ls', '/'), '/a\n')
    tt.match(await ctl('member', 'list'), `clientURLs=${url} isLeader=true`)
    tt.match(await ctl('cluster-health'), 'cluster is healthy')
    const watching = spawn(etcdctl ?? '', [...full, 'watch', '/w'], {
      env: { ...process.env, ETCDCTL_API: '2' },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const seen: string[] = []
    watching.stdout.setEncoding('utf8').on('data', (chunk: string) => seen.push(chunk))
    const over = once(watching, 'close')
    // It does not say when it has begun.
    while (watching.exitCode === null && seen.length === 0) await ctl('set', '/w', 'seen')
    await over
    tt.equal(seen.join(''), 'seen\n')
    const bare = await run(etcdctl ?? '', [...trusting, 'get', '/a'])
    tt.match(bare, /^\d+: .*remote error: tls: (bad certificate|certificate required)/s)
    tt.match(await run(etcdctl ?? '', ['--endpoints', url, 'get', '/a']), /x509|certificate/)
    tt.match(daemon.log, `clientTLS: cert = ${join(dir, 'server.pem')}`)
    tt.equal(await daemon.end('SIGTERM'), 0)
  },
)

t.test(
  'SIGHUP makes kvd read its certificates again, and disturbs nobody',
  { skip },
  async (tt) => {
    const dir = tt.testdir()
    const ca = new Authority(dir, 'ca')
    const pair = ca.issue('old')
    const flags = [`--cert-file=${pair.cert}`, `--key-file=${pair.key}`]
    const peer = ca.issue('peer')
    const { url, daemon } = await startMember(tt, dir, [...flags, ...flagsOf(peer, ca, 'peer-')])
    const watch = request(`${url}/v2/keys/w?wait=true`, { ca: ca.pem, agent: false }).end()
    const [answer]: NodeJS.ReadableStream[] = await once(watch, 'response')
    const { hostname: host, port } = new URL(url)
    const shown = async (): Promise<string> => {
      const socket = connect({ host, port: Number(port), ca: ca.pem })
      await once(socket, 'secureConnect')
      const { CN } = socket.getPeerCertificate().subject
      socket.destroy()
      return String(CN)
    }
    tt.equal(await shown(), 'old')
    replacePair(pair, ca.issue('new'))
    daemon.child.kill('SIGHUP')
    await daemon.said('certificates were read again side=client')
    await daemon.said('certificates were read again side=peer')
    tt.equal(await shown(), 'new')
    writeFileSync(pair.key, 'broken')
    daemon.child.kill('SIGHUP')
    await daemon.said(`tls: ${pair.key} holds no private key that can be read`)
    tt.equal(await shown(), 'new')
    await askSecurely(`${url}/v2/keys/w`, { ca: ca.pem, method: 'PUT' }, 'value=seen')
    let text = ''
    for await (const chunk of answer ?? []) text += String(chunk)
    tt.match(text, '"value":"seen"', 'a watch of before has gone on')
  },
)

t.test('what is wrong with the files is said, with status 1', { skip }, async (tt) => {
  const dir = tt.testdir()
  const ca = new Authority(dir, 'ca')
  const [one, two] = [ca.issue('one'), ca.issue('two')]
  const { client, peer } = await freePorts()
  const urls = [
    `--data-dir=${join(dir, 'd')}`,
    `--listen-client-urls=https://127.0.0.1:${client}`,
    `--advertise-client-urls=https://127.0.0.1:${client}`,
    `--listen-peer-urls=http://127.0.0.1:${peer}`,
  ]
  const cases: [flags: string[], problem: string][] = [
    [
      [],
      `cannot listen on TLS for https://127.0.0.1:${client}: KeyFile and CertFile are not presented`,
    ],
    [
      [`--cert-file=${one.cert}`],
      `KeyFile and CertFile must both be present[key: , cert: ${one.cert}]`,
    ],
    [
      [`--cert-file=${dir}/none`, `--key-file=${one.key}`],
      `etcdmain: cannot read ${dir}/none: ENOENT`,
    ],
    [[`--cert-file=${one.cert}`, `--key-file=${two.key}`], `the key in ${two.key} is not that of`],
  ]
  for (const [flags, problem] of cases) {
    const daemon = new Daemon(tt, [...urls, ...flags])
    tt.equal(await daemon.ended(), 1)
    tt.match(daemon.log, problem)
    tt.notMatch(daemon.log, /\n +at /, 'no stack')
  }
})

t.test('--auto-tls makes what it needs, once', { skip }, async (tt) => {
  const dir = tt.testdir()
  const first = await startMember(tt, dir, ['--auto-tls', '--peer-auto-tls'])
  const file = join(dir, 'member/fixtures/client/cert.pem')
  const ca = readFileSync(file)
  tt.equal((await askSecurely(`${first.url}/version`, { ca })).status, 200)
  tt.equal(statSync(join(dir, 'member/fixtures/peer/key.pem')).mode & 0o777, 0o600)
  await first.daemon.end('SIGTERM')
  const again = await startMember(tt, dir, ['--auto-tls', '--peer-auto-tls'])
  tt.equal((await askSecurely(`${again.url}/version`, { ca })).status, 200)
  tt.notMatch(again.daemon.log, 'invalid file/dir')
})

t.test('a proxy speaks TLS to its clients and to the members', { skip }, async (tt) => {
  const dir = tt.testdir()
  const ca = new Authority(dir, 'ca')
  const server = ca.issue('server')
  const member = await startMember(tt, dir, [
    ...flagsOf(server, ca),
    ...flagsOf(ca.issue('peer'), ca, 'peer-'),
  ])
  const dialling = ca.issue('proxy-peer')
  const { client } = await freePorts()
  const url = `https://127.0.0.1:${client}`
  const proxy = new Daemon(tt, [
    `--data-dir=${join(dir, 'proxy')}`,
    '--proxy=on',
    '--cors=http://page.example',
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--initial-cluster=default=${member.peerUrl}`,
    ...flagsOf(ca.issue('front'), ca),
    ...flagsOf(dialling, ca, 'peer-'),
  ])
  await proxy.said(`proxy: endpoints found ["${member.url}"]`)
  await proxy.said('proxy: listening for client requests on')
  const mine = { ca: ca.pem, ...read(ca.issue('client')) }
  const put = { ...mine, method: 'PUT', headers: { Host: 'elsewhere.example' }, servername: '' }
  const written = await askSecurely(`${url}/v2/keys/a`, put, 'value=through')
  tt.equal(written.status, 201, 'whatever the Host header says')
  tt.match((await askSecurely(`${member.url}/v2/keys/a`, mine)).body, '"value":"through"')
  await tt.rejects(askSecurely(`${url}/v2/keys/a`, { ca: ca.pem }), 'without a certificate')
  const origin = { ...mine, headers: { Origin: 'http://page.example' } }
  const allowed = await askSecurely(`${url}/v2/keys/a`, origin)
  tt.equal(allowed.headers['access-control-allow-origin'], 'http://page.example')
  const options = await askSecurely(`${url}/v2/keys/a`, { ...origin, method: 'OPTIONS' })
  tt.match(options, {
    status: 200,
    body: '',
    headers: { 'access-control-allow-headers': /accept/ },
  })
  const stranger = { ...mine, headers: { Origin: 'http://other.example' } }
  const plain = await askSecurely(`${url}/v2/keys/a`, stranger)
  tt.equal(plain.headers['access-control-allow-origin'], undefined)
  replacePair(dialling, new Authority(dir, 'other').issue('untrusted'))
  proxy.child.kill('SIGHUP')
  await proxy.said('certificates were read again side=peer')
  const other = new Daemon(tt, [
    `--data-dir=${join(dir, 'stranger')}`,
    '--proxy=on',
    '--listen-client-urls=http://127.0.0.1:1',
    '--advertise-client-urls=http://127.0.0.1:1',
    `--initial-cluster=default=${member.peerUrl}`,
  ])
  await other.said(`could not get cluster response from ${member.peerUrl}: `)
  tt.match(other.log, /cluster response from \S+: (self-signed certificate|unable to verify)/)
  const refused = await askSecurely(`${url}/v2/keys/a`, mine)
  tt.equal(refused.status, 502, 'no kept connection shows the certificate of before')
  tt.equal(await proxy.end('SIGTERM'), 0)
})
