import assert from 'node:assert/strict'
import { EtcdError } from '../../src/engine-etcd3/etcd-error.ts'
import type {
  ChangeEvent,
  Compare,
  KeyValue,
  RangeRequest,
  Span,
  TxnOperation,
  TxnRequest,
  TxnResponse,
} from '../../src/engine-etcd3/messages.ts'
import type { LeaseGrant } from '../../src/engine-etcd3/requests.ts'
import { compareText } from '../../src/store/text.ts'

/** Operations and comparisons that etcd takes in one transaction. */
const OPERATIONS_MAX = 128

interface Revision {
  readonly keys: ReadonlyMap<string, KeyValue>
  readonly changes: readonly ChangeEvent[]
}

/** The part of etcd v3 that a front stands on, in memory, as slow and plain as can be. */
export class ModelEtcd {
  readonly leases = new Set<bigint>()
  /** Transactions sent, and those of them whose comparison failed. */
  sent = 0
  lost = 0
  /** Called before each transaction: somebody else who is faster. */
  interfere: () => Promise<void> = async () => undefined
  /** Throws instead of answering; the transaction is carried out all the same. */
  failAfter: EtcdError | undefined
  readonly #revisions: Revision[] = [
    { keys: new Map(), changes: [] },
    { keys: new Map(), changes: [] },
  ]

  get revision(): number {
    return this.#revisions.length - 1
  }

  /** What a revision changed. */
  changes(revision: number): readonly ChangeEvent[] {
    return this.#revisions[revision]?.changes ?? []
  }

  keys(revision = this.revision): ReadonlyMap<string, KeyValue> {
    const found = this.#revisions[revision]
    assert.ok(found, `revision ${revision} is there`)
    return found.keys
  }

  async read(requests: readonly RangeRequest[]): Promise<TxnResponse> {
    return this.#answer(
      true,
      requests.map((request) => ({ type: 'range', ...request })),
    )
  }

  async txn({ compare, success, failure }: TxnRequest): Promise<TxnResponse> {
    await this.interfere()
    this.sent += 1
    for (const list of [compare, success, failure])
      if (list.length > OPERATIONS_MAX)
        throw new EtcdError('REFUSED', 'etcdserver: too many operations in txn request')
    const holds = compare.every((each) => this.#holds(each))
    if (!holds) this.lost += 1
    const operations = holds ? success : failure
    refuseOverlap(operations)
    this.#write(operations)
    const answer = this.#answer(holds, operations)
    if (this.failAfter !== undefined) throw this.failAfter
    return answer
  }

  async grantLease({ id }: LeaseGrant): Promise<void> {
    assert.ok(!this.leases.has(id), 'a lease is granted once')
    this.leases.add(id)
  }

  async revokeLease(id: bigint): Promise<void> {
    this.leases.delete(id)
    this.#write(
      [...this.keys().values()]
        .filter(({ lease }) => lease === id)
        .map(({ key }) => ({ type: 'delete', key })),
    )
  }

  #holds({ target, than = 'equal', is, ...span }: Compare): boolean {
    const found = this.#range(span, this.revision)
    const all = found.length === 0 ? [undefined] : found
    return all.every((kv) => {
      const has = numberOf(kv, target)
      return than === 'equal' ? has === is : has > is
    })
  }

  #range({ key, end }: Span, revision: number): readonly KeyValue[] {
    const keys = this.keys(revision)
    if (end === undefined) {
      const kv = keys.get(key)
      return kv === undefined ? [] : [kv]
    }
    return [...keys.values()]
      .filter((kv) => compareText(kv.key, key) >= 0 && compareText(kv.key, end) < 0)
      .toSorted((left, right) => compareText(left.key, right.key))
  }

  #answer(succeeded: boolean, operations: readonly TxnOperation[]): TxnResponse {
    const ranges = operations.flatMap((operation) => {
      if (operation.type !== 'range') return []
      const found = this.#range(operation, operation.revision ?? this.revision)
      return [operation.limit === undefined ? found : found.slice(0, operation.limit)]
    })
    const { revision } = this
    return {
      header: { clusterId: 'c1', memberId: 'a1', revision, raftTerm: 2 },
      succeeded,
      ranges,
    }
  }

  #write(operations: readonly TxnOperation[]): void {
    const revision = this.revision + 1
    const keys = new Map(this.keys())
    const changes: ChangeEvent[] = []
    for (const operation of operations)
      if (operation.type === 'put') {
        const { key, value, lease } = operation
        assert.ok(lease === 0n || this.leases.has(lease), 'a lease is granted before it is used')
        const previous = keys.get(key)
        const createRevision = previous?.createRevision ?? revision
        const kv = { key, value, lease, createRevision, modRevision: revision }
        keys.set(key, kv)
        changes.push({ type: 'put', kv, previous })
      } else if (operation.type === 'delete')
        for (const previous of this.#range(operation, this.revision)) {
          if (!keys.delete(previous.key)) continue
          const { key } = previous
          const kv = { key, value: '', lease: 0n, createRevision: 0, modRevision: revision }
          changes.push({ type: 'delete', kv, previous })
        }
    if (changes.length > 0) this.#revisions.push({ keys, changes })
  }
}

/** The version is asked for only to learn whether a key is there. */
function numberOf(kv: KeyValue | undefined, target: Compare['target']): number {
  if (kv === undefined) return 0
  return { create: kv.createRevision, mod: kv.modRevision, version: 1 }[target]
}

/** etcd refuses to put a key twice, or to put what it deletes (etcd 3.4 etcdserver/api/v3rpc/key.go). */
function refuseOverlap(operations: readonly TxnOperation[]): void {
  const put = operations.flatMap((operation) => (operation.type === 'put' ? [operation.key] : []))
  const isDeleted = (key: string): boolean =>
    operations.some(
      (operation) =>
        operation.type === 'delete' &&
        (operation.end === undefined
          ? operation.key === key
          : compareText(operation.key, key) <= 0 && compareText(key, operation.end) < 0),
    )
  if (new Set(put).size < put.length || put.some(isDeleted))
    throw new EtcdError('REFUSED', 'etcdserver: duplicate key given in txn request')
}
