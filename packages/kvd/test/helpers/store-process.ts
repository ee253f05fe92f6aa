import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/** How a process ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stderr: string
}

/** What `launch` starts. */
export interface LaunchOptions {
  readonly dir: string
  /** Client and peer port; free ones when not given. */
  readonly ports?: Ports
  readonly flags?: readonly string[]
  /** A discovery URL where its cluster begins; alone when not given. */
  readonly discovery?: string
  /** Words in front of the command, such as `nsenter`; the last of them must exec the rest. */
  readonly wrapper?: readonly string[]
}

/** Client and peer port. */
export interface Ports {
  readonly client: number
  readonly peer: number
}

/** A store under test, known by its process, its port and what it says. */
export interface StoreProcess {
  readonly pid: number
  readonly ports: Ports
  readonly url: string
  readonly exited: Promise<Exit>
  /** Everything on stderr so far. */
  log(): string
  /** Sends a signal and waits for the end. */
  kill(signal: NodeJS.Signals): Promise<Exit>
}

const readyTimeoutMs = 60_000
const logCharsMax = 1 << 20
/** net.ipv4.ip_local_port_range begins at 32768 unless somebody changed it. */
const portsFrom = 20_000
const portCount = 12_000
/** Whoever got them may not listen yet, or be down for a moment. */
const given = new Set<number>()
/** The program under test. */
export const kvdPath = fileURLToPath(new URL('../../../bin/kvd.js', import.meta.url))

/** The drills run against another store of the v2 API when FLOTILLA_STORE has its command line. */
const other = process.env['FLOTILLA_STORE']

/** True when the store is kvd, which has more than etcd: WebSockets, a longer history, its own files. */
export const isKvd = other === undefined

const command = other === undefined ? [process.execPath, kvdPath] : other.split(' ')

/** Starts the store; does not wait. */
export async function spawnStore(options: LaunchOptions): Promise<StoreProcess> {
  const ports = options.ports ?? (await freePorts())
  const [program = '', ...args] = [
    ...(options.wrapper ?? []),
    ...command,
    ...addressFlags(options.dir, ports),
    ...bootstrapFlags(options, ports),
    ...(options.flags ?? []),
  ]
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], env: cleanEnv() })
  // A test that is ended from outside must not leave a store behind.
  const killAtExit = (): boolean => child.kill('SIGKILL')
  process.once('exit', killAtExit)
  child.once('exit', () => process.off('exit', killAtExit))
  const log = keepLog(child)
  const exited = exitOf(child, log)
  await once(child, 'spawn')
  return {
    pid: child.pid ?? 0,
    ports,
    url: `http://127.0.0.1:${ports.client}`,
    exited,
    log,
    kill: (signal) => {
      child.kill(signal)
      return exited
    },
  }
}

/**
 * Starts the store and waits until it serves quorum reads.
 * @throws Error with the store's log when it ends or stays silent
 */
export async function launch(options: LaunchOptions): Promise<StoreProcess> {
  const result = await tryLaunch(options)
  if ('store' in result) return result.store
  const { code, signal, stderr } = result.exit
  throw new Error(`the store did not start (${code ?? signal}):\n${stderr}`)
}

/** Starts the store and waits until it serves quorum reads, or until it has ended; silence ends it too. */
export async function tryLaunch(
  options: LaunchOptions,
): Promise<{ readonly store: StoreProcess } | { readonly exit: Exit }> {
  const store = await spawnStore(options)
  const deadline = performance.now() + readyTimeoutMs
  while (isRunning(store.pid) && performance.now() < deadline) {
    const answer = await fetch(`${store.url}/v2/keys/?quorum=true`).catch(() => undefined)
    await answer?.arrayBuffer()
    if (answer?.ok) return { store }
    await delay(5)
  }
  return { exit: await store.kill('SIGKILL') }
}

/** False once the process has ended: a child that nobody has waited for yet is a zombie. */
function isRunning(pid: number): boolean {
  const stat = existsSync(`/proc/${pid}`) ? readFileSync(`/proc/${pid}/stat`, 'latin1') : ''
  return stat !== '' && stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z'
}

function addressFlags(dir: string, ports: Ports): string[] {
  const client = `http://127.0.0.1:${ports.client}`
  const peer = `http://127.0.0.1:${ports.peer}`
  return [
    '--data-dir',
    dir,
    '--listen-client-urls',
    client,
    '--advertise-client-urls',
    client,
    '--listen-peer-urls',
    peer,
    '--initial-advertise-peer-urls',
    peer,
  ]
}

function bootstrapFlags({ discovery, flags = [] }: LaunchOptions, { peer }: Ports): string[] {
  // A front has no cluster of its own to begin.
  if (flags.includes('--existing-engine')) return []
  if (discovery !== undefined) return ['--discovery', discovery]
  return ['--initial-cluster', `default=http://127.0.0.1:${peer}`]
}

/**
 * Two ports that are free now and stay so while a store is down: below those that the kernel gives
 * to outgoing connections, which would else take them between a kill and the next start. No other call in
 * this process gets them.
 * @throws Error when it has given all that it may give
 */
export async function freePorts(): Promise<Ports> {
  return { client: await freePort(), peer: await freePort() }
}

async function freePort(): Promise<number> {
  while (given.size < portCount) {
    const port = portsFrom + Math.floor(Math.random() * portCount)
    if (given.has(port)) continue
    given.add(port)
    if (await isFree(port)) return port
  }
  throw new Error(`no port from ${portsFrom} to ${portsFrom + portCount - 1} is left`)
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  return await new Promise((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

/** The store's own variables must not leak in from whoever runs the tests. */
function cleanEnv(): NodeJS.ProcessEnv {
  const own = /^(ETCD|KVD)_|^NOTIFY_SOCKET$|^JOURNAL_STREAM$/
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !own.test(name)))
}

function keepLog(child: ChildProcess): () => string {
  let text = ''
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    text = (text + chunk).slice(-logCharsMax)
  })
  return () => text
}

async function exitOf(child: ChildProcess, log: () => string): Promise<Exit> {
  return await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ code, signal, stderr: log() }))
  })
}
