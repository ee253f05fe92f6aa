import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { isMajority } from '../raft/progress.ts'
import type { Conf, MemberId } from '../raft/types.ts'
import type { Disk } from '../storage/disk.ts'
import { command, type Command } from '../store/command.ts'

/** Between two packs of rows: the disk has other things to do. */
const PAUSE_MS = 5
/** An image that is read holds up merges, so a store that takes longer is not checked. */
const CHECK_MS_MAX = 120_000
/** Of what is hashed, and how. Hashes of another version say nothing. */
const VERSION = '1:'
/** After a check that took so long, so many times that is rest: all members bring an image to the disk for it at once. */
const REST_FACTOR = 50
/** Entries of a check itself, at the most, or an idle cluster with a small --snapshot-count would go on checking. */
const OWN_ENTRIES_FACTOR = 10
/** Checks whose answers may still come. */
const MARKS_MAX = 4

/** What a member holds is not what the cluster holds. */
export interface Divergence {
  /** Of the entry that the hashes are about. */
  readonly index: number
  readonly own: string
  readonly right: string
}

export interface DivergenceOptions {
  readonly memberId: MemberId
  readonly snapshotCount: number
  /** Where the store stands at the start. */
  readonly applied: number
  readonly disk: Pick<Disk, 'openSnapshot'>
  readonly elapsedMs: () => number
  readonly conf: () => Conf
  /** Makes an image of the store as it is at the time of the call. Resolves when the disk has been given it. */
  readonly freeze: () => Promise<void>
  /** What this member holds is known to be wrong: it has no say. */
  readonly isDiverged: () => boolean
  /** Calls back when it is decided, or given up. */
  readonly propose: (entry: Command, done: () => void) => void
  readonly found: (divergence: Divergence) => void
  /** Members hold different things, and too few have answered to tell which is right. */
  readonly undecided: (index: number, told: ReadonlyMap<MemberId, string>) => void
}

/** One check. */
interface Mark {
  readonly leader: MemberId
  /** What members have found. */
  readonly told: Map<MemberId, string>
  own: string | undefined
  /** That it is undecided. */
  isTold: boolean
}

/**
 * Finds out whether all members hold the same (raft.md 5.9). An entry `check` marks a place in the log;
 * each voter hashes its image of there, as its disk has it, and says the hash in an entry `checked`.
 * What a majority has is right, and when nobody has one, what the leader of the mark has.
 */
export class DivergenceCheck {
  readonly #options: DivergenceOptions
  readonly #marks = new Map<number, Mark>()
  #lastMark: number
  #isHashing = false
  #isProposed = false
  #restsUntilMs = 0
  /** Of the store: another one may take its place while it is read. */
  #generation = 0

  constructor(options: DivergenceOptions) {
    this.#options = options
    this.#lastMark = options.applied
  }

  /** Leader: begins a check when the last one is long enough ago. */
  proposeWhenDue(applied: number): void {
    const { conf, snapshotCount, elapsedMs, memberId, propose, isDiverged } = this.#options
    const { length } = conf().voters
    // A wrong leader would win each tie by itself.
    if (isDiverged()) return
    const entries = Math.max(snapshotCount, OWN_ENTRIES_FACTOR * (length + 1))
    if (length < 2 || applied - this.#lastMark < entries) return
    if (this.#isHashing || this.#isProposed || elapsedMs() < this.#restsUntilMs) return
    this.#isProposed = true
    propose(command({ op: 'check', time: 0, value: memberId }), () => {
      this.#isProposed = false
    })
  }

  /** An entry `check` or `checked`, while the store stands exactly there. */
  applied(index: number, entry: Command): void {
    if (entry.op === 'check') this.#begin(index, entry.value)
    else if (entry.value.startsWith(VERSION)) {
      const about = Number(entry.prevIndex)
      this.#marks.get(about)?.told.set(entry.prevValue, entry.value)
      this.#judge(about)
    }
  }

  /** A snapshot of another member is the store now: what was found out about the old one is void. */
  installed(): void {
    this.#generation += 1
    this.#marks.clear()
  }

  #begin(index: number, leader: MemberId): void {
    this.#lastMark = index
    this.#tellUndecided()
    if (this.#isHashing || this.#options.conf().voters.length < 2) return
    const mark: Mark = { leader, told: new Map(), own: undefined, isTold: false }
    this.#marks.set(index, mark)
    for (const oldest of this.#marks.keys())
      if (this.#marks.size > MARKS_MAX) this.#marks.delete(oldest)
    void this.#hash(index, mark)
  }

  /** Whoever has not answered before the next check may never do so. */
  #tellUndecided(): void {
    for (const [index, mark] of this.#marks) {
      if (mark.isTold || new Set(mark.told.values()).size < 2) continue
      if (rightOf(mark, this.#options.conf()) !== undefined) continue
      mark.isTold = true
      this.#options.undecided(index, mark.told)
    }
  }

  async #hash(index: number, mark: Mark): Promise<void> {
    const { elapsedMs, conf, memberId, propose, disk, freeze, isDiverged } = this.#options
    const generation = this.#generation
    this.#isHashing = true
    const begunMs = elapsedMs()
    await freeze()
    const isVoid = (): boolean =>
      this.#generation !== generation || elapsedMs() - begunMs > CHECK_MS_MAX
    const hash = await hashImage(disk, index, isVoid)
    this.#isHashing = false
    this.#restsUntilMs = elapsedMs() + REST_FACTOR * Math.min(elapsedMs() - begunMs, CHECK_MS_MAX)
    if (hash === undefined) return
    mark.own = hash
    const fields = { value: hash, prevIndex: String(index), prevValue: memberId }
    if (conf().voters.includes(memberId) && !isDiverged())
      propose(command({ op: 'checked', time: 0, ...fields }), () => undefined)
    this.#judge(index)
  }

  #judge(index: number): void {
    const mark = this.#marks.get(index)
    if (mark?.own === undefined) return
    const right = rightOf(mark, this.#options.conf())
    if (right === undefined || right === mark.own) return
    this.#marks.delete(index)
    this.#options.found({ index, own: mark.own, right })
  }
}

/** Undefined: it is not known yet. */
function rightOf({ told, leader }: Mark, conf: Conf): string | undefined {
  for (const hash of new Set(told.values()))
    if (isMajority(conf, (id) => told.get(id) === hash)) return hash
  return conf.voters.every((id) => told.has(id)) ? told.get(leader) : undefined
}

/**
 * Of all rows in the order of their paths, and of what the store is besides; undefined when the image
 * is another one.
 * @param isVoid asked after each pack, whether what comes of it would be of no use
 */
async function hashImage(
  disk: Pick<Disk, 'openSnapshot'>,
  index: number,
  isVoid: () => boolean,
): Promise<string | undefined> {
  const snapshot = await disk.openSnapshot()
  if (snapshot === undefined) return undefined
  try {
    const { place, storeIndex, count, stats } = snapshot.head
    if (place.index !== index) return undefined
    // The other counters of the statistics are each member's own.
    const hash = createHash('sha256').update(`${storeIndex} ${count} ${stats.syncTime}\n`)
    for (;;) {
      const pack = await snapshot.next()
      // An image whose tables were emptied meanwhile comes to an end like any other.
      if (isVoid()) return undefined
      if (pack === undefined) return VERSION + hash.digest('hex')
      hash.update(pack)
      await delay(PAUSE_MS, undefined, { ref: false })
    }
  } finally {
    snapshot.close()
  }
}
