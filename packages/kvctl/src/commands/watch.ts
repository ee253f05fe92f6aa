import type { KvClient, KvResponse } from '@flotilla/kv-client'
import { withClient } from '../client.ts'
import { EXIT } from '../context.ts'
import type { Run } from '../context.ts'
import { keyFailure } from '../errors.ts'
import { keyOf } from '../format.ts'
import { printResponse, wantKey } from './keys.ts'

/** What to watch; `after` 0 means from now on. */
export interface Wanted {
  readonly key: string
  readonly recursive: boolean
  readonly after: bigint
  readonly signal: AbortSignal
}

/**
 * The events of a key by long polls, as etcd's own client asks for them: from `after` + 1, then from
 * each event's modifiedIndex + 1. An answer without an event is asked again. Errors end it, 401 too;
 * an aborted signal ends it without one.
 */
export async function* events(
  client: Pick<KvClient, 'waitOnce'>,
  { key, recursive, after, signal }: Wanted,
): AsyncGenerator<KvResponse, void, undefined> {
  let waitIndex = after === 0n ? 0n : BigInt.asUintN(64, after + 1n)
  for (;;) {
    let response: KvResponse | undefined
    try {
      response = await client.waitOnce(key, { recursive, waitIndex, signal })
    } catch (error) {
      if (signal.aborted) return
      throw keyFailure(error)
    }
    if (response === undefined) continue
    waitIndex = BigInt(response.node.modifiedIndex) + 1n
    yield response
  }
}

export const watch: Run = (context) =>
  withClient(context, async (client) => {
    const { io, options } = context
    const recursive = options.bool('recursive')
    const wanted = {
      key: wantKey(context.args),
      recursive,
      after: options.int('after-index'),
      signal: io.onInterrupt(),
    }
    for await (const response of events(client, wanted)) {
      if (response.node.dir === true) continue
      if (recursive) io.stdout(`[${response.action}] ${keyOf(response.node)}\n`)
      printResponse(context, response)
      if (!options.bool('forever')) break
    }
    return EXIT.success
  })
