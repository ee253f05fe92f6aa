import { encodeGoJSON, type ErrorSchema } from '@flotilla/fleet-registry'

/** A request as the handlers see it. */
export interface ApiRequest {
  readonly method: string
  /** Decoded path, without the query. */
  readonly path: string
  readonly query: URLSearchParams
  /** All values of the Content-Type header, one per header line. */
  readonly contentTypes: readonly string[]
  /** The body as text. Throws ApiError 413 when it is larger than BODY_BYTES_MAX. */
  readonly body: () => Promise<string>
  /** Aborts when the client goes away. */
  readonly signal: AbortSignal
}

/** What a handler answers. A text body keeps its content type, an object becomes JSON, none has no content type. */
export interface ApiResponse {
  readonly status: number
  readonly contentType?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** A body that comes piece by piece. */
  readonly stream?: AsyncIterable<string>
}

/** Largest request body: a unit of that size could not be stored anyway. */
export const BODY_BYTES_MAX = 1 << 20

const JSON_TYPE = 'application/json'

export function json(status: number, value: unknown): ApiResponse {
  return { status, contentType: JSON_TYPE, body: encodeGoJSON(value) }
}

/** An answer without body; the original sends no content type with it. */
export function empty(status: number): ApiResponse {
  return { status }
}

/** The body of every error of the API. */
export function failure(code: number, message = ''): ApiResponse {
  const body: ErrorSchema = { error: { code, message } }
  return json(code, body)
}

/** An answer that ends the handling of a request. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly code: number

  constructor(code: number, message = '') {
    super(message)
    this.code = code
  }
}
