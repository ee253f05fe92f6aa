import type { KvNode, KvResponse } from '@flotilla/kv-client'
import { test } from 'tap'
import {
  encodeJobObject,
  encodeLease,
  encodeMachine,
  encodeUnitObject,
  encodeUnitState,
  parseUnitFile,
  Snapshot,
} from '../src/index.ts'

const FILE = parseUnitFile('[Service]\nExecStart=/bin/true\n')
const PREFIX = '/fleet'

let index = 100
function event(action: string, key: string, value?: string): KvResponse {
  index += 1
  const node = { key: `${PREFIX}/${key}`, modifiedIndex: index, createdIndex: index }
  const full = value === undefined ? node : { ...node, value }
  return { action, node: full, etcdIndex: index, raftIndex: 0, raftTerm: 0, clusterId: '' }
}

function leaf(key: string, value: string): KvNode {
  return { key: `${PREFIX}/${key}`, value, modifiedIndex: 7, createdIndex: 7 }
}

function dir(key: string, nodes: readonly KvNode[]): KvNode {
  return { key: `${PREFIX}/${key}`, dir: true, nodes, modifiedIndex: 1, createdIndex: 1 }
}

const OBJECT = encodeJobObject({ name: 'a.service', unitHash: FILE.hash })

function machine(id: string): string {
  return encodeMachine({
    id,
    publicIP: '10.0.0.1',
    version: 'v1.0.0',
    metadata: new Map([['disk', 'ssd']]),
    capabilities: new Map(),
  })
}

function loaded(): Snapshot {
  const snapshot = new Snapshot(PREFIX)
  const job = dir('job/a.service', [
    leaf('job/a.service/object', OBJECT),
    leaf('job/a.service/target-state', 'launched'),
    leaf('job/a.service/target', 'M'),
    leaf('job/a.service/job-state', 'M'),
  ])
  const tree = dir('', [
    dir('job', [job, dir('job/empty.service', [])]),
    dir('unit', [leaf(`unit/${FILE.hash}`, encodeUnitObject(FILE.text))]),
    dir('machines', [dir('machines/M', [leaf('machines/M/object', machine('M'))])]),
    dir('lease', [leaf('lease/engine-leader', encodeLease({ machineID: 'M', version: 1 }))]),
    dir('engine', [leaf('engine/version', '1')]),
    dir('flotilla', [leaf('flotilla/api/M', 'http://10.0.0.1:49153')]),
  ])
  snapshot.load({ ...tree, key: PREFIX }, 42)
  return snapshot
}

test('a recursive read fills the copy', (t) => {
  const snapshot = loaded()
  t.equal(snapshot.index, 42)
  t.same(
    snapshot.jobs().map((job) => [job.name, job.targetState, job.target, job.file.hash]),
    [['a.service', 'launched', 'M', FILE.hash]],
  )
  t.equal(snapshot.heartbeat('a.service'), 'M')
  t.same(
    snapshot.machines().map(({ id }) => id),
    ['M'],
  )
  t.match(snapshot.lease, { machineID: 'M', version: 1, modifiedIndex: 7 })
  t.equal(snapshot.engineVersion, 1)
  t.equal(snapshot.apiURL('M'), 'http://10.0.0.1:49153')
  snapshot.load(undefined, 50)
  t.same([snapshot.jobs(), snapshot.machines(), snapshot.lease], [[], [], undefined])
  t.equal(snapshot.engineVersion, 0)
  t.end()
})

