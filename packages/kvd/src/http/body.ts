import type { IncomingMessage, ServerResponse } from 'node:http'

/** How long a refused body is read on, so that the answer is not lost (net/http rstAvoidanceDelay). */
const LINGER_MS = 500

/**
 * Reads at most `bytesMax`; of more, nothing is kept and the connection ends with the answer.
 * `done` is called once, unless the client goes away before: with the body, or undefined when it is too large.
 */
export function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  bytesMax: number,
  done: (body: Buffer | undefined) => void,
): void {
  const parts: Buffer[] = []
  let size = 0
  let isDone = false
  const finish = (isTooLarge: boolean): void => {
    if (isDone) return
    isDone = true
    if (isTooLarge) {
      response.shouldKeepAlive = false
      response.once('finish', () => linger(request))
    }
    done(isTooLarge ? undefined : Buffer.concat(parts))
    parts.length = 0
  }
  request.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (!isDone && size <= bytesMax) parts.push(chunk)
    else finish(true)
  })
  request.on('end', () => finish(false))
}

/** Closes our side, and drops what still comes for a moment: a reset would take the answer with it. */
function linger(request: IncomingMessage): void {
  const { socket } = request
  request.resume()
  socket.end()
  setTimeout(() => socket.destroy(), LINGER_MS).unref()
}
