import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

const KVD = fileURLToPath(new URL('../../../../kvd/bin/kvd.js', import.meta.url))
const FLEETD = fileURLToPath(new URL('../../../bin/fleetd.js', import.meta.url))

/** Asks again until the answer is there; rejects with what was seen last. */
export async function until<T>(
  what: string,
  look: () => Promise<{ readonly done?: T; readonly seen?: unknown }>,
  timeoutMs = 20_000,
): Promise<T> {
  const end = performance.now() + timeoutMs
  for (;;) {
    const { done, seen } = await look().catch((error: unknown) => ({
      done: undefined,
      seen: String(error),
    }))
    if (done !== undefined) return done
    if (performance.now() > end)
      throw new Error(`waited in vain for ${what}: ${JSON.stringify(seen)}`)
    await sleep(25)
  }
}

/** A process that is started, killed and started again with the same settings. */
export class Program {
  readonly #args: readonly string[]
  readonly #env: Readonly<Record<string, string>>
  #child: ChildProcess | undefined
  log = ''

  constructor(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.#args = args
    this.#env = env
  }

  start(): void {
    const child = spawn(process.execPath, this.#args, {
      env: { PATH: process.env['PATH'], ...this.#env },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.log += text))
    this.#child = child
  }

  get isRunning(): boolean {
    return this.#child?.exitCode === null && this.#child.signalCode === null
  }

  /** Sends the signal and waits until the process has ended. */
  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (child === undefined || !this.isRunning) return
    const ended = once(child, 'exit')
    child.kill(signal)
    await ended
  }
}

/** A machine: a fleetd with an embedded unit manager. */
export class Machine {
  readonly id: string
  readonly fleetd: Program
  readonly #listenFile: string

  constructor(id: string, directory: string, env: Readonly<Record<string, string>>) {
    this.id = id
    mkdirSync(directory, { recursive: true })
    this.#listenFile = join(directory, 'url')
    this.fleetd = new Program([FLEETD], {
      FLEET_MACHINE_ID: id,
      FLEET_PUBLIC_IP: '127.0.0.1',
      FLEET_UNIT_MANAGER: 'embedded',
      FLEET_UNITS_DIRECTORY: join(directory, 'units'),
      FLEET_STATE_DIRECTORY: join(directory, 'state'),
      FLEET_LISTEN: 'http://127.0.0.1:0',
      FLEET_LISTEN_FILE: this.#listenFile,
      ...env,
    })
  }

  start(): void {
    rmSync(this.#listenFile, { force: true })
    this.fleetd.start()
  }

  async url(): Promise<string> {
    return await until(`${this.id} to listen`, async () => {
      await Promise.resolve()
      return existsSync(this.#listenFile)
        ? { done: readFileSync(this.#listenFile, 'utf8').trim() }
        : {}
    })
  }
}

/** Unit states as the API lists them. */
export interface State {
  readonly name: string
  readonly machineID: string
  readonly systemdActiveState: string
}

/** A kvd and some machines, ended with the test. Units write a line with their process ID at every start. */
export class Cluster {
  readonly directory: string
  readonly kvd: Program
  readonly machines: readonly Machine[]

  constructor(t: Test, port: number, env: readonly Readonly<Record<string, string>>[]) {
    this.directory = t.testdir({ pids: {} })
    const [client, peer] = [`http://127.0.0.1:${port}`, 'http://127.0.0.1:0']
    this.kvd = new Program([
      KVD,
      `--data-dir=${join(this.directory, 'kvd')}`,
      `--listen-peer-urls=${peer}`,
      `--listen-client-urls=${client}`,
      `--advertise-client-urls=${client}`,
    ])
    this.machines = env.map((own, at) => {
      const id = `${String.fromCharCode(97 + at).repeat(8)}${'0'.repeat(24)}`
      return new Machine(id, join(this.directory, `m${at}`), { FLEET_ETCD_SERVERS: client, ...own })
    })
    t.teardown(async () => {
      await Promise.all(this.machines.map(({ fleetd }) => fleetd.end('SIGKILL')))
      await this.kvd.end('SIGKILL')
      for (const pid of this.#allPids()) if (isAlive(pid)) process.kill(pid, 'SIGKILL')
    })
  }

  start(): void {
    this.kvd.start()
    for (const machine of this.machines) machine.start()
  }

  #allPids(): number[] {
    return Array.from({ length: 20 }, (_, at) => this.starts(`u${at}.service`)).flat()
  }

  /** Process IDs of all starts of a unit, oldest first. */
  starts(name: string): number[] {
    const file = join(this.directory, 'pids', name)
    if (!existsSync(file)) return []
    return readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map(Number)
  }

  /** Process IDs of a unit that are alive. */
  alive(name: string): number[] {
    return this.starts(name).filter(isAlive)
  }

  async submit(url: string, name: string, state: string): Promise<void> {
    const command = `/bin/sh -c "echo $$$$ >> ${join(this.directory, 'pids')}/%n; exec sleep 1000"`
    const options = [{ section: 'Service', name: 'ExecStart', value: command }]
    await put(url, name, { options, desiredState: state })
  }

  async setState(url: string, name: string, desiredState: string): Promise<void> {
    await put(url, name, { desiredState })
  }

  async states(url: string): Promise<State[]> {
    const answer = await fetch(`${url}/fleet/v1/state`)
    const body: unknown = await answer.json()
    const { states } = { states: [], ...(typeof body === 'object' ? body : {}) }
    return states
  }

  /** Machine IDs of active units by unit name, as soon as the test says that it is what it waits for. */
  async placed(
    url: string,
    what: string,
    isRight: (placed: ReadonlyMap<string, readonly string[]>) => boolean,
  ): Promise<ReadonlyMap<string, readonly string[]>> {
    return await until(what, async () => {
      const placed = new Map<string, string[]>()
      for (const { name, machineID, systemdActiveState } of await this.states(url)) {
        if (systemdActiveState !== 'active') continue
        placed.set(name, [...(placed.get(name) ?? []), machineID])
      }
      return isRight(placed) ? { done: placed } : { seen: [...placed] }
    })
  }
}

async function put(url: string, name: string, body: unknown): Promise<void> {
  const answer = await fetch(`${url}/fleet/v1/units/${name}`, {
    method: 'PUT',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  })
  if (!answer.ok) throw new Error(`PUT ${name}: ${answer.status} ${await answer.text()}`)
}

function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return !stat.slice(stat.lastIndexOf(')')).startsWith(') Z')
  } catch {
    return false
  }
}

/** A TCP port that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}
