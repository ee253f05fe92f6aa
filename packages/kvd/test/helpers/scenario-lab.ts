import { Core } from '../../src/raft/core.ts'
import type { CoreStart } from '../../src/raft/state.ts'
import {
  NONE,
  type ConfChange,
  type Entry,
  type Message,
  type Ready,
} from '../../src/raft/types.ts'
import { removedBy } from '../simulator/machine.ts'
import { chainOf } from '../simulator/member.ts'
import { ELECTION_TICKS, logOf, START_MS } from './raft-lab.ts'
import { textOfEntry, textOfMessage } from './scenario-text.ts'

/** After so many steps a cluster that has not settled never will. */
const STEPS_MAX = 2_000

interface Station {
  readonly core: Core
  /** What its disk has. */
  readonly disk: { hard: CoreStart['hard']; conf: CoreStart['conf']; entries: Entry[] }
  applied: number
  incarnation: number
  unsynced: Ready[]
  role: string
}

/** Members whose every step is said, for scenarios: what happens comes out as lines. */
export class ScenarioLab {
  readonly #stations = new Map<string, Station>()
  #wire: Message[] = []
  #lines: string[] = []
  #messageBytes = 1 << 20

  /** Carries out one command. @throws Error when it is none */
  run(command: string): string[] {
    const [verb = '', ...words] = command.split(/\s+/)
    const options = new Map(words.flatMap((word) => (word.includes('=') ? [cut(word)] : [])))
    const names = words.filter((word) => !word.includes('='))
    this.#lines = []
    this.#carryOut(verb, names, options)
    return this.#lines
  }

