import type { RequestListener } from 'node:http'
import t from 'tap'
import {
  fetchCluster,
  readPeerMembers,
  type PeerCluster,
} from '../../src/membership/peer-cluster.ts'
import { dialNobody, openServer } from '../helpers/loopback.ts'

t.test('ids keep all of their 64 bits', async (tt) => {
  const ids: [decimal: string, id: string][] = [
    ['9372538179322589801', '8211f1d0f64f3269'],
    ['9372538179322589802', '8211f1d0f64f326a'],
    ['18446744073709551615', 'ffffffffffffffff'],
    ['9007199254740993', '20000000000001'],
    ['1', '1'],
  ]
  for (const [decimal, id] of ids) {
    const rest = '"peerURLs":["http://a:1"],"name":"n","clientURLs":["http://a:2"]'
    const member = { id, name: 'n', peerURLs: ['http://a:1'], clientURLs: ['http://a:2'] }
    tt.same(readPeerMembers(`[{"id":${decimal},${rest}}]`), [member], decimal)
    tt.same(readPeerMembers(`[ { ${rest} , "id" : ${decimal} } ]`), [member], 'in another order')
  }
  tt.same(readPeerMembers('[]'), [])
})

t.test('what looks like an id in a text stays text', async (tt) => {
  const name = '{"id":9007199254740993}'
  const text = JSON.stringify([{ id: 5, name, peerURLs: [], clientURLs: [] }])
  tt.same(readPeerMembers(text), [{ id: '5', name, peerURLs: [], clientURLs: [] }])
})

t.test('what is left out is empty, what else there is does not matter', async (tt) => {
  const nothing = { id: '5', name: '', peerURLs: [], clientURLs: [] }
  const texts = [
    '[{"id":5}]',
    '[{"id":5,"peerURLs":null,"clientURLs":{},"more":[1]}]',
    '[{"id":5,"peerURLs":[1,null,{}],"__proto__":{"name":"x"}}]',
  ]
  for (const text of texts) tt.same(readPeerMembers(text), [nothing], text)
})

t.test('what is no list of members is none', async (tt) => {
  const texts = [
    '',
    '404 page not found',
    'null',
    '{}',
    '{"id":5}',
    '[5]',
    '[null]',
    '[[]]',
    '[{}]',
    '[{"id":5},{"name":"x"}]',
    '[{"id":"ab"}]',
    '[{"id":-5}]',
    '[{"id":5.5}]',
    '[{"id":1e3}]',
    '[{"id":0}]',
    '[{"id":18446744073709551616}]',
    '[{"id":99999999999999999999}]',
    '[{"id":184467440737095516150}]',
    '[{"id":5,"name":5}]',
    '[{"id":5}',
  ]
  for (const text of texts) tt.equal(readPeerMembers(text), undefined, text)
})

/** What these tell, and why those that did not could not. */
async function fetchFrom(
  urls: readonly string[],
  answerMs = 10_000,
): Promise<{ found: PeerCluster | undefined; failed: [url: string, reason: string][] }> {
  const failed: [url: string, reason: string][] = []
  const found = await fetchCluster(urls, {
    tls: dialNobody,
    answerMs,
    failed: (url, reason) => failed.push([url, reason]),
  })
  return { found, failed }
}

t.test('the first one that tells of a cluster is believed', async (tt) => {
  const member = '[{"id":5,"name":"x"}]'
  const says =
    (cluster: string, status: number, body: string): RequestListener =>
    (_, response) => {
      if (cluster !== '') response.setHeader('X-Etcd-Cluster-Id', cluster)
      response.statusCode = status
      response.end(body)
    }
  const good = await openServer(tt, says('cf84bb6b9e7f3d', 200, member))
  const useless: [answer: RequestListener, reason: RegExp][] = [
    [says('ab', 500, member), /\/members answered 500$/],
    [says('ab', 200, 'no members'), /^the answer is no list of members$/],
    [says('ab', 200, '[]'), /^it knows no members yet$/],
    [says('ab', 200, 'x'.repeat(5 << 20)), /^more than 4194304 bytes$/],
    [says('', 200, member), /^the answer names no cluster$/],
    [says('no id', 200, member), /^the answer names no cluster$/],
    [says('0', 200, member), /^the answer names no cluster$/],
    [says('11112222333344445', 200, member), /^the answer names no cluster$/],
    [({ socket }) => socket.destroy(), /socket hang up|ECONNRESET/],
  ]
  const urls: string[] = []
  for (const [answer, reason] of useless) {
    const url = await openServer(tt, answer)
    urls.push(url)
    const { found, failed } = await fetchFrom([url])
    tt.equal(found, undefined)
    tt.match(failed, [[url, reason]], 'why is told')
  }
  const found = { clusterId: 'cf84bb6b9e7f3d', members: [{ id: '5', name: 'x' }] }
  tt.match(await fetchFrom([good, ...urls]), { found, failed: { length: 0 } })
  tt.match(await fetchFrom([...urls, good]), { found, failed: { length: urls.length } })
  tt.equal((await fetchFrom([])).found, undefined)
})

t.test('one that never answers is not waited for', async (tt) => {
  const silent = await openServer(tt, () => undefined)
  tt.equal((await fetchFrom([silent], 20)).found, undefined)
})
