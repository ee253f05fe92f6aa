import type { Test } from 'tap'
import { run } from '../../src/harness/process.ts'

/** One etcdctl command and what it must print. */
export type Step = readonly [args: string, stdout: string | RegExp, code?: number, stderr?: RegExp]

/** Every command on keys, on a store that is empty before and after. */
export const KEY_STEPS: readonly Step[] = [
  ['set /message Hello', 'Hello\n'],
  ['get /message', 'Hello\n'],
  ['mk /message again', '', 4, /^Error: {2}105: Key already exists \(\/message\) \[\d+\]\n$/],
  ['update /message World', 'World\n'],
  ['set /message swapped --swap-with-value World', 'swapped\n'],
  ['set /message no --swap-with-value World', '', 4],
  ['mkdir /dir', ''],
  ['set /dir/a 1', '1\n'],
  ['set /dir/b/c 2 --ttl 100', '2\n'],
  ['ls --recursive --sort -p', '/dir/\n/dir/a\n/dir/b/\n/dir/b/c\n/message\n'],
  [
    '-o extended get /message',
    /^Key: \/message\nCreated-Index: \d+\nModified-Index: \d+\nTTL: 0\nIndex: \d+\n\nswapped\n$/,
  ],
  [
    '-o json get /dir/a',
    /^\{"action":"get","node":\{"key":"\/dir\/a","value":"1","nodes":null,"createdIndex":\d+,"modifiedIndex":\d+\},"prevNode":null\}\n$/,
  ],
  ['rm /message', 'PrevNode.Value: swapped\n'],
  ['get /message', '', 4, /^Error: {2}100: Key not found \(\/message\) \[\d+\]\n$/],
  ['rmdir /dir', '', 4],
  ['rm --recursive /dir', ''],
  ['ls', ''],
]

/** Runs the steps at these endpoints (`URL,…`), one after the other. */
export async function walk(t: Test, endpoints: string, steps: readonly Step[]): Promise<void> {
  const env = { ...process.env, ETCDCTL_API: '2', ETCDCTL_ENDPOINTS: endpoints }
  for (const [args, stdout, code = 0, stderr] of steps) {
    const result = await run(['etcdctl', ...args.split(' ')], { env })
    if (typeof stdout === 'string') t.equal(result.stdout, stdout, `etcdctl ${args}`)
    else t.match(result.stdout, stdout, `etcdctl ${args}`)
    t.equal(result.code, code, `etcdctl ${args}: exit status`)
    if (stderr !== undefined) t.match(result.stderr, stderr, `etcdctl ${args}: stderr`)
  }
}
