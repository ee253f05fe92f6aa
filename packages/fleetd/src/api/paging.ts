import { decodePageToken, encodePageToken } from '@flotilla/fleet-registry'
import { ApiError } from './http.ts'

/** Items of one page and the token of the next one. */
export interface Page<T> {
  readonly items: readonly T[]
  readonly nextPageToken: string | undefined
}

/** Number of the page that a request asks for. Throws ApiError 400 with the original's texts. */
export function requestedPage(query: URLSearchParams, limit: number): number {
  const values = query.getAll('nextPageToken')
  if (values.length > 1) throw new ApiError(400, 'too many values for page token')
  const text = values[0]
  if (text === undefined) return 1
  const token = decodePageToken(text)
  if (token === undefined) throw new ApiError(400, 'invalid page token')
  if (token.limit !== limit) throw new ApiError(400, `token limit must be ${limit}`)
  if (token.page === 0) throw new ApiError(400, 'token page must be greater than zero')
  return token.page
}

const PAGE_MAX = 0xffff

/** One page of a list. A next token is given whenever the page is full, even if nothing follows, as in fleet 1.0. */
export function pageOf<T>(items: readonly T[], page: number, limit: number): Page<T> {
  const end = page * limit
  const hasNext = items.length >= end && page < PAGE_MAX
  return {
    items: items.slice(end - limit, end),
    nextPageToken: hasNext ? encodePageToken({ limit, page: page + 1 }) : undefined,
  }
}
