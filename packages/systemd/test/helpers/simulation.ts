import { ServiceMachine } from '../../src/service/machine.ts'
import type { Action, Input, MachineState } from '../../src/service/machine-state.ts'
import { alive, INITIAL_STATE } from '../../src/service/machine-state.ts'
import { parseService } from '../../src/service/service.ts'
import { CONTEXT } from './context.ts'

/** A machine in a world that does what a script says. */
export class Simulation {
  readonly machine: ServiceMachine
  /** The journal. */
  readonly log: string[] = []
  /** What was asked of the world: `spawn ExecStart 0`, `kill 15 all`, `arm 100`. */
  readonly asked: string[] = []
  now = 1000
  /** Processes of the unit besides main and control. */
  hasStragglers = false
  /** The next process cannot be created. */
  failsNextSpawn = false
  /** The next process ends before it runs its program. */
  failsNextExec = false
  #pid = 100

  constructor(text: string, state: MachineState = INITIAL_STATE) {
    this.machine = new ServiceMachine(parseService('a.service', text, CONTEXT), state)
  }

  get sub(): string {
    return this.machine.state.sub
  }

  /** One step of a script: start, stop, timer, gone, resume, `main 3`, `control SIG15`, `main unknown`. */
  step(script: string): void {
    this.#feed(inputOf(script))
  }

  #feed(input: Input): void {
    for (const action of this.machine.step(input, this.now)) this.#perform(action)
    const answer = this.#answers.shift()
    if (answer !== undefined) this.#feed(answer)
  }

  readonly #answers: Input[] = []

  #perform(action: Action): void {
    switch (action.type) {
      case 'begin':
        this.asked.push('begin')
        break
      case 'log':
        this.log.push(action.message)
        break
      case 'arm':
        this.asked.push(`arm ${action.ms}`)
        break
      case 'spawn':
        this.asked.push(`spawn ${action.phase} ${action.index}`)
        this.#answers.push(this.#spawned())
        break
      case 'kill':
        this.asked.push(`kill ${action.signal} ${action.scope}${action.isFinal ? ' final' : ''}`)
        this.#answers.push({ type: 'killed', isWaiting: this.#isWaiting(action.scope) })
        break
    }
  }

  #spawned(): Input {
    if (this.failsNextSpawn) {
      this.failsNextSpawn = false
      return { type: 'spawn-failed', reason: 'No such file or directory' }
    }
    this.#pid += 1
    const hasExeced = !this.failsNextExec
    this.failsNextExec = false
    return { type: 'spawned', pid: this.#pid, hasExeced }
  }

  #isWaiting(scope: string): boolean {
    const { state } = this.machine
    const hasDirect = alive(state, 'main') !== undefined || alive(state, 'control') !== undefined
    return scope !== 'none' && (hasDirect || (scope === 'all' && this.hasStragglers))
  }
}

function inputOf(script: string): Input {
  const [word = '', status = ''] = script.split(' ')
  switch (word) {
    case 'start':
    case 'stop':
    case 'timer':
    case 'resume':
    case 'reset-failed':
    case 'gone':
      return { type: word }
    case 'main':
    case 'control':
      return { type: 'exited', role: word, exit: exitOf(status) }
    default:
      throw new Error(`unknown step ${script}`)
  }
}

function exitOf(status: string): Extract<Input, { type: 'exited' }>['exit'] {
  if (status === 'unknown') return { code: 'unknown', status: 0 }
  if (status.startsWith('SIG')) return { code: 'killed', status: Number(status.slice(3)) }
  return { code: 'exited', status: Number(status) }
}
