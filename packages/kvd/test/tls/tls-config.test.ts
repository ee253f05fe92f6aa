import t from 'tap'
import { ConfigError } from '../../src/config-error.ts'
import { readInvocation, type Config } from '../../src/config.ts'

function configOf(argv: readonly string[], env: Record<string, string> = {}): Config {
  const invocation = readInvocation(argv, env)
  if (invocation.type !== 'run') throw new Error(`${invocation.type}, not run`)
  return invocation.config
}

function refusalOf(argv: readonly string[]): string {
  try {
    configOf(argv)
    return 'accepted'
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return `${error.exitCode} ${error.message}`
  }
}

const PAIR = ['--cert-file', 'c', '--key-file', 'k']
const PEER_PAIR = ['--peer-cert-file', 'pc', '--peer-key-file', 'pk']
const CLIENTS = ['--listen-client-urls=https://h:1', '--advertise-client-urls=https://h:1']

t.test('without flags there is no certificate on either side', async (tt) => {
  const { clientTls, peerTls } = configOf([])
  const none = {
    certFile: '',
    keyFile: '',
    caFiles: [],
    clientCertAuth: false,
    isSelfSigned: false,
  }
  tt.same(clientTls, { side: 'client', ...none })
  tt.same(peerTls, { side: 'peer', ...none })
})

t.test('each side has its flags and variables', async (tt) => {
  const { clientTls, peerTls } = configOf([...PAIR, ...CLIENTS, '--trusted-ca-file', 'ca'], {
    ETCD_CLIENT_CERT_AUTH: 'true',
    ETCD_PEER_CERT_FILE: 'pc',
    KVD_PEER_KEY_FILE: 'pk',
    ETCD_PEER_TRUSTED_CA_FILE: 'pca',
  })
  const client = { certFile: 'c', keyFile: 'k', caFiles: ['ca'], clientCertAuth: true }
  tt.same(clientTls, { side: 'client', ...client, isSelfSigned: false })
  const peer = { certFile: 'pc', keyFile: 'pk', caFiles: ['pca'], clientCertAuth: false }
  tt.same(peerTls, { side: 'peer', ...peer, isSelfSigned: false })
})

t.test('the old flag for the CA asks for certificates, too', async (tt) => {
  const { clientTls, peerTls } = configOf([
    ...PAIR,
    ...PEER_PAIR,
    ...CLIENTS,
    '--ca-file=old',
    '--trusted-ca-file=new',
    '--peer-ca-file=peers',
    '--listen-peer-urls=https://h:2',
  ])
  tt.match(clientTls, { caFiles: ['old', 'new'], clientCertAuth: true })
  tt.match(peerTls, { caFiles: ['peers'], clientCertAuth: true })
})

t.test('what does not go together is refused, in the words of the original', async (tt) => {
  const cases: [argv: string[], refusal: string][] = [
    [['--cert-file', 'c'], '1 KeyFile and CertFile must both be present[key: , cert: c]'],
    [['--key-file', 'k'], '1 KeyFile and CertFile must both be present[key: k, cert: ]'],
    [['--peer-key-file', 'k'], '1 KeyFile and CertFile must both be present[key: k, cert: ]'],
    [CLIENTS, '1 cannot listen on TLS for https://h:1: KeyFile and CertFile are not presented'],
    [
      ['--listen-peer-urls=http://h:1,https://[::1]:443', ...PAIR],
      '1 cannot listen on TLS for https://[::1]:443: KeyFile and CertFile are not presented',
    ],
    [[...PAIR, ...CLIENTS], 'accepted'],
    [['--trusted-ca-file', 'ca'], 'accepted'],
    [
      ['--auto-tls', '--client-cert-auth', ...CLIENTS],
      '1 flag -auto-tls: -client-cert-auth needs -trusted-ca-file, the CA of the clients',
    ],
    [['--auto-tls', '--client-cert-auth', '--trusted-ca-file=ca', ...CLIENTS], 'accepted'],
    [
      ['--peer-auto-tls', '--peer-client-cert-auth', '--peer-trusted-ca-file=ca'],
      '1 flag -peer-auto-tls: the members would refuse each other, as -peer-client-cert-auth asks for certificates of a CA',
    ],
  ]
  for (const [argv, refusal] of cases) tt.equal(refusalOf(argv), refusal, argv.join(' '))
})

t.test('what does not count for an http URL is said', async (tt) => {
  const http = ['--listen-client-urls=http://h:1', '--advertise-client-urls=http://h:1']
  tt.same(configOf([...PAIR, ...http, '--client-cert-auth']).warnings, [
    'The scheme of client url http://h:1 is http while client key/cert files are presented. Ignored client key/cert files.',
    'The scheme of client url http://h:1 is http while client cert auth (--client-cert-auth) is enabled. Ignored client cert auth for this url.',
  ])
  const peer = configOf([...PEER_PAIR, '--listen-peer-urls=https://h:1,http://h:80'])
  tt.same(peer.warnings, [
    'The scheme of peer url http://h:80 is http while peer key/cert files are presented. Ignored peer key/cert files.',
  ])
  tt.same(configOf([...PAIR, ...CLIENTS, '--auto-tls']).warnings, [
    'ignoring client auto TLS since certs given',
  ])
  tt.same(configOf([...PAIR, ...CLIENTS]).warnings, [])
})

t.test('certificates of their own are in the data directory', async (tt) => {
  const { clientTls, peerTls, warnings } = configOf([
    ...CLIENTS,
    '--data-dir=/d',
    '--auto-tls',
    '--peer-auto-tls',
    '--listen-peer-urls=https://h:2',
  ])
  tt.match(clientTls, {
    certFile: '/d/fixtures/client/cert.pem',
    keyFile: '/d/fixtures/client/key.pem',
    isSelfSigned: true,
  })
  tt.match(peerTls, { certFile: '/d/fixtures/peer/cert.pem', isSelfSigned: true })
  tt.same(warnings, [])
})

t.test('https URLs keep their port, and flags of 0.4 mean https with a certificate', async (tt) => {
  const urls = ['--listen-client-urls=https://h:443', '--advertise-client-urls=https://h:443']
  tt.same(configOf([...PAIR, ...urls]).clientURLs, ['https://h:443'])
  const old = configOf([
    ...PAIR,
    ...PEER_PAIR,
    '-addr=h:1',
    '-bind-addr=0.0.0.0:1',
    '-peer-addr=h:7',
  ])
  tt.same(old.clientURLs, ['https://h:1'])
  tt.same(old.listenClientURLs.map(String), ['https://0.0.0.0:1/'])
  tt.same(old.peerURLs, ['https://h:7'])
  tt.same(old.listenPeerURLs.map(String), ['https://h:7/'])
  tt.same(configOf([...PAIR, '-addr=h:1', '-peer-addr=h:7']).peerURLs, ['http://h:7'])
})
