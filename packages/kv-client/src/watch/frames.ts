import { KvError } from '../errors.ts'
import type { KvResponse } from '../types.ts'
import { number, parseEvent, parseJson, record, text } from '../wire.ts'
import type { Target } from './session.ts'

/** What kvd says on a watch connection (protocol kvd-watch.1). */
export type Frame =
  | { readonly type: 'started'; readonly id: number; readonly index: number }
  | { readonly type: 'event'; readonly id: number; readonly response: KvResponse }
  | { readonly type: 'progress' | 'overflow'; readonly id: number; readonly index: number }
  | { readonly type: 'refused'; readonly id: number; readonly error: KvError }
  | { readonly type: 'cancelled'; readonly id: number }

/** undefined for a type this client does not know. Throws a TransportError for anything malformed. */
export function parseFrame(data: string): Frame | undefined {
  const frame = record(parseJson(data))
  const id = number(frame['id'])
  const type = text(frame['type'])
  switch (type) {
    case 'started':
    case 'progress':
    case 'overflow':
      return { type, id, index: number(frame['index']) }
    case 'event':
      return { type, id, response: parseEvent(frame['event'], {}) }
    case 'gone':
      return { type: 'refused', id, error: refusal(frame, 400) }
    case 'error':
      return { type: 'refused', id, error: refusal(frame, frame['errorCode'] === 110 ? 401 : 400) }
    case 'cancelled':
      return { type, id }
    default:
      return undefined
  }
}

function refusal(frame: Readonly<Record<string, unknown>>, status: number): KvError {
  const { errorCode, message, cause, index } = frame
  return new KvError(typeof message === 'string' ? message : 'the watch was refused', {
    errorCode: typeof errorCode === 'number' ? errorCode : 0,
    subject: typeof cause === 'string' ? cause : '',
    index: typeof index === 'number' ? index : 0,
    status,
  })
}

/** The frame that asks for a watch. */
export function watchFrame(id: number, { key, recursive, after }: Target): string {
  return JSON.stringify({ op: 'watch', id, key, recursive, after })
}

/** The frame that ends one. */
export function cancelFrame(id: number): string {
  return JSON.stringify({ op: 'cancel', id })
}
