import { encodeText } from '../store/text.ts'
import type {
  Compare,
  RangeRequest,
  Span,
  TxnOperation,
  TxnRequest,
  WatchRequest,
} from './messages.ts'
import { FieldWriter } from './protobuf.ts'

// Field numbers are those of etcd 3.4 etcdserver/etcdserverpb/rpc.proto.

export function encodeNothing(): Buffer {
  return Buffer.alloc(0)
}

function range(request: RangeRequest): FieldWriter {
  return span(request)
    .number(3, request.limit ?? 0)
    .number(4, request.revision ?? 0)
    .bool(7, request.serializable ?? false)
}

function span({ key, end = '' }: Span): FieldWriter {
  return new FieldWriter().bytes(1, encodeText(key)).bytes(2, encodeText(end))
}

export function encodeTxn(request: TxnRequest): Buffer {
  const writer = new FieldWriter()
  for (const each of request.compare) writer.message(1, compare(each))
  for (const each of request.success) writer.message(2, operation(each))
  for (const each of request.failure) writer.message(3, operation(each))
  return writer.finish()
}

const TARGETS = { version: 0, create: 1, mod: 2 } as const
/** The number compared with stands in a field of its own for each target. */
const TARGET_FIELDS = { version: 4, create: 5, mod: 6 } as const

function compare({ target, than = 'equal', key, end = '', is }: Compare): FieldWriter {
  return new FieldWriter()
    .number(1, than === 'greater' ? 1 : 0)
    .number(2, TARGETS[target])
    .bytes(3, encodeText(key))
    .choice(TARGET_FIELDS[target], is)
    .bytes(64, encodeText(end))
}

function operation(each: TxnOperation): FieldWriter {
  switch (each.type) {
    case 'range':
      return new FieldWriter().message(1, range(each))
    case 'put':
      return new FieldWriter().message(
        2,
        new FieldWriter()
          .bytes(1, encodeText(each.key))
          .bytes(2, encodeText(each.value))
          .number(3, each.lease),
      )
    case 'delete':
      return new FieldWriter().message(3, span(each))
  }
}

/** Creates a watch that tells what was there before each event. */
export function encodeWatch(request: WatchRequest): Buffer {
  const create = span(request).number(3, request.startRevision).bool(6, true)
  return new FieldWriter().message(1, create).finish()
}

export interface LeaseGrant {
  readonly id: bigint
  readonly ttlSeconds: number
}

export function encodeLeaseGrant({ id, ttlSeconds }: LeaseGrant): Buffer {
  return new FieldWriter().number(1, ttlSeconds).number(2, id).finish()
}

export function encodeLeaseRevoke(id: bigint): Buffer {
  return new FieldWriter().number(1, id).finish()
}

export interface Credentials {
  readonly name: string
  readonly password: string
}

export function encodeAuthenticate({ name, password }: Credentials): Buffer {
  return new FieldWriter()
    .bytes(1, Buffer.from(name, 'utf8'))
    .bytes(2, Buffer.from(password, 'utf8'))
    .finish()
}

/** What is to become of the members. Ids are hexadecimal. */
export type MemberChange =
  | { readonly type: 'add'; readonly peerURLs: readonly string[] }
  | { readonly type: 'remove'; readonly id: string }
  | { readonly type: 'update'; readonly id: string; readonly peerURLs: readonly string[] }

export function encodeMemberChange(change: MemberChange): Buffer {
  const writer = new FieldWriter()
  if (change.type !== 'add') writer.number(1, BigInt(`0x${change.id}`))
  if (change.type !== 'remove')
    for (const url of change.peerURLs)
      writer.bytes(change.type === 'add' ? 1 : 2, Buffer.from(url, 'utf8'))
  return writer.finish()
}
