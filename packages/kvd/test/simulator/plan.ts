import type { Random } from '../helpers/random.ts'

/** What a seed draws before anything happens. Each kind of fault is on in half of the seeds. */
export interface Plan {
  readonly members: number
  readonly electionTicks: number
  /** Virtual milliseconds of a tick. */
  readonly tickMs: number
  readonly delay: { readonly kind: 'constant' | 'uniform' | 'heavy'; readonly ms: number }
  readonly loss: number
  readonly duplication: number
  readonly syncMs: number
  readonly slowSyncs: boolean
  /** What is committed is applied some time later. */
  readonly slowApply: boolean
  readonly crashes: boolean
  readonly partitions: boolean
  readonly oneWayCuts: boolean
  readonly pauses: boolean
  readonly skewedTicks: boolean
  /** Whose wall clocks may be set to anything. */
  readonly wrongClocks: 'none' | 'minority' | 'all'
  readonly driftingClocks: boolean
  readonly confChanges: boolean
  readonly transfers: boolean
  /** A disk loses what was durable, one at a time. */
  readonly damage: boolean
  /** Disks are full for a while. */
  readonly nospace: boolean
  /** A crash leaves pieces of batches behind. */
  readonly tornTails: boolean
  /** Aims at moments that are known to be dangerous. */
  readonly ambushes: boolean
  /** How likely a new leader dies before it has done much. */
  readonly regicide: number
  readonly maxMessageBytes: number
  readonly windowMessages: number
  /** Entries between two images, after which the log is cut. */
  readonly imageEvery: number
  readonly keepEntries: number
  readonly clients: number
  /** Length of the phase with faults, in ticks. */
  readonly faultTicks: number
}

export function drawPlan(random: Random): Plan {
  const isOn = (): boolean => random.chance(0.5)
  const members = random.pick([1, 2, 3, 3, 3, 5, 5, 7])
  return {
    members,
    electionTicks: random.pick([5, 10, 10]),
    tickMs: 10,
    delay: { kind: random.pick(['constant', 'uniform', 'heavy'] as const), ms: random.int(0, 12) },
    loss: isOn() ? random.next() * 0.3 : 0,
    duplication: isOn() ? random.next() * 0.2 : 0,
    syncMs: random.int(0, 30),
    slowSyncs: isOn(),
    slowApply: isOn(),
    crashes: isOn(),
    partitions: isOn(),
    oneWayCuts: isOn(),
    pauses: isOn(),
    skewedTicks: isOn(),
    wrongClocks: random.pick(['none', 'none', 'minority', 'all'] as const),
    driftingClocks: isOn(),
    confChanges: isOn(),
    transfers: isOn(),
    damage: random.chance(0.3) && members >= 3,
    nospace: random.chance(0.3),
    tornTails: isOn(),
    ambushes: isOn(),
    regicide: random.pick([0, 0, 0.3, 0.3, 0.9]),
    maxMessageBytes: random.pick([1, 1, 120, 400, 1 << 20]),
    windowMessages: random.int(1, 8),
    imageEvery: random.int(5, 50),
    keepEntries: random.int(0, 20),
    clients: random.int(1, 5),
    faultTicks: random.int(150, 400),
  }
}
