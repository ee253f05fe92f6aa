import type { KvResponse } from '../types.ts'

/** What one connection to one server gives a watch. `progress`: every match up to `index` was given. */
export type SessionItem =
  | { readonly type: 'event'; readonly response: KvResponse }
  | { readonly type: 'progress'; readonly index: number }

/** Where and what to watch; `after` undefined: events after now. */
export interface Target {
  readonly key: string
  readonly recursive: boolean
  readonly after: number | undefined
}

/** Ends or throws when the connection does; throws KvError 401 when `after` is older than the history. */
export type Session = AsyncGenerator<SessionItem, void, undefined>
