import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { program } from '../harness/paths.ts'

/** The stores that speak the v2 API. */
export type Name = 'kvd' | 'etcd'

/** How a store is started. `options` go in front of those that `start` adds. */
export interface Program {
  readonly name: Name
  readonly version: string
  readonly command: string
  readonly options: readonly string[]
}

/** A running store on a data directory of its own. */
export interface Server {
  readonly name: Name
  readonly pid: number
  readonly port: number
  readonly url: string
  /** Ends the process with SIGTERM, waits for its end and removes the data directory. */
  stop(): Promise<void>
}

const readyTimeoutMs = 30_000
const stopTimeoutMs = 15_000
const logBytesMax = 64 << 10

/** Our own store, as built. */
export async function kvdProgram(): Promise<Program> {
  const path = program('kvd')
  const text = await outputOf(process.execPath, [path, '--version'])
  // The first line has the version of etcd whose API it is.
  const version = /kvd (\d\S*)/.exec(text ?? '')?.[1] ?? 'unknown'
  return { name: 'kvd', version, command: process.execPath, options: [path] }
}

/** The machine's etcd, or why it cannot be compared with. Its v2 API is a flag since 3.0 and gone since 3.6. */
export async function etcdProgram(): Promise<Program | { readonly missing: string }> {
  const text = await outputOf('etcd', ['--version'])
  if (text === undefined) return { missing: 'there is no etcd on this machine' }
  const [version = '', major = '', minor = ''] = /(\d+)\.(\d+)\.\d+/.exec(text) ?? []
  if (Number(major) > 3 || (major === '3' && Number(minor) >= 6))
    return { missing: `etcd ${version} has no v2 API` }
  const options = major === '3' ? ['--enable-v2'] : []
  return { name: 'etcd', version, command: 'etcd', options }
}

async function outputOf(command: string, args: readonly string[]): Promise<string | undefined> {
  return promisify(execFile)(command, [...args]).then(
    ({ stdout }) => stdout,
    () => undefined,
  )
}

/** Starts a store on a fresh directory below `parent` and waits until it answers writes. */
export async function start(what: Program, parent: string): Promise<Server> {
  const dir = await mkdtemp(join(parent, `bench-${what.name}-`))
  const [client, peer] = await freePorts()
  const url = `http://127.0.0.1:${client}`
  const child = spawn(what.command, [...what.options, ...flags(dir, url, peer)], {
    stdio: ['ignore', 'ignore', 'pipe'],
    cwd: dir,
  })
  const log = tail(child)
  // Whatever ends the bench, a signal too, ends the servers: nobody else knows of them.
  const killAtExit = (): boolean => child.kill('SIGKILL')
  process.prependOnceListener('exit', killAtExit)
  child.once('exit', () => process.off('exit', killAtExit))
  try {
    await once(child, 'spawn')
    await untilReady(child, url)
  } catch (error) {
    child.kill('SIGKILL')
    await rm(dir, { recursive: true, force: true })
    throw new Error(`${what.name} did not start:\n${log()}`, { cause: error })
  }
  return {
    name: what.name,
    pid: child.pid ?? 0,
    port: client,
    url,
    stop: () => end(child, dir),
  }
}

function flags(dir: string, url: string, peerPort: number): string[] {
  const peer = `http://127.0.0.1:${peerPort}`
  return [
    ['--data-dir', join(dir, 'data')],
    ['--listen-client-urls', url],
    ['--advertise-client-urls', url],
    ['--listen-peer-urls', peer],
    ['--initial-advertise-peer-urls', peer],
    ['--initial-cluster', `default=${peer}`],
  ].flat()
}

/** Two ports that are free now; taken at the same time, so that they differ. */
async function freePorts(): Promise<[number, number]> {
  const servers = [createServer(), createServer()]
  const ports: number[] = []
  for (const server of servers) {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    ports.push(address !== null && typeof address === 'object' ? address.port : 0)
  }
  for (const server of servers) server.close()
  return [ports[0] ?? 0, ports[1] ?? 0]
}

/** Keeps the last part of what the child says, for the message when it fails. */
function tail(child: ChildProcess): () => string {
  let text = ''
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    text = (text + chunk).slice(-logBytesMax)
  })
  return () => text
}

async function untilReady(child: ChildProcess, url: string): Promise<void> {
  const deadline = performance.now() + readyTimeoutMs
  while (performance.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`ended with ${child.exitCode ?? child.signalCode}`)
    const answer = await fetch(`${url}/v2/keys/ready`, { method: 'PUT' }).catch(() => undefined)
    await answer?.arrayBuffer()
    if (answer?.ok) return
    await sleep(20)
  }
  throw new Error(`no answer at ${url} after ${readyTimeoutMs} ms`)
}

async function end(child: ChildProcess, dir: string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs)
    await ended
    clearTimeout(timer)
  }
  await rm(dir, { recursive: true, force: true })
}
