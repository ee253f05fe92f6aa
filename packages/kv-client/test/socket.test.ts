import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import type { Socket } from 'node:net'
import { test } from 'tap'
import { WebSocketServer } from 'ws'
import type { WebSocket } from 'ws'
import { connectWatch } from '../src/watch/socket.ts'
import { client, standIn, take, until } from './helpers/watching.ts'

test('a connection that answers no ping is given up', async (t) => {
  const mute = new WebSocketServer({ port: 0, host: '127.0.0.1', autoPong: false })
  t.teardown(() => mute.close())
  await once(mute, 'listening')
  const address = mute.address()
  const port = typeof address === 'object' ? address?.port : 0
  const connection = await connectWatch(`http://127.0.0.1:${port}`, {
    tls: {},
    authorization: undefined,
    handshakeTimeoutMs: 5000,
    frameBytesMax: 1000,
    pingMs: 10,
  })
  const { signal } = new AbortController()
  const session = connection?.session({ key: '/a', recursive: false, after: 1 }, signal)
  const next: Promise<unknown> = session?.next() ?? Promise.resolve()
  await t.rejects(next, { message: 'client: the watch was closed (1006)' })
  t.equal(connection?.isLost, true)
})

test('a connection that answers pings is kept', async (t) => {
  const server = await standIn(t, true)
  const pings = new Promise<void>((resolve) => {
    let count = 0
    server.onPing = () => {
      count += 1
      if (count === 3) resolve()
    }
  })
  const options = { handshakeTimeoutMs: 5000, frameBytesMax: 1000, pingMs: 100 }
  const connection = await connectWatch(server.url, {
    tls: {},
    authorization: 'Basic x',
    ...options,
  })
  const controller = new AbortController()
  const target = { key: '/a', recursive: false, after: 3 }
  const next = connection?.session(target, controller.signal).next()
  await pings
  server.write('/a', '')
  t.match(await next, { value: { type: 'event' } })
  connection?.close()
})

test('a member that fails the handshake is left for the next one', async (t) => {
  const broken = createServer()
  broken.on('upgrade', (_, socket) => {
    socket.end('HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
  })
  await new Promise<void>((resolve) => broken.listen(0, '127.0.0.1', resolve))
  t.teardown(() => broken.close())
  const address = broken.address()
  const port = typeof address === 'object' ? address?.port : 0
  const server = await standIn(t, true)
  const retries: string[] = []
  const endpoints = [`http://127.0.0.1:${port}`, server.url]
  const kv = client(t, '', { endpoints, random: () => 0 })
  const onRetry = (error: Error): void => void retries.push(error.message)
  const next = take(kv.watch('/a', { afterIndex: 3, onRetry }), 1)
  await until(() => server.watching === 1)
  server.write('/a', '')
  t.strictSame(await next, ['event /a 4'])
  t.match(retries, [/^client: ws:.*\/kvd\/v1\/watch answered 502$/])
})

test('a watch given up while it connects leaves no connection, unless another wants it', async (t) => {
  for (const isWanted of [false, true]) {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => server.close())
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : 0
    const asked = new Promise<() => Promise<WebSocket>>((resolve) => {
      server.once('upgrade', (request, socket, head) => {
        const webSockets = new WebSocketServer({ noServer: true })
        resolve(() => new Promise((open) => webSockets.handleUpgrade(request, socket, head, open)))
      })
    })
    const kv = client(t, `http://127.0.0.1:${port}`)
    const [first, second] = [new AbortController(), new AbortController()]
    const given = kv.watch('/a', { signal: first.signal }).next()
    const kept = isWanted ? kv.watch('/b', { signal: second.signal }).next() : undefined
    const accept = await asked
    first.abort()
    t.match(await given, { done: true })
    const webSocket = await accept()
    const closed = once(webSocket, 'close')
    if (kept !== undefined) {
      const [message]: unknown[] = await once(webSocket, 'message')
      t.match(String(message), /"key":"\/b"/)
      second.abort()
      await kept
    }
    t.match(await closed, [1000], 'closed without the client being closed')
  }
})

test('a watch ends while it is still connecting', async (t) => {
  const silent = createTcpServer()
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  const connected = once(silent, 'connection')
  const address = silent.address()
  const port = typeof address === 'object' ? address?.port : 0
  const controller = new AbortController()
  const kv = client(t, `http://127.0.0.1:${port}`)
  const next = kv.watch('/a', { signal: controller.signal }).next()
  const [socket]: Socket[] = await connected
  controller.abort()
  t.strictSame(await next, { done: true, value: undefined })
  kv.close()
  socket?.destroy()
  await new Promise((resolve) => silent.close(resolve))
})
