import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { waitFor } from '../harness/deadline.ts'
import { items, member as field, textOf } from '../harness/json.ts'
import { choosePorts } from '../launch/ports.ts'
import { Daemon } from './daemon.ts'
import { parseMetric } from './proc.ts'
import type { Program } from './servers.ts'

/** How a member begins: with its cluster, or in one that is there. */
type State = 'new' | 'existing'

/**
 * Ports of members lie below those that Linux gives to outgoing connections: while a member is dead,
 * no client may get its port, least of all the one that tries to reach it.
 */
const portMin = 12_000
const portMax = 32_000

/** One member of a cluster: a process that may end and start again on the same data directory. */
export class Member {
  readonly name: string
  readonly port: number
  readonly url: string
  readonly peerURL: string
  readonly #program: Program
  readonly #dir: string
  #daemon: Daemon | undefined

  private constructor(program: Program, name: string, dir: string, ports: readonly number[]) {
    const [client = 0, peer = 0] = ports
    this.#program = program
    this.name = name
    this.port = client
    this.url = `http://127.0.0.1:${client}`
    this.peerURL = `http://127.0.0.1:${peer}`
    this.#dir = join(dir, name)
  }

  /** A member that has never run, with ports and a directory of its own below `dir`. */
  static async create(program: Program, name: string, dir: string): Promise<Member> {
    const wish = (): number => Math.floor(portMin + Math.random() * (portMax - portMin))
    return new Member(program, name, dir, await choosePorts([wish(), wish()]))
  }

  get pid(): number {
    return this.#daemon?.pid ?? 0
  }

  get isRunning(): boolean {
    return this.#daemon?.isRunning ?? false
  }

  /** The last part of what it said since it was started. */
  get log(): string {
    return this.#daemon?.log ?? ''
  }

