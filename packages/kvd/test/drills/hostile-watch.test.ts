import assert from 'node:assert/strict'
import { once } from 'node:events'
import t from 'tap'
import { WebSocket } from 'ws'
import { ask, eventOf, fieldsOf } from '../helpers/answers.ts'
import { footprintOf, forgetPeak } from '../helpers/footprint.ts'
import { isKvd, launch } from '../helpers/store-process.ts'
import { parseAnswers, Wire } from '../helpers/wire.ts'

// Watchers that do not read what they asked for, or ask for what nobody may have. The store lets go
// of them; nobody else waits, and memory stays bounded.

const growthMibMax = 192
/** The history itself, garbage, and a few MiB of unsent events for each slow reader. */
const slowMibMax = 320
const mib = 1 << 20
/** The store remembers 2000 events twice this long; thirty buffers of them would be 960 MB. */
const eventChars = 8_000
const eventCount = 2_000
const slow = 30

t.setTimeout(300_000)
const flags = isKvd ? ['--event-history', '100000'] : []
const store = await launch({ dir: t.testdir(), flags })
t.teardown(() => store.kill('SIGKILL'))
const { client: port } = store.ports

/** Peak growth of the store's memory during `attack`, in MiB. */
async function growth(attack: () => Promise<void>): Promise<number> {
  const knowsPeak = forgetPeak(store.pid)
  const before = footprintOf(store.pid).nowMib
  await attack()
  const { nowMib, peakMib } = footprintOf(store.pid)
  return Math.round((knowsPeak ? peakMib : nowMib) - before)
}

/** Writes events that are far more than the slow readers' buffers; each must be answered. */
async function writeMuch(key: string): Promise<void> {
  const value = 'x'.repeat(eventChars)
  for (let n = 0; n < eventCount; n += 1) {
    const answer = await ask(port, { method: 'PUT', path: `/v2/keys${key}`, form: { value } })
    if (answer.status > 201) throw new Error(answer.body)
  }
}

