import { quoteJson } from './text.ts'

/** Code, message and HTTP status of every answer that the v2 API defines (etcd 2.3 error/error.go). */
const TABLE = {
  100: ['Key not found', 404],
  101: ['Compare failed', 412],
  102: ['Not a file', 403],
  104: ['Not a directory', 400],
  105: ['Key already exists', 412],
  107: ['Root is read only', 400],
  108: ['Directory not empty', 403],
  110: ['The request requires user authentication', 401],
  201: ['PrevValue is Required in POST form', 400],
  202: ['The given TTL in POST form is not a number', 400],
  203: ['The given index in POST form is not a number', 400],
  209: ['Invalid field', 400],
  210: ['Invalid POST form', 400],
  211: ['Value provided on refresh', 400],
  212: ['A TTL must be provided on refresh', 400],
  300: ['Raft Internal Error', 500],
  400: ['watcher is cleared due to etcd recovery', 400],
  401: ['The event in requested index is outdated and cleared', 400],
} as const

export type ErrorCode = keyof typeof TABLE

/**
 * A request that the v2 API answers with an error. It is a value, not an exception: a missing key
 * is an ordinary answer on the hot path. Whatever is thrown instead is a bug.
 */
export interface Refusal {
  readonly refused: true
  readonly code: ErrorCode
  /** The wire's `cause`; left out of the answer when empty. */
  readonly cause: string
  /** The store's index; 0 for requests that never reached the store. */
  readonly index: number
}

export function refusal(code: ErrorCode, cause: string, index: number): Refusal {
  return { refused: true, code, cause, index }
}

/** True for a read or write that was answered with an error. */
export function isRefusal(outcome: object): outcome is Refusal {
  return 'refused' in outcome
}

export function messageOf(code: ErrorCode): string {
  return TABLE[code][0]
}

export function statusOf(code: ErrorCode): number {
  return TABLE[code][1]
}

/** The error body of the wire, with its final newline. */
export function refusalJson(error: Refusal): string {
  const cause = error.cause === '' ? '' : `"cause":${quoteJson(error.cause)},`
  return `{"errorCode":${error.code},"message":${quoteJson(messageOf(error.code))},${cause}"index":${error.index}}\n`
}
