/** Where kvd-watch.1 is spoken. */
export const WATCH_PATH = '/kvd/v1/watch'

/** What a client of kvd-watch.1 asks for. */
export type WatchMessage =
  | {
      readonly op: 'watch'
      readonly id: number
      readonly key: string
      readonly recursive: boolean
      /** Deliver what comes behind this index; undefined for "from now on". */
      readonly after: number | undefined
    }
  | { readonly op: 'cancel'; readonly id: number }
  | { readonly op: 'invalid'; readonly id: number; readonly problem: string }

/** Reads one text frame. Whatever is no request comes back as `invalid` with what is wrong. */
export function parseWatchMessage(text: string): WatchMessage {
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return invalid(0, 'the frame is no JSON')
    throw error
  }
  if (typeof document !== 'object' || document === null)
    return invalid(0, 'the frame is no JSON object')
  const { op, id, key, recursive, after }: Record<string, unknown> = { ...document }
  if (!isIndex(id) || id === 0) return invalid(0, 'id must be a positive integer')
  if (op === 'cancel') return { op, id }
  if (op !== 'watch') return invalid(id, 'op must be "watch" or "cancel"')
  if (typeof key !== 'string' || !key.startsWith('/'))
    return invalid(id, 'key must be a text that begins with a slash')
  if (recursive !== undefined && typeof recursive !== 'boolean')
    return invalid(id, 'recursive must be true or false')
  if (after !== undefined && !isIndex(after))
    return invalid(id, 'after must be an index, an integer from 0 on')
  return { op, id, key, recursive: recursive ?? false, after }
}

function isIndex(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function invalid(id: number, problem: string): WatchMessage {
  return { op: 'invalid', id, problem }
}
