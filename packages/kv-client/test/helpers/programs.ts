import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { createClient } from '../../src/client.ts'
import type { TlsOptions } from '../../src/types.ts'

/** A server of the v2 API that can be started: a command and the arguments it needs beside the URLs. */
export interface Program {
  readonly name: string
  readonly command: readonly string[]
}

/** `KVD` in the environment names another build. */
const KVD =
  process.env['KVD'] ?? fileURLToPath(new URL('../../../../kvd/bin/kvd.js', import.meta.url))

/** The real etcd, where it is installed. */
export function findEtcd(): Program | undefined {
  const path = (process.env['PATH'] ?? '').split(delimiter)
  const found = path.map((directory) => join(directory, 'etcd')).find(existsSync)
  return found === undefined ? undefined : { name: 'etcd', command: [found, '--enable-v2'] }
}

/** Our kvd, where it is built. */
export function findKvd(): Program | undefined {
  const { status } = spawnSync(process.execPath, [KVD, '--version'], { stdio: 'ignore' })
  return status === 0 ? { name: 'kvd', command: [process.execPath, KVD] } : undefined
}

/** A cluster of one. */
export interface Running {
  readonly port: number
  /** Ends it without warning and starts it again on the same data and ports. */
  restart(): Promise<void>
}

/** What a server with TLS needs, and what its clients do. */
export interface Secure {
  /** Where its certificates are. */
  readonly directory: string
  readonly flags: readonly string[]
  readonly tls: TlsOptions
}

/** Starts a cluster of one until the test is over; the URL answers when this resolves. */
export async function start(t: Test, program: Program, secure?: Secure): Promise<Running> {
  const [port, peerPort] = await freePorts()
  const url = `${secure === undefined ? 'http' : 'https'}://127.0.0.1:${port}`
  const peerUrl = `http://127.0.0.1:${peerPort}`
  const [command = '', ...first] = program.command
  const args = [
    ...first,
    `--data-dir=${join(secure?.directory ?? t.testdir(), 'data')}`,
    `--initial-cluster=default=${peerUrl}`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    ...(secure?.flags ?? []),
  ]
  const launch = async (): Promise<() => Promise<void>> => {
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    let log = ''
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (log += chunk))
    const ended = new Promise((resolve) => child.on('close', resolve))
    while (!(await isReady(url, secure?.tls))) {
      if (child.exitCode !== null) throw new Error(`${program.name} ended: ${log}`)
    }
    return async () => {
      child.kill('SIGKILL')
      await ended
    }
  }
  let kill = await launch()
  t.teardown(() => kill())
  return {
    port,
    async restart() {
      await kill()
      kill = await launch()
    },
  }
}

async function isReady(url: string, tls: TlsOptions = {}): Promise<boolean> {
  const client = createClient({ endpoints: [url], tls })
  try {
    await client.get('/', { quorum: true })
    return true
  } catch {
    await new Promise((resolve) => setTimeout(resolve, 20))
    return false
  } finally {
    client.close()
  }
}

async function freePorts(): Promise<[number, number]> {
  const servers = await Promise.all([0, 0].map(listenAnywhere))
  const ports = servers.map((server) => {
    const address = server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  })
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return [ports[0] ?? 0, ports[1] ?? 0]
}

function listenAnywhere(): Promise<ReturnType<typeof createServer>> {
  const server = createServer()
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)))
}
