import { once } from 'node:events'
import t, { type Test } from 'tap'
import { greetingHeaders } from '../src/transport/handshake.ts'
import { DEAF, dialRaw, freePeerUrl, openPeers, servePeers } from './helpers/peer-ports.ts'

async function openPort(tt: Test, headMs?: number): Promise<number> {
  const url = await freePeerUrl()
  const open = openPeers(tt, 'a', new Map([['a', [url.origin]]]))
  return await servePeers(tt, open, url, headMs)
}

t.test('a connection that asks for nothing does not stay', async (tt) => {
  const port = await openPort(tt, 50)
  for (const text of ['', 'GET /members HTTP/1.1\r\nHost: x\r\n']) {
    const socket = dialRaw(tt, port, text)
    await once(socket.resume(), 'end')
    tt.pass(`after ${JSON.stringify(text)}`)
  }
})

t.test('a body that nobody wants is not waited for', async (tt) => {
  const socket = dialRaw(
    tt,
    await openPort(tt),
    'POST /members HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx',
  )
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  tt.match(text, /^HTTP\/1\.1 200 /)
})

t.test('a damaged member, which may know only members of before, names none', async (tt) => {
  const url = await freePeerUrl()
  const open = openPeers(tt, 'a', new Map([['a', [url.origin]]]))
  await servePeers(tt, open, url)
  let isDamaged = true
  open.peers.attach({ ...DEAF, isDamaged: () => isDamaged })
  const members = async (): Promise<string> => await (await fetch(new URL('/members', url))).text()
  tt.equal(await members(), '[]\n')
  isDamaged = false
  tt.match(await members(), url.origin)
})

t.test('who is not let in cannot keep the connection', async (tt) => {
  const port = await openPort(tt)
  const greeting = { clusterId: '1', from: '2', to: '3', version: '1.0.0', minVersion: '1.0.0' }
  const headers = greetingHeaders({ ...greeting, peerURLs: [], incarnation: 1 })
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const socket = dialRaw(
    tt,
    port,
    `GET /kvd/raft/v1/ctl HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${lines.join('')}\r\n`,
  )
  let text = ''
  socket.on('data', (chunk: string) => (text += chunk))
  await once(socket, 'end')
  tt.match(text, /^HTTP\/1\.1 412 Refused\r\n[^]*cluster ID mismatch\n$/)
  // Our side is still open. What comes on a connection that is gone is answered by a reset.
  const closed = new Promise((resolve) => socket.once('close', resolve))
  const more = setInterval(() => socket.write('x'), 1)
  await closed
  clearInterval(more)
  tt.pass('closed')
})
