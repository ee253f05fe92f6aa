import { Core } from '../raft/core.ts'
import type { CoreOptions } from '../raft/state.ts'
import type { Conf, ConfChange, MemberId, Message, Proposal, Ready } from '../raft/types.ts'
import { crashReport, type CrashReport } from './crash-report.ts'
import { messageOf, readyOf, Steps } from './steps.ts'

/** A core that knows what it did last, and tells that when it breaks (raft.md 3.10). */
export class RecordedCore extends Core {
  readonly #steps: Steps
  readonly #broken: (report: CrashReport) => void

  /** @param broken hears why, before the error goes on to whoever called */
  constructor(options: CoreOptions, broken: (report: CrashReport) => void) {
    super(options)
    this.#steps = new Steps(options.elapsed)
    this.#broken = broken
  }

  #did<T>(what: string, about: unknown, run: () => T): T {
    this.#steps.note(what, about)
    return this.#guard(run)
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
    this.#did('tick', undefined, () => super.tick())
  }

  override step(message: Message): void {
    // Forwarded writes come in rows as our own do.
    if (message.type === 'prop') this.#steps.noteRow('step prop', message.proposal.id)
    else this.#steps.note('step', messageOf(message))
    this.#guard(() => super.step(message))
  }

  override propose(proposal: Proposal): ReturnType<Core['propose']> {
    this.#steps.noteRow('propose', proposal.id)
    // Without a closure: it is called for every write, as `applied` is.
    try {
      return super.propose(proposal)
    } catch (error) {
      this.#tell(error)
      throw error
    }
  }

  override unsent(id: string): void {
    this.#did('unsent', id, () => super.unsent(id))
  }

  override readIndex(id: string): ReturnType<Core['readIndex']> {
    return this.#did('readIndex', id, () => super.readIndex(id))
  }

  override transfer(to: MemberId): void {
    this.#did('transfer', to, () => super.transfer(to))
  }

  override silent(id: MemberId): void {
    this.#did('silent', id, () => super.silent(id))
  }

  override unreachable(id: MemberId): void {
    this.#did('unreachable', id, () => super.unreachable(id))
  }

  override snapshotFailed(id: MemberId): void {
    this.#did('snapshotFailed', id, () => super.snapshotFailed(id))
  }

  override snapshotSent(id: MemberId, index: number): void {
    this.#did('snapshotSent', { id, index }, () => super.snapshotSent(id, index))
  }

  override applyConf(change: ConfChange): Conf {
    return this.#did('applyConf', change, () => super.applyConf(change))
  }

  override applied(index: number): void {
    this.#steps.noteRow('applied', index)
    try {
      super.applied(index)
    } catch (error) {
      this.#tell(error)
      throw error
    }
  }

  override compact(index: number): void {
    this.#did('compact', index, () => super.compact(index))
  }

  override persisted(seq: number): void {
    this.#did('persisted', seq, () => super.persisted(seq))
  }

  override hasReady(): boolean {
    return this.#guard(() => super.hasReady())
  }

  override ready(): Ready {
    const ready = this.#guard(() => super.ready())
    this.#steps.note('ready', readyOf(ready))
    return ready
  }
}
