import t from 'tap'
import type { Config } from '../../src/config.ts'
import { DiscoveryError } from '../../src/discovery/discovery-error.ts'
import { failureLines } from '../../src/discovery/failure.ts'

const proxy = {
  mode: 'off',
  failureWaitMs: 1,
  refreshMs: 1,
  dialMs: 1,
  writeMs: 1,
  readMs: 1,
} as const
const member: Pick<Config, 'name' | 'dataDir' | 'discovery' | 'proxy'> = {
  name: 'm',
  dataDir: '/data',
  discovery: { type: 'url', url: 'http://u:pw@d/t', proxy: undefined, fallback: 'exit' },
  proxy,
}

function said(error: DiscoveryError, config = member): string[] {
  return failureLines(error, config).map(({ level, text }) => `${level} ${text}`)
}

t.test(
  'what kept a member from its cluster, and what to do, in the original’s words',
  async (tt) => {
    const next = [
      'info discovery token http://u:xxxxx@d/t was used, but failed to bootstrap the cluster.',
      'info please generate a new discovery token and try to bootstrap again.',
    ]
    tt.same(said(new DiscoveryError('FULL')), [
      'error failed to join discovery cluster (discovery: cluster is full)',
      ...next,
    ])
    const missing = new DiscoveryError('REFUSED', '100: Key not found (/t) [7]')
    tt.same(said(missing), [
      'error failed to join discovery cluster (100: Key not found (/t) [7])',
      ...next,
    ])
    tt.same(said(new DiscoveryError('DUPLICATE_ID')), [
      'error member "m" has previously registered with discovery service token (http://u:xxxxx@d/t).',
      'error But etcd could not find valid cluster configuration in the given data dir (/data).',
      'info Please check the given data dir path if the previous bootstrap succeeded',
      'info or use a new discovery token if the previous bootstrap failed.',
    ])
    tt.same(said(new DiscoveryError('DUPLICATE_NAME')), [
      'error member with duplicated name has registered with discovery service token(http://u:xxxxx@d/t).',
      'error please check (cURL) the discovery token for more information.',
      'error please do not reuse the discovery token and generate a new one to bootstrap the cluster.',
    ])
  },
)

t.test('a proxy, and one that asks DNS, has no token to replace', async (tt) => {
  const error = new DiscoveryError('INVALID_URL')
  tt.same(said(error, { ...member, proxy: { ...proxy, mode: 'on' } }), [
    'error discovery: invalid URL',
  ])
  tt.same(said(error, { ...member, discovery: { type: 'srv', domain: 'd' } }), [
    'error error setting up initial cluster: discovery: invalid URL',
  ])
})
