import { Core } from '../raft/core.ts'
import type { CoreOptions } from '../raft/state.ts'
import type { Conf, ConfChange, MemberId, Message, Proposal, Ready } from '../raft/types.ts'
import { crashReport, type CrashReport } from './crash-report.ts'
import { messageOf, readyOf, Steps } from './steps.ts'

/** A core that knows what it did last, and tells that when it breaks (raft.md 3.10). */
export class RecordedCore extends Core {
  readonly #steps = new Steps()
  readonly #elapsed: () => number
  readonly #broken: (report: CrashReport) => void

  /** @param broken hears why, before the error goes on to whoever called */
  constructor(options: CoreOptions, broken: (report: CrashReport) => void) {
    super(options)
    this.#elapsed = options.elapsed
    this.#broken = broken
  }

  #note(what: string, about?: unknown): void {
    this.#steps.note({ ms: this.#elapsed(), what, about })
  }

  #guard<T>(run: () => T): T {
    try {
      return run()
    } catch (error) {
      this.#tell(error)
      throw error
    }
  }

  #tell(error: unknown): void {
    if (error instanceof Error) this.#broken(crashReport(error, this.view, this.#steps.all))
  }

  override tick(): void {
    this.#note('tick')
    this.#guard(() => super.tick())
  }

  override step(message: Message): void {
    this.#note('step', messageOf(message))
    this.#guard(() => super.step(message))
  }

  override propose(proposal: Proposal): ReturnType<Core['propose']> {
    this.#steps.noteRow('propose', proposal.id, this.#elapsed)
    // Without a closure: it is called for every write, as `applied` is.
    try {
      return super.propose(proposal)
    } catch (error) {
      this.#tell(error)
      throw error
    }
  }

  override unsent(id: string): void {
    this.#note('unsent', id)
    this.#guard(() => super.unsent(id))
  }

  override readIndex(id: string): ReturnType<Core['readIndex']> {
    this.#note('readIndex', id)
    return this.#guard(() => super.readIndex(id))
  }

  override transfer(to: MemberId): void {
    this.#note('transfer', to)
    this.#guard(() => super.transfer(to))
  }

  override silent(id: MemberId): void {
    this.#note('silent', id)
    this.#guard(() => super.silent(id))
  }

  override unreachable(id: MemberId): void {
    this.#note('unreachable', id)
    this.#guard(() => super.unreachable(id))
  }

  override snapshotFailed(id: MemberId): void {
    this.#note('snapshotFailed', id)
    this.#guard(() => super.snapshotFailed(id))
  }

  override snapshotSent(id: MemberId, index: number): void {
    this.#note('snapshotSent', { id, index })
    this.#guard(() => super.snapshotSent(id, index))
  }

  override applyConf(change: ConfChange): Conf {
    this.#note('applyConf', change)
    return this.#guard(() => super.applyConf(change))
  }

  override applied(index: number): void {
    this.#steps.noteRow('applied', index, this.#elapsed)
    try {
      super.applied(index)
    } catch (error) {
      this.#tell(error)
      throw error
    }
  }

  override compact(index: number): void {
    this.#note('compact', index)
    this.#guard(() => super.compact(index))
  }

  override persisted(seq: number): void {
    this.#note('persisted', seq)
    this.#guard(() => super.persisted(seq))
  }

  override hasReady(): boolean {
    return this.#guard(() => super.hasReady())
  }

  override ready(): Ready {
    const ready = this.#guard(() => super.ready())
    this.#note('ready', readyOf(ready))
    return ready
  }
}
