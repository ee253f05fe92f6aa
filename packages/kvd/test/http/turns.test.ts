import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { openClientPort } from '../helpers/client-port.ts'
import { Exchange, exchange, get, put, UNUSUAL, valueOf, type Sent } from '../helpers/exchange.ts'

// Requests that wait for each other on one connection.

t.test('what a client sends ahead is bounded at node:http, too', async (tt) => {
  const { port, disk, store, replica } = await openClientPort(tt, { isByHand: true })
  const connection = await Exchange.open(port)
  const slow = put('/v2/keys/k', 'value=v', UNUSUAL)
  const ahead = Array.from({ length: 3_000 }, (_, at) => get(`/v2/keys/none/${at}`))
  const sent = [slow, ...ahead, get('/v2/keys/k')]
  await connection.send(sent.map(({ text }) => text).join(''))
  while (replica.pending === 0) await turn()
  while (disk.waiting === 0) await turn()
  disk.commit()
  const replies = await connection.replies(sent)
  tt.equal(replies.length, sent.length, 'it waits, and is answered in the end')
  tt.equal(valueOf(replies.at(-1)), 'v')
  await connection.send(get('/v2/keys/k?wait=true').text)
  while (store.watchers.count === 0) await turn()
  await connection.send(ahead.map(({ text }) => text).join(''))
  await connection.untilOver()
  while (store.watchers.count > 0) await turn()
  tt.equal(store.watchers.count, 0, 'behind a long poll the connection is cut')
})

t.test(
  'a long poll behind another one is nobody to wait for when their client is gone',
  async (tt) => {
    const { port, store } = await openClientPort(tt)
    const connection = await Exchange.open(port)
    const polls = [get('/v2/keys/a?wait=true', UNUSUAL), get('/v2/keys/b?wait=true')]
    await connection.send(polls.map(({ text }) => text).join(''))
    while (store.watchers.count === 0) await turn()
    const late: number[] = []
    tt.equal(store.watchers.count, 1)
    connection.socket.destroy()
    while (store.watchers.count > 0) await turn()
    for (let turns = 0; turns < 20; turns += 1) {
      await turn()
      late.push(store.watchers.count)
    }
    tt.same(
      late.filter((count) => count > 0),
      [],
    )
  },
)

t.test('a long poll that comes to stand before too much is cut', async (tt) => {
  for (const unusual of [[], [UNUSUAL]]) {
    const { port, disk, store, replica } = await openClientPort(tt, { isByHand: true })
    const connection = await Exchange.open(port)
    const ahead = Array.from({ length: 12_000 }, (_, at) => get(`/v2/keys/none/${at}`))
    const sent = [put('/v2/keys/k', 'value=v', ...unusual), get('/v2/keys/k?wait=true'), ...ahead]
    await connection.send(sent.map(({ text }) => text).join(''))
    while (replica.pending === 0) await turn()
    for (let turns = 0; turns < 100; turns += 1) await turn()
    while (disk.waiting === 0) await turn()
    disk.commit()
    await connection.untilOver()
    while (store.watchers.count > 0) await turn()
    tt.equal(store.watchers.count, 0)
  }
})

t.test('long polls leave nothing behind on their connection', async (tt) => {
  const { port, store } = await openClientPort(tt)
  const warnings: string[] = []
  const listener = ({ name }: Error): number => warnings.push(name)
  process.on('warning', listener)
  tt.teardown(() => process.off('warning', listener))
  const connection = await Exchange.open(port)
  const sent: Sent[] = []
  for (let polls = 0; polls < 15; polls += 1) {
    const poll = get('/v2/keys/k?wait=true', UNUSUAL)
    sent.push(poll)
    await connection.send(poll.text)
    while (store.watchers.count === 0) await turn()
    await exchange(port, [put('/v2/keys/k', 'value=v')])
    await connection.replies(sent)
  }
  tt.same(warnings, [])
  connection.socket.destroy()
})

t.test('a client that ends its side and reads slowly gets all its answers', async (tt) => {
  const { port } = await openClientPort(tt)
  await exchange(port, [put('/v2/keys/k', `value=${'x'.repeat(1_000_000)}`)])
  const sent = Array.from({ length: 30 }, () => get('/v2/keys/k'))
  const connection = await Exchange.open(port)
  connection.socket.pause()
  connection.socket.end(sent.map(({ text }) => text).join(''))
  await once(connection.socket, 'finish')
  for (let turns = 0; turns < 50; turns += 1) await turn()
  connection.socket.resume()
  const text = await connection.untilOver()
  tt.equal(text.split('HTTP/1.1 200').length - 1, 30)
})
