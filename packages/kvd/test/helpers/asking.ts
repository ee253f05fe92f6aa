import type { Test } from 'tap'
import type { ClientPort } from './client-port.ts'
import { exchange, requestText, type Reply, type Sent } from './exchange.ts'

/** The answer to one request on a connection of its own. */
export async function ask(port: number, sent: Sent): Promise<Reply> {
  const [reply] = await exchange(port, [sent])
  if (reply === undefined) throw new Error(`no answer to ${sent.text}`)
  return reply
}

/** Asks with a method and a body of this type. */
export async function send(
  { port }: ClientPort,
  method: string,
  target: string,
  body = '',
  ...headers: string[]
): Promise<Reply> {
  return await ask(port, {
    text: requestText(method, target, headers, body),
    isHead: method === 'HEAD',
  })
}

/** Checks status, headers and body; the date and the length are left out. */
export function check(tt: Test, reply: Reply, status: number, headers: object, body: string): void {
  const { date, 'content-length': length, ...rest } = reply.headers
  tt.same({ status: reply.status, headers: rest, body: reply.body }, { status, headers, body })
  tt.match(date, /GMT$/)
  if (status !== 204) tt.equal(length, String(body.length))
}
