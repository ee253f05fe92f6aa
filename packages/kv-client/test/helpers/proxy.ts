import { createServer, request } from 'node:http'
import { connect } from 'node:net'
import type { Test } from 'tap'
import { listen } from './members.ts'

/** An HTTP proxy and what was asked of it. */
export interface Proxy {
  readonly url: string
  readonly requests: { readonly line: string; readonly authorization: string | undefined }[]
}

/** Passes on what comes, until the test is over. */
export async function startProxy(t: Test): Promise<Proxy> {
  const requests: Proxy['requests'] = []
  const server = createServer((incoming, outgoing) => {
    const { method, url = '', headers } = incoming
    requests.push({ line: `${method} ${url}`, authorization: headers['proxy-authorization'] })
    const upstream = request(url, { method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(outgoing)
    })
    upstream.on('error', () => outgoing.destroy())
    incoming.pipe(upstream)
  })
  server.on('connect', (incoming, socket, head) => {
    const target = incoming.url ?? ''
    requests.push({
      line: `CONNECT ${target}`,
      authorization: incoming.headers['proxy-authorization'],
    })
    const [host = '', port = ''] = target.split(':')
    const upstream = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      upstream.write(head)
      upstream.pipe(socket)
      socket.pipe(upstream)
    })
    upstream.on('error', () => socket.destroy())
    socket.on('error', () => upstream.destroy())
  })
  return { url: await listen(t, server), requests }
}
