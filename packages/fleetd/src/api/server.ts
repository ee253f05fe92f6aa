import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { FLEET_VERSION } from '@flotilla/fleet-registry'
import { ApiError, BODY_BYTES_MAX, failure, type ApiRequest, type ApiResponse } from './http.ts'

/** An HTTP server that answers with `handle`; the caller makes it listen and closes it. */
export function createApiServer(
  handle: (request: ApiRequest) => Promise<ApiResponse>,
  onError: (error: unknown) => void,
): Server {
  return createServer({ keepAliveTimeout: 65_000 }, (incoming, outgoing) => {
    answer(handle, incoming, outgoing).catch((error: unknown) => {
      onError(error)
      outgoing.destroy()
    })
  })
}

async function answer(
  handle: (request: ApiRequest) => Promise<ApiResponse>,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const gone = new AbortController()
  outgoing.once('close', () => gone.abort())
  const request = toRequest(incoming, gone.signal)
  const response = request === undefined ? failure(400) : await handle(request)
  const headers: Record<string, string | number> = {}
  if (response.contentType !== undefined) headers['Content-Type'] = response.contentType
  headers['Server'] = `fleetd/${FLEET_VERSION}`
  Object.assign(headers, response.headers)
  if (response.stream === undefined) {
    if (response.status !== 204) headers['Content-Length'] = Buffer.byteLength(response.body ?? '')
    outgoing.writeHead(response.status, headers)
    outgoing.end(response.body)
    return
  }
  outgoing.writeHead(response.status, headers)
  outgoing.flushHeaders()
  await pump(response.stream, outgoing, gone.signal)
}

/** Writes a stream as fast as the client takes it. A client who leaves ends it, which is nobody's failure. */
async function pump(
  stream: AsyncIterable<string>,
  outgoing: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const piece of stream) {
      if (signal.aborted) return
      if (!outgoing.write(piece)) await once(outgoing, 'drain', { signal })
    }
  } catch (error) {
    if (signal.aborted) return
    throw error
  }
  outgoing.end()
}

/** `undefined` when the target cannot be decoded. */
function toRequest(incoming: IncomingMessage, signal: AbortSignal): ApiRequest | undefined {
  const target = incoming.url ?? '/'
  const question = target.indexOf('?')
  const rawPath = question < 0 ? target : target.slice(0, question)
  try {
    return {
      method: incoming.method ?? 'GET',
      path: decodeURIComponent(rawPath),
      query: new URLSearchParams(question < 0 ? '' : target.slice(question + 1)),
      contentTypes: incoming.headersDistinct['content-type'] ?? [],
      body: async () => await readBody(incoming),
      signal,
    }
  } catch (error) {
    if (error instanceof URIError) return undefined
    throw error
  }
}

async function readBody(incoming: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of incoming) {
    if (!(piece instanceof Buffer)) continue
    bytes += piece.length
    if (bytes > BODY_BYTES_MAX) throw new ApiError(413, 'request body too large')
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString('utf8')
}
