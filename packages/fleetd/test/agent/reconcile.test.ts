import { test } from 'tap'
import {
  desiredUnits,
  planTasks,
  sortTasks,
  type AgentTask,
  type CurrentUnit,
} from '../../src/agent/reconcile.ts'
import { job, machine } from '../helpers/jobs.ts'

const short = (tasks: readonly AgentTask[]): string[] =>
  tasks.map(({ type, unit }) => `${type} ${unit}`.trim())

test('a machine wants what is scheduled to it and the global units that fit', (t) => {
  const jobs = [
    job('a.service', '', { target: 'A' }),
    job('b.service', '', { target: 'B' }),
    job('g.service', 'Global=true\nMachineMetadata=disk=ssd'),
    job('h.service', 'Global=true\nMachineMetadata=disk=hdd'),
  ]
  const names = desiredUnits(machine('A', 'disk=ssd'), jobs).map(({ name }) => name)
  t.same(names, ['a.service', 'g.service'])
  t.end()
})

test('of units that conflict the first by name stays', (t) => {
  const jobs = [
    job('a.service', 'Global=true'),
    job('b.service', 'Conflicts=a*', { target: 'A' }),
    job('c.service', '', { target: 'A' }),
  ]
  t.same(
    desiredUnits(machine('A'), jobs).map(({ name }) => name),
    ['a.service', 'c.service'],
  )
  t.end()
})

test('tasks come in the order unload, load, reload, stop, start, then by name', (t) => {
  const [a, b, c] = [
    job('a.service'),
    job('b.service', '', { targetState: 'loaded' }),
    job('c.service'),
  ]
  const current = new Map<string, CurrentUnit>([
    ['b.service', { state: 'launched', hash: b.file.hash }],
    ['c.service', { state: 'launched', hash: 'old' }],
    ['z.service', { state: 'launched', hash: '' }],
  ])
  t.same(short(sortTasks(planTasks([a, b, c], current))), [
    'UnloadUnit c.service',
    'UnloadUnit z.service',
    'LoadUnit a.service',
    'LoadUnit c.service',
    'ReloadUnitFiles',
    'StopUnit b.service',
    'StartUnit a.service',
    'StartUnit c.service',
  ])
  t.same(planTasks([], new Map()), [])
  const running = new Map<string, CurrentUnit>([
    ['a.service', { state: 'launched', hash: a.file.hash }],
  ])
  t.same(planTasks([a], running), [], 'what runs is left alone')
  t.end()
})
