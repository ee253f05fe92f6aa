import { request, type Agent, type IncomingHttpHeaders } from 'node:http'

/** An answer with its whole body. */
export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** A request to a port of this machine. */
export interface Request {
  readonly agent: Agent
  readonly port: number
  readonly method: string
  readonly path: string
  /** Sent as a form. */
  readonly form?: string
  /** Silence for so long is a TimeoutError. */
  readonly timeoutMs?: number
}

/** No answer came in time. */
class TimeoutError extends Error {
  override readonly name = 'TimeoutError'
}

/** Sends a request and reads its answer; rejects when the connection fails or time is over. */
export function send(what: Request): Promise<Answer> {
  const { agent, port, method, path, form, timeoutMs } = what
  const headers =
    form === undefined
      ? {}
      : {
          'Content-Type': 'application/x-www-form-urlencoded',
          'Content-Length': Buffer.byteLength(form),
        }
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, agent, method, path, headers }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        const body = Buffer.concat(chunks).toString()
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body })
      })
      response.on('error', reject)
    })
    asked.on('error', reject)
    if (timeoutMs !== undefined)
      asked.setTimeout(timeoutMs, () => {
        asked.destroy(new TimeoutError(`${method} ${path}: no answer after ${timeoutMs} ms`))
      })
    asked.end(form)
  })
}