async function openSocket(): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/kvd/v1/watch`, 'kvd-watch.1')
  await once(socket, 'open')
  return socket
}

/** The messages of a socket, one by one, as parsed JSON; ends when the socket closes. */
async function* messagesOf(socket: WebSocket): AsyncGenerator<Readonly<Record<string, unknown>>> {
  const queue: string[] = []
  let wake = (): void => undefined
  socket.on('message', (data: Buffer) => {
    queue.push(data.toString())
    wake()
  })
  socket.on('close', () => wake())
  for (;;) {
    const next = queue.shift()
    if (next !== undefined) yield fieldsOf(JSON.parse(next))
    else if (socket.readyState === WebSocket.CLOSED) return
    else await new Promise<void>((resolve) => (wake = resolve))
  }
}

t.test('streams that nobody reads are ended, without a gap before the end', async (tt) => {
  const wires = await Promise.all(Array.from({ length: slow }, () => Wire.open(port)))
  for (const wire of wires) {
    await wire.send('GET /v2/keys/s?wait=true&stream=true HTTP/1.1\r\nHost: a\r\n\r\n')
    await wire.until(() => wire.text.includes('\r\n\r\n'), 'the head of the stream')
    wire.stopReading()
  }
  const grown = await growth(() => writeMuch('/s'))
  tt.ok(grown <= slowMibMax, `memory grew by ${grown} MiB, at most ${slowMibMax}`)
  for (const wire of wires) {
    wire.readOn()
    await wire.until(() => parseAnswers(wire.text).length === 1 || wire.isEnded, 'the end')
    const lines = wire.text.match(/"node":\{"key":"\/s".*?"createdIndex":\d+\}/g) ?? []
    const indexes = lines.map((line) => Number(/"modifiedIndex":(\d+)/.exec(line)?.[1]))
    const gap = indexes.findIndex((index, n) => n > 0 && index !== (indexes[n - 1] ?? 0) + 1)
    if (gap !== -1 || indexes.length === 0) tt.fail(`${indexes.length} events, gap at ${gap}`)
    wire.cut()
  }
})

const isOther = !isKvd && 'only kvd has WebSockets'

t.test(
  'a WebSocket that is read too slowly is told where to resume',
  { skip: isOther },
  async (tt) => {
    const sockets = await Promise.all(Array.from({ length: slow }, openSocket))
    const started = await ask(port, { method: 'PUT', path: '/v2/keys/w' })
    const readers = sockets.map(messagesOf)
    for (const [n, socket] of sockets.entries()) {
      socket.send(JSON.stringify({ op: 'watch', id: 1, key: '/w', after: started.index }))
      const first = await readers[n]?.next()
      assert.deepEqual([first?.value?.id, first?.value?.type], [1, 'started'])
      socket.pause()
    }
    const grown = await growth(() => writeMuch('/w'))
    tt.ok(grown <= slowMibMax, `memory grew by ${grown} MiB, at most ${slowMibMax}`)
    const end = await ask(port, { method: 'PUT', path: '/v2/keys/w', form: { value: 'end' } })
    for (const [n, socket] of sockets.entries()) {
      socket.resume()
      let index = started.index
      let overflows = 0
      for await (const message of readers[n] ?? []) {
        if (message['type'] === 'event') {
          const event = eventOf(message['event'], '')
          if (event.node.modifiedIndex !== index + 1)
            tt.fail(`${event.node.modifiedIndex} after ${index}`)
          index += 1
        } else if (message['type'] === 'overflow') {
          if (message['index'] !== index)
            tt.fail(`overflow at ${String(message['index'])}, was at ${index}`)
          overflows += 1
          socket.send(JSON.stringify({ op: 'watch', id: overflows + 1, key: '/w', after: index }))
        }
        if (index >= end.index) break
      }
      if (overflows === 0 || index < end.index)
        tt.fail(`${overflows} overflows, at ${index} of ${end.index}`)
      socket.terminate()
    }
  },
)

t.test('replies that nobody reads do not pile up', { skip: isOther }, async (tt) => {
  const attacks: readonly (readonly [name: string, send: (socket: WebSocket) => void])[] = [
    ['cancels', (socket) => socket.send('{"op":"cancel","id":1}')],
    ['nonsense', (socket) => socket.send('{"op":"sing"}')],
    ['pings', (socket) => socket.ping('x'.repeat(100))],
  ]
  for (const [name, send] of attacks) {
    const socket = await openSocket()
    socket.on('error', () => undefined) // hanging up is an answer
    socket.pause()
    let sent = 0
    const grown = await growth(async () => {
      for (let quiet = 0; quiet < 50 && sent < 2_000_000 && socket.readyState === WebSocket.OPEN;) {
        if (socket.bufferedAmount < mib) {
          for (let n = 0; n < 10_000; n += 1) send(socket)
          sent += 10_000
          quiet = 0
        } else quiet += 1
        await ask(port, { method: 'GET', path: '/version' })
      }
    })
    tt.ok(grown <= growthMibMax, `${sent} ${name}: memory grew by ${grown} MiB`)
    socket.terminate()
  }
})

t.test(
  'what the protocol forbids ends the connection or the request',
  { skip: isOther },
  async (tt) => {
    const closes: readonly (readonly [send: (socket: WebSocket) => void, code: number])[] = [
      [(socket) => socket.send('x'.repeat(mib + 1)), 1009],
      [(socket) => socket.send(Buffer.from('{}')), 1008],
    ]
    for (const [send, code] of closes) {
      const socket = await openSocket()
      const closed = once(socket, 'close')
      send(socket)
      const [given] = await closed
      tt.equal(given, code)
    }
    const socket = await openSocket()
    const reader = messagesOf(socket)
    const requests: readonly (readonly [text: string, id: number])[] = [
      ['no JSON', 0],
      ['[]', 0],
      ['{"op":"watch"}', 0],
      ['{"op":"watch","id":-1,"key":"/a"}', 0],
      ['{"op":"watch","id":7,"key":7}', 7],
      ['{"op":"watch","id":8,"key":"/a","after":-1}', 8],
      ['{"op":"watch","id":8,"key":"/a","after":1e300}', 8],
      ['{"op":"watch","id":9,"key":"/a","recursive":"yes"}', 9],
      ['['.repeat(100_000), 0],
    ]
    for (const [text, id] of requests) {
      socket.send(text)
      const { value } = await reader.next()
      tt.match(value, { id, type: 'error' }, text.slice(0, 60))
    }
    socket.send(JSON.stringify({ op: 'watch', id: 1, key: '/still' }))
    tt.match((await reader.next()).value, { id: 1, type: 'started' }, 'and it goes on working')
    socket.terminate()
  },
)
