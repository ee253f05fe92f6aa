import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { readBody } from '../http/body.ts'
import { Turns } from '../http/turns.ts'

const BODY_BYTES_MAX = 16 * 1024 * 1024

/** `body` is undefined when it was too large to be kept. */
export type Answer = (
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  body: Buffer | undefined,
) => void

/** One request of a connection at a time, and whole, as in the original: of two writes the second counts. */
export function inTurn(answer: Answer): RequestListener {
  const turns = new Turns()
  return (incoming, outgoing) => {
    const { socket } = incoming
    // What stands behind a request that ends the connection is not carried out.
    if (turns.isLast(socket, outgoing)) return
    readBody(incoming, outgoing, BODY_BYTES_MAX, (body) => {
      if (body === undefined) turns.endBehind(socket)
      const serve = (): void => {
        answer(incoming, outgoing, body)
        if (isWatch(incoming)) turns.streams(socket)
      }
      turns.take(outgoing, socket, { bytes: body?.length ?? 0, serve })
    })
  }
}

/** It may be answered when something happens, which may be never. */
function isWatch({ url = '' }: IncomingMessage): boolean {
  const mark = url.indexOf('?')
  return mark !== -1 && new URLSearchParams(url.slice(mark + 1)).has('wait')
}
