import { Agent } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { ask, fieldsOf, type Answer } from '../helpers/answers.ts'
import { Member } from './member.ts'
import type { Program } from './programs.ts'
import { openBridge, Room } from './rooms.ts'
import { TrialError } from './trial-error.ts'

const POLL_MS = 50
const ASK_MS = 1_000

/** The members under test, in rooms on one bridge. */
export class Cluster {
  readonly program: Program
  readonly members: readonly Member[]
  readonly #agent = new Agent({ keepAlive: true })

  private constructor(program: Program, members: readonly Member[]) {
    this.program = program
    this.members = members
  }

  /** Makes rooms and starts members; the namespace must be the caller's own. */
  static async start(program: Program, count: number): Promise<Cluster> {
    await openBridge()
    const members: Member[] = []
    for (let number = 1; number <= count; number += 1)
      members.push(new Member(number, await Room.open(number, program.diskMib), program))
    for (const member of members) {
      member.configure(members)
      if (program.hooks !== undefined) await member.turnClock(0)
    }
    const cluster = new Cluster(program, members)
    await Promise.all(members.map((member) => member.start()))
    return cluster
  }

  /** One request to a member; undefined when it has no answer. */
  async ask(member: Member, path: string, method = 'GET'): Promise<Answer | undefined> {
    const { host, port } = member.endpoint
    const signal = AbortSignal.timeout(ASK_MS)
    const asked = { method, path, host, signal, agent: this.#agent }
    return await ask(port, asked).catch(() => undefined)
  }

  /** The members that say they lead, usually one. */
  async leaders(): Promise<Member[]> {
    const states = await Promise.all(
      this.members.map(async (member) => {
        const answer = await this.ask(member, '/v2/stats/self')
        return answer?.status === 200 ? fieldsOf(JSON.parse(answer.body))['state'] : undefined
      }),
    )
    return this.members.filter((_, n) => states[n] === 'StateLeader')
  }

  /**
   * Waits until every member answers a read through the log, or `signal` aborts.
   * @throws TrialError naming those that do not in time, with the end of their logs
   */
  async untilServing(limitMs: number, signal?: AbortSignal): Promise<void> {
    const deadline = performance.now() + limitMs
    let waiting: readonly Member[] = this.members
    for (;;) {
      const answers = await Promise.all(
        waiting.map((member) => this.ask(member, '/v2/keys/?quorum=true')),
      )
      waiting = waiting.filter((_, n) => answers[n]?.status !== 200)
      if (waiting.length === 0 || signal?.aborted === true) return
      if (performance.now() > deadline) break
      await delay(POLL_MS)
    }
    const logs = waiting.map(({ name, log }) => `${name}:\n${log.slice(-1500)}`).join('\n')
    throw new TrialError('NOT_SERVING', `after ${limitMs} ms no reads through the log at ${logs}`)
  }

  /**
   * Writes to some member until it is done; a disk that has room again may be tried by and by.
   * @throws TrialError when that takes too long
   */
  async untilWritten(path: string, limitMs: number): Promise<Answer> {
    const deadline = performance.now() + limitMs
    for (let n = 0; ; n += 1) {
      const member = this.members[n % this.members.length]
      const answer = member && (await this.ask(member, path, 'PUT'))
      if (answer?.status === 200 || answer?.status === 201) return answer
      if (performance.now() > deadline)
        throw new TrialError('NO_ANSWER', `PUT ${path}: ${answer?.body.trim() ?? 'no answer'}`)
      await delay(POLL_MS)
    }
  }

  async close(): Promise<void> {
    this.#agent.destroy()
    await Promise.all(this.members.map((member) => member.kill()))
    for (const { room } of this.members) room.close()
  }
}
