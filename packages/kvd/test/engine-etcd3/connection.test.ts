import { Metadata, status } from '@grpc/grpc-js'
import t from 'tap'
import { etcdErrorOf } from '../../src/engine-etcd3/connection.ts'

function errorOf(code: status, details: string): string {
  const failure = Object.assign(new Error(details), { code, details, metadata: new Metadata() })
  const { code: kind, message } = etcdErrorOf(failure)
  return `${kind} ${message}`
}

t.test('what etcd has refused has not happened', async (tt) => {
  const { INVALID_ARGUMENT, PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNAUTHENTICATED } = status
  for (const [code, details] of [
    [INVALID_ARGUMENT, 'etcdserver: request is too large'],
    [PERMISSION_DENIED, 'etcdserver: permission denied'],
    [RESOURCE_EXHAUSTED, 'etcdserver: mvcc: database space exceeded'],
    [RESOURCE_EXHAUSTED, 'grpc: received message larger than max (3 vs. 2)'],
    [UNAUTHENTICATED, 'etcdserver: invalid auth token'],
  ] as const)
    tt.equal(errorOf(code, details), `REFUSED ${details}`)
  const details = 'etcdserver: mvcc: required revision has been compacted'
  tt.equal(errorOf(status.OUT_OF_RANGE, details), `COMPACTED ${details}`)
})

t.test('everything else may have happened', async (tt) => {
  for (const [code, details, expected] of [
    [status.UNAVAILABLE, 'etcdserver: leader changed', 'etcdserver: leader changed'],
    [
      status.UNAVAILABLE,
      'Connection dropped',
      'etcdserver: request timed out, possibly due to connection lost',
    ],
    [
      // HTTP/2 ENHANCE_YOUR_CALM, which ends streams whose request was taken.
      status.RESOURCE_EXHAUSTED,
      'Bandwidth exhausted or memory limit exceeded',
      'etcdserver: request timed out, possibly due to connection lost',
    ],
    [status.DEADLINE_EXCEEDED, 'Deadline exceeded', 'etcdserver: request timed out'],
    [
      status.INTERNAL,
      'Response message parsing error',
      'etcdserver: request timed out, possibly due to connection lost',
    ],
  ] as const)
    tt.equal(errorOf(code, details), `UNKNOWN ${expected}`)
})
