import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { program } from '../harness/paths.ts'
import { choosePorts } from '../launch/ports.ts'
import { Daemon } from './daemon.ts'

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

/** The program of that name. @throws Error when it is not on this machine */
export async function programOf(name: Name): Promise<Program> {
  const found = name === 'kvd' ? await kvdProgram() : await etcdProgram()
  if ('missing' in found) throw new Error(found.missing)
  return found
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
  const remove = async (): Promise<void> => await rm(dir, { recursive: true, force: true })
  const [client = 0, peer = 0] = await choosePorts([0, 0])
  const url = `http://127.0.0.1:${client}`
  const daemon = await Daemon.start(what.command, [...what.options, ...flags(dir, url, peer)], dir)
  try {
    await daemon.untilWritable(url)
  } catch (error) {
    await daemon.end('SIGKILL')
    await remove()
    throw new Error(`${what.name} did not start:\n${daemon.log}`, { cause: error })
  }
  const stop = async (): Promise<void> => {
    await daemon.end('SIGTERM')
    await remove()
  }
  return { name: what.name, pid: daemon.pid, port: client, url, stop }
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
