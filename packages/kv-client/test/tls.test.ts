import { join } from 'node:path'
import { test } from 'tap'
import { createClient } from '../src/client.ts'
import { findEtcd, findKvd, start } from './helpers/programs.ts'
import { makeCertificates } from './helpers/tls.ts'

for (const program of [findKvd(), findEtcd()]) {
  const skip = program === undefined ? 'not installed or not built' : false

  test(`${program?.name}: reads, writes and watches over TLS`, { skip }, async (t) => {
    const directory = t.testdir()
    const made = makeCertificates(directory)
    if (made === undefined) return t.comment('skipped: openssl is not installed')
    if (program === undefined) return
    const flags = [
      `--cert-file=${join(directory, 'server.pem')}`,
      `--key-file=${join(directory, 'server.key')}`,
      `--trusted-ca-file=${join(directory, 'ca.pem')}`,
      '--client-cert-auth',
    ]
    const tls = { ca: made.ca, ...made.client }
    const server = await start(t, program, { directory, flags, tls })
    const endpoints = [`https://127.0.0.1:${server.port}`]
    const kv = createClient({ endpoints, tls, backoff: { minMs: 1, maxMs: 50 } })
    t.teardown(() => kv.close())
    const { etcdIndex } = await kv.set('/a', '0')
    const seen: string[] = []
    const watched = (async () => {
      for await (const item of kv.watch('/a', { afterIndex: etcdIndex })) {
        if (item.type === 'event') seen.push(item.response.node.value ?? '')
        if (seen.at(-1) === 'end') break
      }
    })()
    for (let n = 1; n <= 20; n++) await kv.set('/a', String(n))
    await server.restart()
    await kv.set('/a', 'end')
    await watched
    t.strictSame(seen, [...Array.from({ length: 20 }, (_, n) => String(n + 1)), 'end'])
    const stranger = createClient({ endpoints, tls: { ca: made.ca } })
    t.teardown(() => stranger.close())
    await t.rejects(stranger.get('/a'), { name: 'ClusterError', code: 'UNAVAILABLE' })
  })
}
