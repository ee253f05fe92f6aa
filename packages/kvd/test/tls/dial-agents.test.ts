import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import type { RequestListener } from 'node:http'
import t from 'tap'
import { DialAgents } from '../../src/tls/dial-agents.ts'
import { openTlsIdentity } from '../../src/tls/tls-identity.ts'
import { Authority, opensslSkip, read } from '../helpers/certificates.ts'
import { LogLines } from '../helpers/log-lines.ts'
import { openServer } from '../helpers/loopback.ts'

const TABLE = '/proc/net/tcp'
const skip = opensslSkip() || (!existsSync(TABLE) && `there is no ${TABLE}`)
/** Of the table's timers: the kernel will ask whether the other end is there. */
const KEEPALIVE = '02'

/** Which timer runs for a connection that has this port at our end. */
function timerOf(port: number): string | undefined {
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  const lines = readFileSync(TABLE, 'utf8').split('\n').slice(1)
  const columns = lines.map((line) => line.trim().split(/\s+/))
  const found = columns.find(([, local, , state]) => local?.endsWith(`:${hex}`) && state === '01')
  return found?.[5]?.split(':')[0]
}

/** A head at once, and no end: as members answer watches. */
const watch: RequestListener = (_request, response) => response.writeHead(200).flushHeaders()

for (const isSecure of [false, true])
  t.test(
    `the kernel asks whether a ${isSecure ? 'TLS' : 'plain'} server is there that is silent`,
    { skip },
    async (tt) => {
      const ca = new Authority(tt.testdir(), 'ca')
      const tls = isSecure ? read(ca.issue('server')) : undefined
      const url = new URL(await openServer(tt, watch, tls))
      const config = {
        side: 'peer',
        certFile: '',
        keyFile: '',
        caFiles: [ca.file],
        clientCertAuth: false,
        isSelfSigned: false,
      } as const
      const { logger } = new LogLines()
      const identity = await openTlsIdentity({ config, logger, nowMs: Date.now })
      tt.teardown(() => identity.close())
      const agents = new DialAgents(identity)
      tt.teardown(() => agents.close())
      const request = agents.request(url, { port: Number(url.port), path: '/' })
      request.on('error', () => undefined).end()
      await once(request, 'response')
      tt.equal(timerOf(request.socket?.localPort ?? 0), KEEPALIVE)
      request.destroy()
    },
  )