test('events change what they are about and say so', (t) => {
  const snapshot = loaded()
  t.same(snapshot.apply(event('set', 'job/a.service/target-state', 'loaded')), {
    type: 'job',
    name: 'a.service',
  })
  t.equal(snapshot.job('a.service')?.targetState, 'loaded')
  t.equal(snapshot.index, index)
  snapshot.apply(event('compareAndDelete', 'job/a.service/target'))
  t.equal(snapshot.job('a.service')?.target, '')
  const state = encodeUnitState({
    loadState: 'loaded',
    activeState: 'active',
    subState: 'running',
    machineID: 'M',
    unitHash: FILE.hash,
  })
  t.same(snapshot.apply(event('set', 'states/a.service/M', state)), {
    type: 'state',
    name: 'a.service',
  })
  t.equal(snapshot.states('a.service').get('M')?.activeState, 'active')
  snapshot.apply(event('expire', 'states/a.service/M'))
  t.equal(snapshot.states('a.service').size, 0)
  snapshot.apply(event('set', 'machines/M/metadata/disk', 'tape'))
  t.equal(snapshot.machine('M')?.metadata.get('disk'), 'tape')
  snapshot.apply(event('delete', 'machines/M/metadata/disk'))
  t.equal(snapshot.machine('M')?.metadata.get('disk'), 'ssd')
  snapshot.apply(event('expire', 'lease/engine-leader'))
  t.equal(snapshot.lease, undefined)
  snapshot.apply(event('delete', 'flotilla/api/M'))
  t.equal(snapshot.apiURL('M'), undefined)
  t.equal(snapshot.apply(event('set', 'state/a.service', state)), undefined, 'the legacy key')
  snapshot.apply(event('delete', 'job/a.service'))
  t.equal(snapshot.job('a.service'), undefined)
  t.notOk(snapshot.hasJob('a.service'))
  t.end()
})

test('what cannot be read is left out until it can', (t) => {
  const snapshot = loaded()
  snapshot.apply(event('set', 'job/a.service/target-state', 'bogus'))
  t.same(snapshot.jobs(), [])
  t.ok(snapshot.hasJob('a.service'))
  snapshot.apply(event('set', 'job/a.service/target-state', 'launched'))
  t.equal(snapshot.jobs().length, 1)
  snapshot.apply(event('set', 'job/half.service/target-state', 'launched'))
  t.equal(snapshot.job('half.service'), undefined)
  const other = parseUnitFile('[Service]\nExecStart=/bin/false\n')
  const object = encodeJobObject({ name: 'b.service', unitHash: other.hash })
  snapshot.apply(event('set', 'job/b.service/object', object))
  t.equal(snapshot.job('b.service'), undefined, 'no file yet')
  snapshot.apply(event('create', `unit/${other.hash}`, '{"Raw":"[Unit"}'))
  t.equal(snapshot.job('b.service'), undefined, 'the file cannot be parsed')
  snapshot.apply(event('set', `unit/${other.hash}`, encodeUnitObject(other.text)))
  t.equal(snapshot.job('b.service')?.targetState, 'inactive', 'a missing state is inactive')
  t.end()
})

test('a machine that left is told from one that was lost', (t) => {
  const snapshot = loaded()
  snapshot.apply(event('expire', 'machines/M/object'))
  t.same([snapshot.machine('M'), snapshot.hasDeparted('M')], [undefined, false])
  snapshot.apply(event('create', 'machines/M/object', machine('M')))
  t.equal(snapshot.machine('M')?.publicIP, '10.0.0.1')
  snapshot.apply(event('delete', 'machines/M/object'))
  t.equal(snapshot.hasDeparted('M'), true)
  snapshot.apply(event('create', 'machines/M/object', machine('M')))
  t.equal(snapshot.hasDeparted('M'), false)
  t.end()
})

test('events that the last read has seen are passed over', (t) => {
  const snapshot = loaded()
  const late = event('delete', 'job/a.service')
  t.equal(snapshot.apply({ ...late, node: { ...late.node, modifiedIndex: 42 } }), undefined)
  t.ok(snapshot.job('a.service'))
  t.end()
})

test('removing whole directories by hand empties the copy', (t) => {
  const snapshot = loaded()
  t.same(snapshot.apply(event('delete', 'machines')), { type: 'all' })
  t.same(snapshot.machines(), [])
  t.equal(snapshot.jobs().length, 1)
  const gone = event('delete', 'x')
  t.same(snapshot.apply({ ...gone, node: { ...gone.node, key: PREFIX } }), { type: 'all' })
  t.same(snapshot.jobs(), [])
  t.end()
})
