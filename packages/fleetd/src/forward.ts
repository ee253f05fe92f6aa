import { request as httpRequest, type IncomingMessage } from 'node:http'
import { EXIT_CODE_HEADER } from './api/extension.ts'
import { ApiError, type ApiResponse } from './api/http.ts'

const CONNECT_MS_MAX = 5000

/** Asks another fleetd and hands its answer on, piece by piece. Rejects with ApiError 502 when it does not answer. */
export async function forward(url: string, signal: AbortSignal): Promise<ApiResponse> {
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = httpRequest(url, { signal, agent: false }, resolve)
    const timer = setTimeout(() => request.destroy(new Error('no answer')), CONNECT_MS_MAX)
    request.once('response', () => clearTimeout(timer))
    request.once('error', (error) => {
      clearTimeout(timer)
      reject(new ApiError(502, `fleetd of the unit's machine does not answer: ${error.message}`))
    })
    request.end()
  })
  answer.setEncoding('utf8')
  const exitCode = answer.headers[EXIT_CODE_HEADER.toLowerCase()]
  return {
    status: answer.statusCode ?? 502,
    contentType: answer.headers['content-type'] ?? 'text/plain; charset=utf-8',
    headers: typeof exitCode === 'string' ? { [EXIT_CODE_HEADER]: exitCode } : {},
    stream: textOf(answer),
  }
}

async function* textOf(answer: IncomingMessage): AsyncIterable<string> {
  for await (const piece of answer) yield String(piece)
}