  #carryOut(verb: string, names: readonly string[], options: ReadonlyMap<string, string>): void {
    const [first = '', second = ''] = names
    const of = (id: string): Core => this.#at(id).core
    switch (verb) {
      case 'add-nodes':
        return this.#addNodes(names, options)
      case 'tick':
        return this.#tick(first, Number(second || '1'))
      case 'campaign':
        return this.#tick(first, ELECTION_TICKS)
      case 'propose':
        return this.#say(
          first,
          of(first).propose({ kind: 'request', id: second, data: new Uint8Array() }),
        )
      case 'propose-conf':
        return this.#proposeConf(first, second, names[2] ?? '')
      case 'read':
        return this.#say(first, of(first).readIndex(second))
      case 'transfer':
        return of(first).transfer(second)
      case 'compact':
        return of(first).compact(Number(second))
      case 'process-ready':
        return this.#process(first)
      case 'persist':
        return this.#persist(first)
      case 'deliver':
        return this.#deliver(first, second, options.get('type'), names.includes('drop'))
      case 'restart':
        return this.#restart(first)
      case 'stabilize':
        return this.#stabilize(names)
      case 'status':
        return this.#status()
      default:
        throw new Error(`no command: ${verb}`)
    }
  }

  #at(id: string): Station {
    const station = this.#stations.get(id)
    if (station === undefined) throw new Error(`no member ${id}`)
    return station
  }

  #say(id: string, text: string): void {
    this.#lines.push(`${id}: ${text}`)
  }

  #addNodes(ids: readonly string[], options: ReadonlyMap<string, string>): void {
    const list = (name: string): string[] => options.get(name)?.split(',') ?? []
    const entries = logOf(list('log').map(Number))
    const [term, commit] = [
      Number(options.get('term') ?? '0'),
      Number(options.get('commit') ?? '0'),
    ]
    const hard = { term, vote: NONE, commit, isDamaged: options.get('damaged') === 'yes' }
    const conf = { voters: list('voters'), learners: list('learners') }
    this.#messageBytes = Number(options.get('bytes') ?? `${1 << 20}`)
    for (const id of ids) this.#start(id, { hard, conf, entries: [...entries] }, 1)
  }

  #start(id: string, disk: Station['disk'], incarnation: number): void {
    const { hard, conf, entries } = disk
    const log = { index: 0, term: 0, chain: 0, entries: [...entries] }
    const core = new Core({
      id,
      electionTicks: ELECTION_TICKS,
      heartbeatTicks: 1,
      random: () => 0,
      clock: () => START_MS,
      elapsed: () => 0,
      stamp: (proposal) => proposal,
      chain: chainOf,
      removes: removedBy,
      incarnation,
      maxMessageBytes: this.#messageBytes,
      window: { messages: 2, bytes: 1 << 20 },
      maxUncommittedBytes: 1 << 20,
      maxApplyBytes: 1 << 20,
      start: { hard, conf, log, applied: 0 },
    })
    const station = { core, disk, applied: 0, incarnation, unsynced: [], role: 'follower' }
    this.#stations.set(id, station)
  }

  #tick(id: string, count: number): void {
    for (let tick = 0; tick < count; tick += 1) this.#at(id).core.tick()
  }

  #proposeConf(id: string, type: string, about: string): void {
    const change = { type, id: about }
    const data = Buffer.from(JSON.stringify(change))
    this.#say(id, this.#at(id).core.propose({ kind: 'conf', id: `${type} ${about}`, data }))
  }

  #process(id: string): void {
    const station = this.#at(id)
    if (!station.core.hasReady()) return this.#say(id, 'nothing to do')
    const ready = station.core.ready()
    if (ready.soft !== undefined) this.#say(id, `${ready.soft.role}, led by ${ready.soft.lead}`)
    if (ready.hard !== undefined)
      this.#say(
        id,
        `term ${ready.hard.term}, vote ${ready.hard.vote}, commit ${ready.hard.commit}${ready.hard.isDamaged ? ', damaged' : ''}`,
      )
    for (const entry of ready.entries) this.#say(id, `writes ${textOfEntry(entry)}`)
    if (ready.install !== undefined) this.#install(id, station, ready.install)
    for (const { ids, index } of ready.reads) this.#say(id, `reads ${ids.join(' ')} at ${index}`)
    for (const { id: lost, why } of ready.lost) this.#say(id, `lost ${lost}, ${why}`)
    for (const message of ready.now) this.#send(message)
    station.unsynced.push(ready)
    const isNothing = !ready.isDurable && station.unsynced.length === 1
    if (isNothing) this.#persist(id)
    for (const entry of ready.committed) this.#apply(id, station, entry)
  }

  #install(id: string, station: Station, { index, conf }: NonNullable<Ready['install']>): void {
    this.#say(id, `installs the snapshot of ${index}`)
    station.applied = index
    station.disk.conf = conf
  }

  #apply(id: string, station: Station, entry: Entry): void {
    this.#say(id, `applies ${textOfEntry(entry)}`)
    station.applied = entry.index
    if (entry.kind === 'conf') {
      const change: ConfChange = JSON.parse(Buffer.from(entry.data).toString())
      const { voters, learners } = station.core.applyConf(change)
      this.#say(
        id,
        `voters ${voters.join(' ')}${learners.length > 0 ? `, learners ${learners.join(' ')}` : ''}`,
      )
    }
    station.core.applied(entry.index)
  }

  #send(message: Message): void {
    this.#lines.push(textOfMessage(message))
    this.#wire.push(message)
  }

  #persist(id: string): void {
    const station = this.#at(id)
    const ready = station.unsynced.shift()
    if (ready === undefined) return this.#say(id, 'nothing to write')
    const { disk, core } = station
    if (ready.hard !== undefined) disk.hard = ready.hard
    const from = ready.entries[0]?.index ?? Infinity
    disk.entries = [...disk.entries.filter(({ index }) => index < from), ...ready.entries]
    core.persisted(ready.seq)
    for (const message of ready.after)
      if (message.to === id) core.step(message)
      else this.#send(message)
  }

  #deliver(from: string, to: string, type: string | undefined, isDropped: boolean): void {
    const isMeant = (message: Message): boolean =>
      message.from === from &&
      (to === '*' || message.to === to) &&
      (type === undefined || message.type === type)
    const meant = this.#wire.filter(isMeant)
    this.#wire = this.#wire.filter((message) => !isMeant(message))
    for (const message of meant) {
      if (isDropped) this.#lines.push(`dropped: ${textOfMessage(message)}`)
      else this.#stations.get(message.to)?.core.step(message)
    }
  }

  /** Power is lost, and comes back: what was not written is gone. */
  #restart(id: string): void {
    const { disk, incarnation } = this.#at(id)
    this.#start(id, disk, incarnation + 1)
  }

  /** Lets these members, or all, go on until nothing happens between them. */
  #stabilize(names: readonly string[]): void {
    const ids = names.length > 0 ? names : [...this.#stations.keys()]
    for (let step = 0; step < STEPS_MAX; step += 1) {
      const before = this.#wire.length
      let isMoved = false
      for (const id of ids) {
        const { core, unsynced } = this.#at(id)
        if (core.hasReady()) this.#process(id)
        else if (unsynced.length > 0) this.#persist(id)
        else continue
        isMoved = true
      }
      for (const from of ids) for (const to of ids) this.#deliver(from, to, undefined, false)
      if (!isMoved && this.#wire.length === before) return
    }
    throw new Error(`not settled after ${STEPS_MAX} steps`)
  }

  #status(): void {
    for (const [id, { core }] of this.#stations) {
      const { role, term, lead, log, isDamaged } = core.view
      const terms = Array.from({ length: log.last - log.first + 1 }, (_, at) =>
        log.term(log.first + at),
      )
      this.#say(
        id,
        `${role} in term ${term}, led by ${lead}; log from ${log.first} [${terms.join(' ')}], commit ${log.commit}, applied ${log.applied}${isDamaged ? '; damaged' : ''}`,
      )
    }
  }
}

function cut(word: string): [string, string] {
  const at = word.indexOf('=')
  return [word.slice(0, at), word.slice(at + 1)]
}