  /** Starts it; it need not answer yet. `cluster` names all members as --initial-cluster does. */
  async start(cluster: string, state: State): Promise<void> {
    await mkdir(this.#dir, { recursive: true })
    const flags = [
      ['--name', this.name],
      ['--data-dir', join(this.#dir, 'data')],
      ['--listen-client-urls', this.url],
      ['--advertise-client-urls', this.url],
      ['--listen-peer-urls', this.peerURL],
      ['--initial-advertise-peer-urls', this.peerURL],
      ['--initial-cluster', cluster],
      ['--initial-cluster-state', state],
    ]
    const { command, options } = this.#program
    this.#daemon = await Daemon.start(command, [...options, ...flags.flat()], this.#dir)
  }

  /** Waits until it takes writes, through whoever leads. */
  async untilWritable(): Promise<void> {
    try {
      await this.#daemon?.untilWritable(this.url)
    } catch (error) {
      throw new Error(`${this.#program.name}: ${this.name}:\n${this.log}`, { cause: error })
    }
  }

  /** Ends the process and waits for that; the data stays. */
  async end(signal: NodeJS.Signals): Promise<void> {
    await this.#daemon?.end(signal)
  }

  /** Index of the last log entry that it has applied. */
  async raftIndex(): Promise<number> {
    const answer = await fetch(`${this.url}/v2/keys/ready`)
    await answer.arrayBuffer()
    const index = Number(answer.headers.get('x-raft-index') ?? NaN)
    if (!Number.isInteger(index)) throw new Error(`${this.name} names no raft index`)
    return index
  }

  /** How many members do not count yet, as far as it knows; etcd 2 and 3 have none with the v2 API. */
  async learners(): Promise<number> {
    const text = await (await fetch(`${this.url}/metrics`)).text()
    return parseMetric(text, 'kvd_raft_learners') ?? 0
  }

  /** Whether it leads, by its own word. */
  async isLeader(): Promise<boolean> {
    const answer = await fetch(`${this.url}/v2/stats/self`)
    return (await answer.text()).includes('"state":"StateLeader"')
  }
}

/** A cluster on this machine. */
export class Members {
  readonly program: Program
  readonly #dir: string
  #list: Member[] = []
  #made = 0

  private constructor(program: Program, dir: string) {
    this.program = program
    this.#dir = dir
  }

  /** Starts `count` members on fresh directories below `parent` and waits until all take writes. */
  static async start(program: Program, parent: string, count = 3): Promise<Members> {
    const members = new Members(program, join(parent, `cluster-${program.name}`))
    try {
      for (let n = 0; n < count; n += 1) await members.#make()
      for (const member of members.all) await member.start(members.cluster, 'new')
      await Promise.all(members.all.map(async (member) => await member.untilWritable()))
    } catch (error) {
      await members.stop()
      throw error
    }
    return members
  }

  async #make(): Promise<Member> {
    this.#made += 1
    const member = await Member.create(this.program, `m${this.#made}`, this.#dir)
    this.#list.push(member)
    return member
  }

  get all(): readonly Member[] {
    return this.#list
  }

  get running(): readonly Member[] {
    return this.#list.filter((member) => member.isRunning)
  }

  /** As --initial-cluster wants it. */
  get cluster(): string {
    return this.#list.map(({ name, peerURL }) => `${name}=${peerURL}`).join(',')
  }

  /** The member that leads; waits until there is one. */
  async leader(): Promise<Member> {
    return await waitFor(`a leader of ${this.program.name}`, async () => {
      for (const member of this.running) if (await member.isLeader()) return { done: member }
      return { seen: 'nobody leads' }
    })
  }

  /** Running members that do not lead. */
  async followers(): Promise<readonly Member[]> {
    const leader = await this.leader()
    return this.running.filter((member) => member !== leader)
  }

  /** Starts a member again that had ended. */
  async restart(member: Member): Promise<void> {
    await member.start(this.cluster, 'new')
  }

  /** Waits until all running members have applied what the leader had when this was called. */
  async untilLevel(timeoutMs = 60_000): Promise<void> {
    const target = await (await this.leader()).raftIndex()
    const look = async () => {
      const indexes = await Promise.all(
        this.running.map(async (member) => await member.raftIndex()),
      )
      if (indexes.every((index) => index >= target)) return { done: undefined }
      return { seen: `indexes ${indexes.join(', ')}, wanted ${target}` }
    }
    await waitFor('all members at the index of the leader', look, { timeoutMs })
  }

  /** Waits until all members count: before that, one that ends may be one too many. */
  async untilAllCount(): Promise<void> {
    const leader = await this.leader()
    await waitFor('all members to count', async () => {
      const learners = await leader.learners()
      return learners === 0 ? { done: undefined } : { seen: `${learners} do not` }
    })
  }

  /** Removes a dead member through `through` and adds a new one in its place, which is started. */
  async replace(dead: Member, through: Member): Promise<Member> {
    const id = await memberIdOf(through, dead)
    await change(through, 'DELETE', `/v2/members/${id}`, 204)
    this.#list = this.#list.filter((member) => member !== dead)
    const member = await this.#make()
    const body = JSON.stringify({ peerURLs: [member.peerURL] })
    await change(through, 'POST', '/v2/members', 201, body)
    await member.start(this.cluster, 'existing')
    return member
  }

  /** Ends all members and removes their data. */
  async stop(): Promise<void> {
    await Promise.all(this.#list.map(async (member) => await member.end('SIGTERM')))
    await rm(this.#dir, { recursive: true, force: true })
  }
}

async function memberIdOf(through: Member, wanted: Member): Promise<string> {
  const text = await (await fetch(`${through.url}/v2/members`)).text()
  const found = parseMemberId(text, wanted.peerURL)
  if (found === undefined) throw new Error(`no member with ${wanted.peerURL} in ${text}`)
  return found
}

/** The id of the member with a peer URL in an answer of /v2/members. */
export function parseMemberId(text: string, peerURL: string): string | undefined {
  const all = items(field(JSON.parse(text), 'members'))
  const found = all.find((one) => items(field(one, 'peerURLs')).includes(peerURL))
  return found === undefined ? undefined : textOf(field(found, 'id'))
}

async function change(
  through: Member,
  method: string,
  path: string,
  wanted: number,
  body?: string,
): Promise<void> {
  const headers = { 'Content-Type': 'application/json' }
  const request = body === undefined ? { method } : { method, headers, body }
  const answer = await fetch(`${through.url}${path}`, request)
  const text = await answer.text()
  if (answer.status !== wanted) throw new Error(`${method} ${path}: ${answer.status} ${text}`)
}
