import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { decode, encode, type Answer } from 'dns-packet'
import type { Test } from 'tap'

/** SRV records by the name that has them. */
export type Zone = Readonly<
  Record<string, readonly { readonly target: string; readonly port: number }[]>
>

/** A DNS server on the loopback, gone with the test. Resolves to its address, `127.0.0.1:PORT`. */
export async function startDns(tt: Test, zone: Zone): Promise<string> {
  const socket = createSocket('udp4')
  socket.on('message', (bytes, from) => {
    const { id, questions = [] } = decode(bytes)
    const name = questions[0]?.name ?? ''
    const records = zone[name.toLowerCase()]
    const answers = (records ?? []).map((data): Answer => ({
      type: 'SRV',
      name,
      ttl: 1,
      data: { ...data, priority: 1, weight: 1 },
    }))
    const rcode = records === undefined ? 3 : 0
    const flags = 0x8180 | rcode
    socket.send(
      encode({ type: 'response', id: id ?? 0, flags, questions, answers }),
      from.port,
      from.address,
    )
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  tt.teardown(() => socket.close())
  return `127.0.0.1:${socket.address().port}`
}
