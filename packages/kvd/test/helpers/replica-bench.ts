import { setImmediate as turn } from 'node:timers/promises'
import type { Test } from 'tap'
import type { ReplicaOptions } from '../../src/replica/options.ts'
import type { Replica } from '../../src/replica/replica.ts'
import type { DiskError } from '../../src/storage/disk.ts'
import { Store } from '../../src/store/store.ts'
import { createAlone, lead } from './alone.ts'
import { set, textOf } from './commands.ts'
import { FakeDisk } from './fake-disk.ts'

/** What a member that has just begun to lead has: itself and the first entry of its term, in a store of one change. */
export const BORN = { entries: 2, storeIndex: 1 }

export interface Bench {
  readonly disk: FakeDisk
  readonly store: Store
  readonly replica: Replica
  /** What proposers were told: `name: outcome`. */
  readonly told: string[]
  readonly propose: (name: string, key?: string) => void
}

/** A replica that leads, over a disk that the test moves by hand. */
export function bench(
  tt: Test,
  options: Partial<ReplicaOptions> & { disk?: FakeDisk; isStarted?: boolean } = {},
): Bench {
  const disk = options.disk ?? new FakeDisk()
  const store = new Store({ historySize: 1000 })
  const onFailure = (error: DiskError): void => void tt.fail(error.message)
  const replica = createAlone(disk, { store, onFailure, ...options })
  if (options.isStarted !== false) lead(replica, disk)
  const told: string[] = []
  const propose = (name: string, key = `/${name}`): void =>
    replica.propose(set(key, { value: name }), (outcome) =>
      told.push(`${name}: ${textOf(outcome).replace(/"modifiedIndex.*/, '')}`),
    )
  tt.teardown(async () => {
    while (disk.waiting > 0) disk.commit()
    if (!disk.isClosed) await replica.close()
  })
  return { disk, store, replica, told, propose }
}

/** Waits while the replica's own timer does its work; tap's timeout ends it if it never does. */
export async function until(isDone: () => boolean): Promise<void> {
  while (!isDone()) await turn()
}
