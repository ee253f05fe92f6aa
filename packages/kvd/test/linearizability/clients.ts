import { Agent } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { ask, parseEvent, type WireEvent } from '../helpers/answers.ts'
import type { Random } from '../helpers/random.ts'
import { isWrite, type Ending, type Recorder, type Request } from './history.ts'
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
  /** Hears of the event that a successful write is. */
  readonly onWritten: (event: WireEvent) => void
}

/** A client who got no answer tries elsewhere, but not at once. */
const FAILED_PAUSE_MS = 50

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
  const { endpoints, recorder, workload, random, timeoutMs, signal, onWritten } = options
  while (!signal.aborted) {
    const request = workload.next(p)
    const endpoint = random.pick(endpoints)
    const op = recorder.invoke(p, nameOf(endpoint), request)
    const ending = await send(endpoint, request, { agent, timeoutMs, onWritten })
    recorder.complete(op, ending)
    workload.ended(request, ending)
    await delay(ending.e === 'ok' ? random.int(0, options.pauseMsMax) : FAILED_PAUSE_MS)
  }
}

/** The name of an endpoint in a history. */
export function nameOf({ host, port }: Endpoint): string {
  return `http://${host}:${port}`
}

/** How a request is sent. */
export interface SendOptions {
  readonly agent: Agent
  readonly timeoutMs: number
  readonly onWritten?: (event: WireEvent) => void
}

/** Sends one request and waits for what becomes of it. */
export async function send(
  { host, port }: Endpoint,
  request: Request,
  options: SendOptions,
): Promise<Ending> {
  try {
    const signal = AbortSignal.timeout(options.timeoutMs)
    const { agent } = options
    const reply = await ask(port, { ...askFor(request), host, agent, signal })
    const ending = endingOf(request, reply)
    const isDone = ending.e === 'ok' && ending.r.code === undefined
    if (isDone && isWrite(request)) options.onWritten?.(parseEvent(reply.body))
    return ending
  } catch (error) {
    return brokenOf(error)
  }
}
