import { Agent } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { ask } from '../helpers/answers.ts'
import type { Random } from '../helpers/random.ts'
import type { Ending, Recorder, Request } from './history.ts'
import { askFor, brokenOf, endingOf } from './v2-api.ts'
import type { Workload } from './workload.ts'

/** Where a member listens for clients. */
export interface Endpoint {
  readonly host: string
  readonly port: number
}

/** How clients behave. They stop, in the middle of nothing, when `signal` aborts. */
export interface ClientsOptions {
  readonly endpoints: readonly Endpoint[]
  readonly recorder: Recorder
  readonly workload: Workload
  readonly random: Random
  readonly clients: number
  /** How long a client thinks between two requests, at most. */
  readonly pauseMsMax: number
  /** After this long a client gives a request up, whose outcome is then unknown. */
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** A client whom nobody listens to tries elsewhere, but not at once. */
const REFUSED_PAUSE_MS = 50

/** Runs clients, each with one request at a time at a member of its choice, and records all. */
export async function runClients(options: ClientsOptions): Promise<void> {
  const agent = new Agent({ keepAlive: true })
  const clients = Array.from({ length: options.clients }, (_, p) =>
    runClient(p, agent, { ...options, random: options.random.fork() }),
  )
  await Promise.all(clients)
  agent.destroy()
}

async function runClient(p: number, agent: Agent, options: ClientsOptions): Promise<void> {
  const { endpoints, recorder, workload, random, timeoutMs, signal } = options
  while (!signal.aborted) {
    const request = workload.next(p)
    const endpoint = random.pick(endpoints)
    const op = recorder.invoke(p, nameOf(endpoint), request)
    const ending = await send(endpoint, request, { agent, timeoutMs })
    recorder.complete(op, ending)
    workload.ended(request, ending)
    await delay(ending.e === 'fail' ? REFUSED_PAUSE_MS : random.int(0, options.pauseMsMax))
  }
}

/** The name of an endpoint in a history. */
export function nameOf({ host, port }: Endpoint): string {
  return `http://${host}:${port}`
}

/** Sends one request and waits for what becomes of it. */
export async function send(
  { host, port }: Endpoint,
  request: Request,
  { agent, timeoutMs }: { readonly agent: Agent; readonly timeoutMs: number },
): Promise<Ending> {
  try {
    const signal = AbortSignal.timeout(timeoutMs)
    return endingOf(request, await ask(port, { ...askFor(request), host, agent, signal }))
  } catch (error) {
    return brokenOf(error)
  }
}
