import type { KvClient, KvResponse } from '@flotilla/kv-client'
import { totalTimeout, withClient } from '../client.ts'
import { EXIT, ExitError } from '../context.ts'
import type { Context, Run } from '../context.ts'
import { badArgs, keyFailure } from '../errors.ts'
import { formatResponse, keyOf, listing } from '../format.ts'

type Ask = (client: KvClient, key: string, signal: AbortSignal) => Promise<KvResponse>

/** Connects, wants a key, asks, prints. The original connects first, so a dead cluster is told before a missing key. */
function keyCommand(
  ask: (context: Context) => Ask | Promise<Ask>,
  print: (context: Context, response: KvResponse) => void,
): Run {
  return (context) =>
    withClient(context, async (client) => {
      const key = wantKey(context.args)
      const call = await ask(context)
      let response: KvResponse
      try {
        response = await call(client, key, totalTimeout(context.global))
      } catch (error) {
        throw keyFailure(error)
      }
      print(context, response)
      return EXIT.success
    })
}

/** The first argument; exit 1 without. */
export function wantKey(args: readonly string[]): string {
  const [key] = args
  if (key === undefined) throw badArgs('key required')
  return key
}

/** Prints an answer in the format of `--output`. */
export function printResponse({ io, global }: Context, response: KvResponse): void {
  const { stdout, stderr } = formatResponse(response, global.text('output'))
  io.stdout(stdout)
  io.stderr(stderr)
}

/** The second argument, or all of stdin; exit 1 when that is empty. An empty argument is a value. */
async function wantValue({ args, io }: Context): Promise<string> {
  const value = args[1] ?? (await io.readStdin())
  if (args[1] === undefined && value === '') throw badArgs('value required')
  return value
}

function nothing(): void {
  // Commands on directories print nothing.
}

function printFile(context: Context, response: KvResponse): void {
  if (response.node.dir !== true) printResponse(context, response)
}

function ttl(context: Context): number {
  return Number(context.options.int('ttl'))
}

export const get: Run = keyCommand(
  ({ options }) =>
    (client, key, signal) =>
      client.get(key, { sorted: options.bool('sort'), quorum: options.bool('quorum'), signal }),
  (context, response) => {
    if (response.node.dir === true) {
      throw new ExitError(EXIT.badArgs, `${keyOf(response.node)}: is a directory\n`)
    }
    printResponse(context, response)
  },
)

export const set: Run = keyCommand(async (context) => {
  const value = await wantValue(context)
  const { options } = context
  return (client, key, signal) =>
    client.set(key, value, {
      ttl: ttl(context),
      prevValue: options.text('swap-with-value'),
      prevIndex: BigInt.asUintN(64, options.int('swap-with-index')),
      signal,
    })
}, printResponse)

export const mk: Run = keyCommand(async (context) => {
  const value = await wantValue(context)
  return (client, key, signal) =>
    context.options.bool('in-order')
      ? client.createInOrder(key, value, { ttl: ttl(context), signal })
      : client.create(key, value, { ttl: ttl(context), signal })
}, printResponse)

export const update: Run = keyCommand(async (context) => {
  const value = await wantValue(context)
  return (client, key, signal) => client.update(key, value, { ttl: ttl(context), signal })
}, printResponse)

/** mkdir, setdir and updatedir differ in whether the directory must be there. */
function dirCommand(prevExist: boolean | undefined): Run {
  return keyCommand(
    (context) => (client, key, signal) =>
      client.set(key, '', { dir: true, prevExist, ttl: ttl(context), signal }),
    nothing,
  )
}

export const mkdir: Run = dirCommand(false)
export const setdir: Run = dirCommand(undefined)
export const updatedir: Run = dirCommand(true)

export const rm: Run = keyCommand(
  ({ options }) =>
    (client, key, signal) =>
      client.delete(key, {
        dir: options.bool('dir'),
        recursive: options.bool('recursive'),
        prevValue: options.text('with-value'),
        prevIndex: BigInt.asUintN(64, options.int('with-index')),
        signal,
      }),
  printFile,
)

export const rmdir: Run = keyCommand(
  () => (client, key, signal) => client.delete(key, { dir: true, signal }),
  printFile,
)

const list: Run = keyCommand(
  ({ options }) =>
    (client, key, signal) =>
      client.get(key, {
        sorted: options.bool('sort'),
        recursive: options.bool('recursive'),
        quorum: options.bool('quorum'),
        signal,
      }),
  ({ io, options }, response) => io.stdout(listing(response, options.bool('p'))),
)

export const ls: Run = (context) =>
  list({ ...context, args: context.args.length === 0 ? ['/'] : context.args })
