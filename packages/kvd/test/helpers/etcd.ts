import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Test } from 'tap'
import { freePorts, type Ports } from './store-process.ts'

/** Why no real etcd can be used here, or false. */
export function etcdSkip(): string | false {
  const { status, stdout } = spawnSync('etcd', ['--version'], { encoding: 'utf8' })
  if (status !== 0) return 'etcd is not installed'
  return stdout.startsWith('etcd Version: 3.4.') ? false : 'this etcd does not serve the v2 API'
}

/** A real etcd that a test started. */
export interface Etcd {
  readonly url: string
  readonly peerUrl: string
  /** Everything on stderr so far. @throws Error with it when etcd has ended */
  log(): string
}

export interface EtcdOptions {
  readonly dir: string
  readonly name?: string
  readonly ports?: Ports
  /** Where its cluster begins; alone when not given. */
  readonly discovery?: string
}

/** Starts an etcd that serves the v2 API, and ends it with the test; does not wait. */
export async function startEtcd(tt: Test, options: EtcdOptions): Promise<Etcd> {
  const { client, peer } = options.ports ?? (await freePorts())
  const [url, peerUrl] = [`http://127.0.0.1:${client}`, `http://127.0.0.1:${peer}`]
  const name = options.name ?? 'default'
  const bootstrap =
    options.discovery === undefined
      ? ['--initial-cluster', `${name}=${peerUrl}`]
      : ['--discovery', options.discovery]
  const child = spawn(
    'etcd',
    [
      ['--enable-v2', '--name', name, '--data-dir', options.dir],
      ['--listen-client-urls', url, '--advertise-client-urls', url],
      ['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl],
      bootstrap,
    ].flat(),
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  tt.teardown(async () => await end(child))
  let text = ''
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  const log = (): string => {
    if (child.exitCode !== null) throw new Error(`etcd ended:\n${text}`)
    return text
  }
  return { url, peerUrl, log }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}

/** Resolves when it answers quorum reads, to the names of the members that it knows. */
export async function etcdMembers(etcd: Etcd): Promise<readonly string[]> {
  for (;;) {
    const read = await fetch(`${etcd.url}/v2/keys/?quorum=true`).catch(() => undefined)
    await read?.arrayBuffer()
    if (read?.ok === true) break
    etcd.log()
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  const answer = await fetch(`${etcd.url}/v2/members`)
  const { members }: { members: { name: string }[] } = JSON.parse(await answer.text())
  return members.map(({ name }) => name).toSorted()
}
