import t from 'tap'
import { newBirth } from '../src/membership/birth.ts'
import { ask } from './helpers/asking.ts'
import { Daemon } from './helpers/daemon.ts'
import { requestText } from './helpers/exchange.ts'
import { freePorts } from './helpers/store-process.ts'

const REMOVED = 'the member has been permanently removed from the cluster'

t.test('a removed member ends, each time that it is started', async (tt) => {
  const { client, peer } = await freePorts()
  const [clientUrl, peerUrl] = [`http://127.0.0.1:${client}`, `http://127.0.0.1:${peer}`]
  const initialCluster = new Map([['a', [peerUrl]]])
  const { identity } = newBirth({ name: 'a', initialCluster, token: 'etcd-cluster' })
  const flags = [
    '--name=a',
    `--data-dir=${tt.testdir()}`,
    `--initial-cluster=a=${peerUrl}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--listen-client-urls=${clientUrl}`,
    `--advertise-client-urls=${clientUrl}`,
  ]
  const daemon = new Daemon(tt, flags)
  await daemon.said('listening for client requests')
  const text = requestText('DELETE', `/v2/members/${identity.memberId}`)
  tt.equal((await ask(client, { text })).status, 204)
  tt.equal(await daemon.ended(), 0)
  tt.match(daemon.log, REMOVED)
  const again = new Daemon(tt, flags)
  tt.equal(await again.ended(), 0)
  tt.match(again.log, REMOVED)
})
