import type { KvNode } from '@flotilla/kv-client'
import { totalTimeout, withClient } from '../client.ts'
import { EXIT } from '../context.ts'
import type { Run } from '../context.ts'
import { keyFailure } from '../errors.ts'
import { treeJson } from '../tree.ts'

/** Prints a key and everything below it as JSON. Hidden keys come only when they are named. */
export const exportTree: Run = (context) =>
  withClient(context, async (client) => {
    const { io, global, options, args } = context
    const signal = totalTimeout(global)
    const nodes: KvNode[] = []
    try {
      for (const key of [args[0] ?? '/', ...options.list('hidden')]) {
        const read = { recursive: true, sorted: true, quorum: true, signal }
        nodes.push((await client.get(key, read)).node)
      }
    } catch (error) {
      throw keyFailure(error)
    }
    io.stdout(treeJson(nodes))
    return EXIT.success
  })
