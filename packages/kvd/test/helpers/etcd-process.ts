import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import { freePorts, launch, type StoreProcess } from './store-process.ts'

/** Why nothing can be tried with a real etcd here, or false. */
export const NO_ETCD: string | false = missing()

function missing(): string | false {
  try {
    const text = execFileSync('etcd', ['--version'], { encoding: 'utf8' })
    return /etcd Version: 3\./.test(text) ? false : `this etcd is no v3: ${text.split('\n')[0]}`
  } catch {
    return 'there is no etcd on this machine (Debian: apt-get install etcd-server)'
  }
}

/** An etcd cluster of one. */
export interface EtcdProcess {
  readonly url: string
  readonly pid: number
  /** Ends it at once; its data stay. */
  kill(): Promise<void>
  /** Starts it again on its data and port. */
  start(): Promise<void>
  /** Runs etcdctl of the v3 API. */
  ctl(...args: readonly string[]): string
}

const READY_MS_MAX = 30_000

/** Starts etcd; the test's end ends it. `flags` come behind ours; `{url}` in them is the client URL. */
export async function startEtcd(t: Test, flags: readonly string[] = []): Promise<EtcdProcess> {
  const directory = t.testdir({ data: {} })
  const { client, peer } = await freePorts()
  const isTls = flags.includes('--cert-file')
  const url = `${isTls ? 'https' : 'http'}://127.0.0.1:${client}`
  // With its own v2 front over v3, etcd 3.4 breaks /health.
  const sign = flags.includes('--experimental-enable-v2v3') ? '/v2/keys/' : '/health'
  const peerUrl = `http://127.0.0.1:${peer}`
  const argv = [
    ['--data-dir', `${directory}/data`],
    ['--listen-client-urls', url],
    ['--advertise-client-urls', url],
    ['--listen-peer-urls', peerUrl],
    ['--initial-advertise-peer-urls', peerUrl],
    ['--initial-cluster', `default=${peerUrl}`],
    flags,
  ].flat()
  let child: ChildProcess | undefined
  const killAtExit = (): void => {
    child?.kill('SIGKILL')
  }
  const ctl = (...args: readonly string[]): string =>
    execFileSync('etcdctl', ['--endpoints', url, ...args], {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], ETCDCTL_API: '3' },
      stdio: ['ignore', 'pipe', 'ignore'],
    })
  const etcd: EtcdProcess = {
    url,
    ctl,
    get pid() {
      return child?.pid ?? 0
    },
    kill: async () => {
      const ended = child === undefined ? undefined : once(child, 'exit')
      child?.kill('SIGCONT')
      child?.kill('SIGKILL')
      await ended
      child = undefined
    },
    start: async () => {
      child = spawn('etcd', argv, { stdio: 'ignore', cwd: directory })
      await once(child, 'spawn')
      if (!isTls) await untilReady(`${url}${sign}`)
    },
  }
  process.once('exit', killAtExit)
  t.teardown(async () => {
    await etcd.kill()
    process.off('exit', killAtExit)
  })
  await etcd.start()
  return etcd
}

async function untilReady(url: string): Promise<void> {
  const deadline = performance.now() + READY_MS_MAX
  for (;;) {
    const answer = await fetch(url).catch(() => undefined)
    await answer?.arrayBuffer()
    if (answer?.ok) return
    if (performance.now() > deadline) throw new Error(`etcd did not answer at ${url}`)
    await delay(20)
  }
}

/** Starts a front; the test's end ends it. */
export async function startFront(
  t: Test,
  engine: string,
  flags: readonly string[] = [],
): Promise<StoreProcess> {
  const dir = `${t.testdirName}-front`
  mkdirSync(dir, { recursive: true })
  const front = await launch({ dir, flags: ['--existing-engine', engine, ...flags] })
  t.teardown(async () => await front.kill('SIGTERM'))
  return front
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: unknown
  readonly text: string
}

/** Asks for a key. `form` is sent as the body. */
export async function ask(
  front: Pick<StoreProcess, 'url'>,
  method: string,
  key: string,
  form?: Readonly<Record<string, string>>,
): Promise<Answer> {
  const response = await fetch(`${front.url}/v2/keys${key}`, {
    method,
    ...(form !== undefined && { body: new URLSearchParams(form) }),
  })
  const text = await response.text()
  const body: unknown = text === '' ? undefined : JSON.parse(text)
  return { status: response.status, headers: response.headers, body, text }
}

/** Asks again until the answer has that status. */
export async function until(front: StoreProcess, key: string, status: number): Promise<Answer> {
  for (;;) {
    const answer = await ask(front, 'GET', key)
    if (answer.status === status) return answer
    await delay(20)
  }
}

/** A stream of events, line by line. */
export interface Lines {
  readonly headers: Headers
  /** The next line; undefined at the end. */
  next(): Promise<string | undefined>
  close(): Promise<void>
}

/** Opens a watch and waits for its head. */
export async function watchLines(front: StoreProcess, target: string): Promise<Lines> {
  const gone = new AbortController()
  const response = await fetch(`${front.url}/v2/keys${target}`, { signal: gone.signal })
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  return {
    headers: response.headers,
    next: async () => {
      for (;;) {
        const end = rest.indexOf('\n')
        if (end >= 0) {
          const line = rest.slice(0, end)
          rest = rest.slice(end + 1)
          return line
        }
        const chunk = await reader?.read()
        if (chunk === undefined || chunk.done) return undefined
        rest += chunk.value
      }
    },
    close: async () => {
      gone.abort()
      await reader?.cancel().catch(() => undefined)
    },
  }
}
