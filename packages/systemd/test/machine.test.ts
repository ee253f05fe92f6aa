import { array, assert, constantFrom, property } from 'fast-check'
import t from 'tap'
import { activeStateOf, alive } from '../src/service/machine-state.ts'
import { parseService } from '../src/service/service.ts'
import { CONTEXT } from './helpers/context.ts'
import { LIVES } from './helpers/lives.ts'
import { Simulation } from './helpers/simulation.ts'

const SIMPLE = 'ExecStart=/bin/x'

for (const { name, unit, steps, log } of LIVES) {
  t.test(name, (tt) => {
    const world = new Simulation(`[Unit]\nDescription=T\n[Service]\n${unit}\n`)
    for (const pair of steps.split(', ')) {
      const [step = '', sub] = pair.split(' > ')
      if (step === 'stragglers') world.hasStragglers = true
      else world.step(step)
      tt.equal(world.sub, sub, step)
    }
    tt.same(
      world.log.map((line) => line.replaceAll('a.service - T', 'T')),
      log,
    )
    tt.end()
  })
}

t.test('Restart= decides by how the service ended', (tt) => {
  const ends = ['main 0', 'main 1', 'main SIG15', 'main SIG9', 'timer']
  const table: Readonly<Record<string, readonly boolean[]>> = {
    no: [false, false, false, false, false],
    'on-success': [true, false, true, false, false],
    'on-failure': [false, true, false, true, true],
    'on-abnormal': [false, false, false, true, true],
    'on-abort': [false, false, false, true, false],
    'on-watchdog': [false, false, false, false, false],
    always: [true, true, true, true, true],
  }
  for (const [restart, expected] of Object.entries(table)) {
    const got = ends.map((end) => {
      const world = new Simulation(
        `[Service]\nExecStart=/bin/x\nRuntimeMaxSec=1\nRestart=${restart}\n`,
      )
      world.step('start')
      world.step(end)
      if (end === 'timer') world.step('main SIG15')
      return world.sub === 'auto-restart'
    })
    tt.same(got, expected, restart)
  }
  const forced = new Simulation(
    '[Service]\nExecStart=/bin/x\nRestartForceExitStatus=7\nRestart=no\n',
  )
  forced.step('start')
  forced.step('main 7')
  tt.equal(forced.sub, 'auto-restart')
  const prevented = new Simulation(
    '[Service]\nExecStart=/bin/x\nRestartPreventExitStatus=7\nRestart=always\n',
  )
  prevented.step('start')
  prevented.step('main 7')
  tt.equal(prevented.sub, 'failed')
  tt.end()
})

t.test('a process that cannot be created fails its phase', (tt) => {
  const table: readonly (readonly [string, readonly string[], string, string])[] = [
    [
      'ExecStart=/bin/x',
      ['start'],
      'failed',
      "a.service: Failed to run 'start' task: No such file or directory",
    ],
    [
      'ExecStartPre=/bin/x\nExecStart=/bin/x',
      ['start'],
      'failed',
      "a.service: Failed to run 'start-pre' task: No such file or directory",
    ],
    [
      'ExecStart=/bin/x\nExecStartPost=/bin/x',
      ['start'],
      'stop-sigterm',
      "a.service: Failed to run 'start-post' task: No such file or directory",
    ],
    [
      'ExecStart=/bin/x\nExecStop=/bin/x',
      ['start', 'stop'],
      'stop-sigterm',
      "a.service: Failed to run 'stop' task: No such file or directory",
    ],
    [
      'ExecStart=/bin/x\nExecStopPost=/bin/x',
      ['start', 'main 0'],
      'failed',
      "a.service: Failed to run 'stop-post' task: No such file or directory",
    ],
  ]
  for (const [unit, steps, sub, message] of table) {
    const world = new Simulation(`[Service]\n${unit}\n`)
    const failing = unit.includes('ExecStartPost') ? 1 : 0
    for (const [index, step] of steps.entries()) {
      world.failsNextSpawn = index === steps.length - 1 && failing === 0
      if (failing === 1) failAfterFirstSpawn(world)
      world.step(step)
    }
    tt.equal(world.sub, sub, unit)
    tt.ok(world.log.includes(message), world.log.join('\n'))
    tt.equal(world.machine.state.result, 'resources')
  }
  tt.end()
})

/** The first spawn succeeds, the one that answers it does not. */
function failAfterFirstSpawn(world: Simulation): void {
  const push = world.asked.push.bind(world.asked)
  world.asked.push = (...items) => {
    if (items[0] === 'spawn ExecStartPost 0') world.failsNextSpawn = true
    return push(...items)
  }
}

t.test('Type=exec is started when the program runs, Type=simple before', (tt) => {
  for (const [type, sub] of [
    ['simple', 'running'],
    ['exec', 'start'],
  ] as const) {
    const world = new Simulation(`[Service]\nType=${type}\nExecStart=/bin/x\n`)
    world.failsNextExec = true
    world.step('start')
    tt.equal(world.sub, sub, type)
    world.step('main 203')
    tt.equal(world.sub, 'failed')
    tt.equal(
      world.log.at(-1),
      type === 'exec' ? 'Failed to start a.service.' : "a.service: Failed with result 'exit-code'.",
    )
  }
  tt.end()
})

t.test('what is asked of the world: signals, their targets and times', (tt) => {
  const world = new Simulation(
    '[Service]\nExecStartPre=/bin/a\nExecStart=/bin/x\nTimeoutStartSec=7\nTimeoutStopSec=8\nRuntimeMaxSec=9\nKillSignal=INT\nFinalKillSignal=QUIT\nRestart=always\nRestartSec=2\n',
  )
  for (const step of ['start', 'control 0', 'timer', 'timer', 'main SIG3']) world.step(step)
  tt.same(world.asked, [
    'begin',
    'arm 7000',
    'spawn ExecStartPre 0',
    'arm Infinity',
    'spawn ExecStart 0',
    'arm 9000',
    'arm 8000',
    'kill 2 all',
    'arm 8000',
    'kill 3 all final',
    'arm 8000',
    'kill 2 all',
    'arm Infinity',
    'arm 2000',
  ])
  tt.end()
})

