import t from 'tap'
import { configOf, refusalOf } from '../helpers/configs.ts'

t.test('discovery by a URL or by DNS, one of them and nothing else', async (tt) => {
  tt.equal(configOf([]).discovery, undefined)
  const url = 'https://discovery.etcd.io/3e86b59982e49066c5d813af1c2e2579cbf573de'
  const config = configOf(['--discovery', url, '--initial-cluster-token', 'x'])
  tt.same(config.discovery, { type: 'url', url, proxy: undefined, fallback: 'proxy' })
  tt.equal(config.clusterToken, url, 'the URL is the token of the cluster')
  tt.match(configOf(['--discovery', url, '--discovery-fallback=exit']).discovery, {
    fallback: 'exit',
  })
  for (const proxy of ['http://p:3128', 'p:3128', 'https://user:pw@p'])
    tt.match(configOf(['--discovery', url, '--discovery-proxy', proxy]).discovery, { proxy })
  tt.equal(config.servesDiscovery, false)
  tt.equal(configOf(['--discovery-service']).servesDiscovery, true)
  const srv = configOf(['--initial-cluster-token', 'x'], { ETCD_DISCOVERY_SRV: 'example.com' })
  tt.same(srv.discovery, { type: 'srv', domain: 'example.com' })
  tt.equal(srv.clusterToken, 'x')
  const several =
    '1 error verifying flags, multiple discovery or bootstrap flags are set. Choose one of ' +
    `"initial-cluster", "discovery" or "discovery-srv". See 'etcd --help'.`
  tt.equal(refusalOf(['--discovery', url, '--initial-cluster', 'default=http://h:1']), several)
  tt.equal(refusalOf(['--discovery', url, '--discovery-srv', 'example.com']), several)
  tt.equal(refusalOf(['--discovery', url], { ETCD_DISCOVERY_SRV: 'example.com' }), several)
  const wrong: [argv: string[], refusal: string][] = [
    [
      ['--discovery-fallback', 'x'],
      '2+ invalid value "x" for flag -discovery-fallback: invalid value',
    ],
    [
      ['--discovery', 'ftp://u:secret@h/t'],
      '2+ invalid value "ftp://u:xxxxx@h/t" for flag -discovery: URL scheme must be http or https',
    ],
    [
      ['--discovery', 'token'],
      '2+ invalid value "token" for flag -discovery: URL scheme must be http or https',
    ],
    [
      ['--discovery', url, '--discovery-proxy', 'socks5://h:1'],
      '2+ invalid value "socks5://h:1" for flag -discovery-proxy: URL scheme must be http or https',
    ],
  ]
  for (const [argv, refusal] of wrong) tt.equal(refusalOf(argv), refusal)
})

t.test('a password in a URL is not logged', async (tt) => {
  const { given } = configOf([
    '--discovery=http://user:pw@d:1/t',
    '--discovery-proxy=user:pw@p:3128',
    '--data-dir=a:b@c',
  ])
  tt.same(
    given.map(({ value }) => value),
    ['a:b@c', 'http://user:xxxxx@d:1/t', 'user:xxxxx@p:3128'],
  )
})

t.test('one who may become a proxy needs no client URLs to advertise', async (tt) => {
  const listen = ['--listen-client-urls', 'http://h:1']
  const discovery = [...listen, '--discovery', 'http://d/t']
  tt.equal(refusalOf(discovery), 'accepted')
  tt.equal(refusalOf([...listen, '--proxy', 'on']), 'accepted')
  tt.match(refusalOf([...discovery, '--discovery-fallback', 'exit']), /^1 .*is required when/)
})
