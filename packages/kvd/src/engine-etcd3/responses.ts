import { decodeText } from '../store/text.ts'
import type {
  ChangeEvent,
  EtcdMember,
  Header,
  KeyValue,
  MembersResponse,
  StatusResponse,
  TxnResponse,
  WatchResponse,
} from './messages.ts'
import { FieldReader } from './protobuf.ts'

// Field numbers are those of etcd 3.4 etcdserver/etcdserverpb/rpc.proto and mvcc/mvccpb/kv.proto.
// Each reader throws EncodingError when the bytes are no message.

const NO_HEADER: Header = { clusterId: '0', memberId: '0', revision: 0, raftTerm: 0 }

function header(reader: FieldReader): Header {
  let [clusterId, memberId] = [0n, 0n]
  let [revision, raftTerm] = [0, 0]
  while (reader.next())
    if (reader.field === 1) clusterId = reader.big()
    else if (reader.field === 2) memberId = reader.big()
    else if (reader.field === 3) revision = reader.number()
    else if (reader.field === 4) raftTerm = reader.number()
    else reader.skip()
  return { clusterId: clusterId.toString(16), memberId: memberId.toString(16), revision, raftTerm }
}

function keyValue(reader: FieldReader): KeyValue {
  let [key, value] = ['', '']
  let [createRevision, modRevision] = [0, 0]
  let lease = 0n
  while (reader.next())
    if (reader.field === 1) key = decodeText(reader.bytes())
    else if (reader.field === 2) createRevision = reader.number()
    else if (reader.field === 3) modRevision = reader.number()
    else if (reader.field === 5) value = decodeText(reader.bytes())
    else if (reader.field === 6) lease = reader.big()
    else reader.skip()
  return { key, value, createRevision, modRevision, lease }
}

/** The header of an answer of which nothing else matters. */
export function decodeHeader(bytes: Buffer): Header {
  const reader = new FieldReader(bytes)
  let found = NO_HEADER
  while (reader.next())
    if (reader.field === 1) found = header(reader.message())
    else reader.skip()
  return found
}

export function decodeTxn(bytes: Buffer): TxnResponse {
  const reader = new FieldReader(bytes)
  let found = NO_HEADER
  let succeeded = false
  const ranges: (readonly KeyValue[])[] = []
  while (reader.next())
    if (reader.field === 1) found = header(reader.message())
    else if (reader.field === 2) succeeded = reader.number() === 1
    else if (reader.field === 3) readRange(reader.message(), ranges)
    else reader.skip()
  return { header: found, succeeded, ranges }
}

/** The answer to one operation; those of puts and deletes are left out. */
function readRange(reader: FieldReader, ranges: (readonly KeyValue[])[]): void {
  while (reader.next())
    if (reader.field === 1) ranges.push(keyValues(reader.message()))
    else reader.skip()
}

function keyValues(reader: FieldReader): readonly KeyValue[] {
  const found: KeyValue[] = []
  while (reader.next())
    if (reader.field === 2) found.push(keyValue(reader.message()))
    else reader.skip()
  return found
}

export function decodeWatch(bytes: Buffer): WatchResponse {
  const reader = new FieldReader(bytes)
  const events: ChangeEvent[] = []
  let found = NO_HEADER
  let [isCreated, isCanceled] = [false, false]
  let compactRevision = 0
  let cancelReason = ''
  while (reader.next())
    if (reader.field === 1) found = header(reader.message())
    else if (reader.field === 3) isCreated = reader.number() === 1
    else if (reader.field === 4) isCanceled = reader.number() === 1
    else if (reader.field === 5) compactRevision = reader.number()
    else if (reader.field === 6) cancelReason = reader.bytes().toString('utf8')
    else if (reader.field === 11) events.push(changeEvent(reader.message()))
    else reader.skip()
  return { header: found, isCreated, isCanceled, compactRevision, cancelReason, events }
}

const NO_KEY_VALUE: KeyValue = {
  key: '',
  value: '',
  createRevision: 0,
  modRevision: 0,
  lease: 0n,
}

function changeEvent(reader: FieldReader): ChangeEvent {
  let type: ChangeEvent['type'] = 'put'
  let kv = NO_KEY_VALUE
  let previous: KeyValue | undefined
  while (reader.next())
    if (reader.field === 1) type = reader.number() === 1 ? 'delete' : 'put'
    else if (reader.field === 2) kv = keyValue(reader.message())
    else if (reader.field === 3) previous = keyValue(reader.message())
    else reader.skip()
  return { type, kv, previous }
}

/** The token that goes with every later request. */
export function decodeToken(bytes: Buffer): string {
  const reader = new FieldReader(bytes)
  let token = ''
  while (reader.next())
    if (reader.field === 2) token = reader.bytes().toString('utf8')
    else reader.skip()
  return token
}

/** Answer to MemberList, MemberRemove and MemberUpdate. */
export function decodeMembers(bytes: Buffer): MembersResponse {
  return readMembers(new FieldReader(bytes), 2)
}

/** Answer to MemberAdd: the new member stands in front of the list. */
export function decodeMemberAdded(bytes: Buffer): MembersResponse {
  return readMembers(new FieldReader(bytes), 3)
}

function readMembers(reader: FieldReader, listField: 2 | 3): MembersResponse {
  let found = NO_HEADER
  let added: EtcdMember | undefined
  const members: EtcdMember[] = []
  while (reader.next())
    if (reader.field === 1) found = header(reader.message())
    else if (reader.field === listField) members.push(member(reader.message()))
    else if (reader.field === 2) added = member(reader.message())
    else reader.skip()
  return { header: found, members, added }
}

function member(reader: FieldReader): EtcdMember {
  let id = 0n
  let name = ''
  const peerURLs: string[] = []
  const clientURLs: string[] = []
  while (reader.next())
    if (reader.field === 1) id = reader.big()
    else if (reader.field === 2) name = reader.bytes().toString('utf8')
    else if (reader.field === 3) peerURLs.push(reader.bytes().toString('utf8'))
    else if (reader.field === 4) clientURLs.push(reader.bytes().toString('utf8'))
    else reader.skip()
  return { id: id.toString(16), name, peerURLs, clientURLs }
}

export function decodeStatus(bytes: Buffer): StatusResponse {
  const reader = new FieldReader(bytes)
  let found = NO_HEADER
  let version = ''
  let leader = 0n
  let raftIndex = 0
  while (reader.next())
    if (reader.field === 1) found = header(reader.message())
    else if (reader.field === 2) version = reader.bytes().toString('utf8')
    else if (reader.field === 4) leader = reader.big()
    else if (reader.field === 5) raftIndex = reader.number()
    else reader.skip()
  return { header: found, version, leader: leader.toString(16), raftIndex }
}