t.test('the start limit forgets starts that are longer ago than its interval', (tt) => {
  const world = new Simulation(
    '[Service]\nExecStart=/bin/x\nStartLimitBurst=2\nStartLimitInterval=10\n',
  )
  const startAndEnd = (): string => {
    world.step('start')
    if (world.sub === 'running') world.step('main 0')
    return world.machine.state.result
  }
  tt.same([startAndEnd(), startAndEnd(), startAndEnd()], ['success', 'success', 'start-limit-hit'])
  world.now += 10_001
  tt.same([startAndEnd(), startAndEnd(), startAndEnd()], ['success', 'success', 'start-limit-hit'])
  const setBack = new Simulation('[Service]\nExecStart=/bin/x\nStartLimitBurst=1\n')
  setBack.now = 7_200_000
  setBack.step('start')
  setBack.step('main 0')
  setBack.now -= 3_600_000
  setBack.step('start')
  tt.equal(setBack.sub, 'running', 'a clock that was set back begins a new window')
  setBack.step('main 0')
  setBack.step('start')
  tt.equal(setBack.sub, 'failed')
  const unlimited = new Simulation('[Service]\nExecStart=/bin/x\nStartLimitInterval=0\n')
  for (let count = 0; count < 50; count += 1) {
    unlimited.step('start')
    unlimited.step('main 0')
  }
  tt.equal(unlimited.machine.state.result, 'success')
  tt.end()
})

t.test('a file that became unfit is not started any more', (tt) => {
  const bad = parseService('a.service', '[Service]\nType=notify\nExecStart=/bin/x\n', CONTEXT)
  const again = new Simulation('[Service]\nExecStart=/bin/x\nRestart=always\n')
  again.step('start')
  again.step('main 0')
  again.machine.configure(bad)
  again.log.length = 0
  again.step('timer')
  tt.equal(again.sub, 'failed')
  tt.same(again.log, [
    'a.service: Failed to schedule restart job: Unit a.service has a bad unit file setting.',
    "a.service: Failed with result 'resources'.",
  ])
  const queued = new Simulation('[Service]\nExecStart=/bin/x\n')
  for (const step of ['start', 'stop', 'start']) queued.step(step)
  queued.machine.configure(bad)
  queued.step('main SIG15')
  tt.equal(queued.sub, 'dead')
  tt.equal(queued.machine.state.job, undefined)
  tt.end()
})

t.test('times of state changes', (tt) => {
  const world = new Simulation(
    '[Service]\nExecStartPre=/bin/a\nExecStart=/bin/x\nRestart=on-failure\n',
  )
  const times = (): unknown[] => {
    const { inactiveExitMs, activeEnterMs, activeExitMs, inactiveEnterMs } = world.machine.state
    return [inactiveExitMs, activeEnterMs, activeExitMs, inactiveEnterMs]
  }
  const at = (now: number, step: string): unknown[] => {
    world.now = now
    world.step(step)
    return times()
  }
  tt.same(at(1, 'start'), [1, undefined, undefined, undefined])
  tt.same(at(2, 'control 0'), [1, 2, undefined, undefined])
  tt.same(at(3, 'stop'), [1, 2, 3, undefined])
  tt.same(at(4, 'main 0'), [1, 2, 3, 4])
  tt.same(at(5, 'start'), [5, 2, 3, 4])
  tt.end()
})

t.test('whatever happens, in whatever order, the machine stays sane', (tt) => {
  const units = [
    SIMPLE,
    'Type=oneshot\nExecStart=/bin/a\nExecStart=/bin/b\nExecStop=/bin/s',
    `ExecStartPre=/bin/a\n${SIMPLE}\nExecStartPost=/bin/p\nExecStop=/bin/s\nExecStopPost=/bin/u\nRestart=always\nStartLimitBurst=100000`,
    `${SIMPLE}\nKillMode=mixed\nRestart=on-failure`,
    `${SIMPLE}\nKillMode=none\nSendSIGKILL=no\nRemainAfterExit=yes`,
  ]
  const step = constantFrom(
    ...'start,stop,timer,gone,resume,reset-failed,main 0,main 1,main SIG9'.split(','),
    ...'main unknown,control 0,control 1,control SIG15'.split(','),
  )
  assert(
    property(constantFrom(...units), array(step, { maxLength: 60 }), (unit, steps) => {
      const world = new Simulation(`[Service]\n${unit}\n`)
      for (const each of steps) {
        world.step(each)
        const { state } = world.machine
        const isDown = ['inactive', 'failed'].includes(activeStateOf(state.sub))
        if (isDown && (alive(state, 'main') ?? alive(state, 'control')) !== undefined) return false
        if (state.sub === 'running' && alive(state, 'main') === undefined) return false
        if (isDown && state.job !== undefined) return false
        if (state.processes.length > 8) return false
      }
      // And it can always be brought down.
      world.step('stop')
      for (const each of [
        'control 0',
        'main 0',
        'control 0',
        'control 0',
        'gone',
        'gone',
        'control 0',
        'gone',
        'gone',
      ]) {
        world.step(each)
      }
      return ['inactive', 'failed'].includes(activeStateOf(world.machine.state.sub))
    }),
    { numRuns: 1000 },
  )
  tt.pass('1000 lives')
  tt.end()
})
