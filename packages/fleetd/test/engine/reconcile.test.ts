import { array, constantFrom, record, subarray } from 'fast-check'
import { property } from '../helpers/property.ts'
import { test } from 'tap'
import type { Job } from '@flotilla/fleet-registry'
import { ClusterState } from '../../src/engine/cluster-state.ts'
import { reconcile, type Task } from '../../src/engine/reconcile.ts'
import type { PlacementMachine } from '../../src/agent/agent-state.ts'
import { job, machine } from '../helpers/jobs.ts'

const always = (): boolean => true

function run(jobs: readonly Job[], machines: readonly PlacementMachine[], isGone = always): Task[] {
  return reconcile(new ClusterState(jobs, machines), isGone)
}

const short = (tasks: readonly Task[]): string[] =>
  tasks.map(
    ({ type, unit, machine: id }) => `${type === 'UnscheduleUnit' ? '-' : '+'}${unit}@${id}`,
  )

/** The units as they stand after the tasks. */
function apply(jobs: readonly Job[], tasks: readonly Task[]): Job[] {
  const targets = new Map(jobs.map(({ name, target }) => [name, target]))
  for (const { type, unit, machine: id } of tasks) {
    targets.set(unit, type === 'UnscheduleUnit' ? '' : id)
  }
  return jobs.map((it) => ({ ...it, target: targets.get(it.name) ?? '' }))
}

test('units of a machine that may come back stay where they are', (t) => {
  const jobs = [job('a.service', '', { target: 'A' }), job('b.service')]
  const tasks = run(jobs, [machine('B')], () => false)
  t.same(short(tasks), ['+b.service@B'], 'new units are placed all the same')
  t.same(short(run(jobs, [machine('B')])), ['-a.service@A', '+a.service@B', '+b.service@B'])
  t.end()
})

test('nine units spread over three machines, three each', (t) => {
  const jobs = Array.from({ length: 9 }, (_, at) => job(`u${at}.service`))
  const tasks = run(jobs, [machine('C'), machine('A'), machine('B')])
  for (const id of ['A', 'B', 'C']) t.equal(tasks.filter((task) => task.machine === id).length, 3)
  t.equal(tasks[0]?.machine, 'A', 'ties go to the lowest ID')
  t.end()
})

test('a unit that needs a peer placed after it is placed in the same pass', (t) => {
  const jobs = [
    job('a.service', 'MachineOf=b.service'),
    job('b.service', 'MachineOf=c.service'),
    job('c.service', 'MachineID=B'),
  ]
  t.same(short(run(jobs, [machine('A'), machine('B')])), [
    '+c.service@B',
    '+b.service@B',
    '+a.service@B',
  ])
  t.end()
})

test('a replaced unit moves to a machine that may run it', (t) => {
  const jobs = [
    job('new.service', 'Replaces=old.service', { target: 'A' }),
    job('old.service', 'MachineMetadata=disk=ssd', { target: 'A' }),
  ]
  const machines = [machine('A', 'disk=ssd'), machine('B'), machine('C', 'disk=ssd')]
  t.same(short(run(jobs, machines)), ['-old.service@A', '+old.service@C'])
  t.end()
})

test('a replaced unit that has nowhere to go waits, and the cluster comes to rest', (t) => {
  let jobs = [job('a.service', '', { target: 'A' }), job('b.service', 'Replaces=a.service')]
  const machines = [machine('A')]
  const passes: string[][] = []
  for (;;) {
    const tasks = run(jobs, machines)
    if (tasks.length === 0) break
    passes.push(short(tasks))
    jobs = apply(jobs, tasks)
    if (passes.length > 9) break
  }
  t.same(passes, [['+b.service@A'], ['-a.service@A', '-b.service@A'], ['+b.service@A']])
  t.end()
})

test('a global unit cannot be driven away', (t) => {
  const jobs = [
    job('g.service', 'Global=true'),
    job('n.service', 'Replaces=g.service', { target: 'A' }),
  ]
  t.same(run(jobs, [machine('A'), machine('B')]), [])
  t.end()
})

test('a global unit that conflicts does not count until the other has left', (t) => {
  const jobs = [
    job('g.service', 'Global=true\nConflicts=x.service'),
    job('x.service', '', { target: 'A', targetState: 'inactive' }),
    job('y.service', '', { target: 'B' }),
    job('z.service'),
  ]
  t.same(short(run(jobs, [machine('A'), machine('B')])), ['-x.service@A', '+z.service@A'])
  t.end()
})

const requirement = constantFrom(
  '',
  '',
  '',
  'MachineID=A',
  'MachineMetadata=disk=ssd',
  'Conflicts=u1*',
  'MachineOf=u0.service',
  'Global=true',
)
const cluster = record({
  machines: subarray(['A', 'B', 'C', 'D']).map((ids) =>
    ids.map((id) => (id < 'C' ? machine(id, 'disk=ssd') : machine(id))),
  ),
  jobs: array(
    record({
      fleet: requirement,
      targetState: constantFrom('inactive' as const, 'loaded' as const, 'launched' as const),
      target: constantFrom('', 'A', 'B', 'C', 'D', 'E'),
    }),
    { maxLength: 12 },
  ).map((all) => all.map(({ fleet, ...rest }, at) => job(`u${at}.service`, fleet, rest))),
})

property('one pass leads to a state in which nothing is wrong', cluster, ({ machines, jobs }) => {
  const after = apply(jobs, run(jobs, machines))
  const state = new ClusterState(after, machines)
  for (const it of after.filter(({ target }) => target !== '')) {
    if (it.requirements.global) continue
    if (it.targetState === 'inactive') return `${it.name} is inactive and placed`
    const agent = state.agent(it.target)
    if (agent === undefined) return `${it.name} is on a machine that is gone`
  }
  return undefined
})

property('passes come to rest', cluster, ({ machines, jobs }) => {
  let now = jobs
  for (let pass = 0; pass < 20; pass++) {
    const tasks = run(now, machines)
    if (tasks.length === 0) return undefined
    now = apply(now, tasks)
  }
  return `still restless: ${short(run(now, machines)).join(' ')}`
})
