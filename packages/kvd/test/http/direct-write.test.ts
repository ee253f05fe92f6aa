import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { writeDirectly } from '../../src/http/direct-write.ts'

/** Both ends of a connection. */
async function ends(tt: Test): Promise<{ here: Socket; there: Socket }> {
  // Nothing reads here: a failure shows when something is written.
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve))
  const there = connect(port, '127.0.0.1')
  const here = await accepted
  for (const socket of [here, there]) socket.on('error', () => undefined)
  tt.teardown(() => {
    here.destroy()
    there.destroy()
    server.close()
  })
  return { here, there }
}

t.test('what a slow reader has not taken comes in order', async (tt) => {
  const { here, there } = await ends(tt)
  there.pause()
  const texts = Array.from({ length: 200 }, (_, at) => `${at} ${'\u00e9'.repeat(100_000)}\n`)
  for (const text of texts) writeDirectly(here, text)
  tt.ok(here.writableLength > 0, 'the system did not take all')
  here.end()
  const parts: Buffer[] = []
  there.on('data', (part: Buffer) => parts.push(part)).resume()
  await once(there, 'end')
  tt.ok(Buffer.concat(parts).toString('latin1') === texts.join(''))
})

t.test('a connection that was reset is closed', async (tt) => {
  const { here, there } = await ends(tt)
  there.resetAndDestroy()
  await once(there, 'close')
  for (let turns = 0; turns < 20; turns += 1) await turn()
  tt.equal(here.destroyed, false, 'nobody has noticed')
  writeDirectly(here, 'x')
  tt.equal(here.destroyed, true)
})
