/** Units of the embedded manager that fail: real processes, and a clock that the test moves. */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { findUser } from '../src/embedded/accounts.ts'
import { embedded, isAlive, killNow, mainPid, untilGone } from './helpers/embedded.ts'
import { FakeClock } from './helpers/fake-clock.ts'
import { lines, untilLine, untilSub } from './helpers/units.ts'

t.setTimeout(120_000)
const skip = process.platform === 'linux' ? false : 'needs Linux'

t.test('a crash is followed by Restart=, until the start limit', { skip }, async (tt) => {
  const clock = new FakeClock()
  const { manager } = await embedded(tt, { clock })
  const name = 'crash.service'
  const unit = 'ExecStart=/bin/sleep 1000\nRestart=on-failure\nRestartSec=1\n'
  await manager.load(name, `[Unit]\nStartLimitBurst=2\n[Service]\n${unit}`)
  await manager.start(name)
  const first = await mainPid(manager, name)
  killNow(first)
  await untilSub(manager, name, 'auto-restart')
  const { text } = await manager.status(name)
  tt.match(text, /● .*\n.*\n {5}Active: activating \(auto-restart\) \(Result: signal\) since/)
  clock.advance(999)
  tt.equal((await manager.states([name])).get(name)?.subState, 'auto-restart')
  clock.advance(1)
  tt.equal((await manager.states([name])).get(name)?.subState, 'running')
  const second = await mainPid(manager, name)
  tt.not(second, first)
  killNow(second)
  await untilSub(manager, name, 'auto-restart')
  clock.advance(1000)
  await untilSub(manager, name, 'failed')
  tt.same((await lines(manager, name)).slice(-3), [
    'crash.service: Start request repeated too quickly.',
    "crash.service: Failed with result 'signal'.",
    'Failed to start crash.service.',
  ])
})

t.test(
  'what ignores SIGTERM is killed when its time is up, with its children',
  { skip },
  async (tt) => {
    const clock = new FakeClock()
    const { manager } = await embedded(tt, { clock })
    const name = 'stubborn.service'
    await manager.load(
      name,
      `[Service]\nExecStart=/bin/sh -c "trap '' TERM; sleep 1000 & echo child $$!; echo ready; while true; do sleep 1; done"\n`,
    )
    await manager.start(name)
    await untilLine(manager, name, 'ready')
    const child = Number(
      (await lines(manager, name)).find((line) => line.startsWith('child'))?.slice(6),
    )
    const main = await mainPid(manager, name)
    await manager.stop(name)
    tt.equal((await manager.states([name])).get(name)?.subState, 'stop-sigterm')
    tt.ok(isAlive(child) && isAlive(main))
    clock.advance(90_000)
    await untilSub(manager, name, 'failed')
    tt.notOk(isAlive(main))
    await untilGone(child)
    const log = await lines(manager, name)
    tt.ok(log.includes("stubborn.service: State 'stop-sigterm' timed out. Killing."))
    tt.ok(log.includes(`stubborn.service: Killing process ${main} (sh) with signal SIGKILL.`))
    tt.ok(log.includes("stubborn.service: Failed with result 'timeout'."))
    await manager.unload(name)
    tt.same(await manager.list(), [], 'a failed unit is forgotten')
  },
)

t.test('a start that takes too long is ended', { skip }, async (tt) => {
  const clock = new FakeClock()
  const { manager } = await embedded(tt, { clock })
  await manager.load(
    'slow.service',
    '[Service]\nExecStartPre=/bin/sleep 1000\nExecStart=/bin/true\n',
  )
  await manager.start('slow.service')
  tt.match((await manager.status('slow.service')).text, / {2}Cntrl PID: \d+ \(\S+\)/)
  clock.advance(90_000)
  await untilSub(manager, 'slow.service', 'failed')
  tt.match(await lines(manager, 'slow.service'), [
    'Starting slow.service...',
    'slow.service: start-pre operation timed out. Terminating.',
    'slow.service: Control process exited, code=killed, status=15/TERM',
    "slow.service: Failed with result 'timeout'.",
    'Failed to start slow.service.',
  ])
})

t.test('what cannot be started is told, not ignored', { skip }, async (tt) => {
  const { manager } = await embedded(tt)
  const timer = manager.load('a.timer', '[Timer]\n')
  await tt.rejects(timer, {
    code: 'UNSUPPORTED_UNIT',
    message: 'Unit a.timer has type timer: the embedded unit manager runs services only.',
  })
  await tt.rejects(manager.load('../a.service', ''), { code: 'INVALID_NAME' })
  const longest = `${'a'.repeat(238)}.service`
  await manager.load(longest, '[Service]\nExecStart=/bin/sleep 1000\n')
  await manager.start(longest)
  await untilSub(manager, longest, 'running')
  await tt.rejects(manager.load(`a${longest}`, ''), { code: 'INVALID_NAME' })
  tt.same(await manager.list(), [longest])
  await tt.rejects(manager.start('no.service'), {
    code: 'NO_SUCH_UNIT',
    message: 'Unit no.service not found.',
  })
  await tt.rejects(manager.stop('no.service'), { code: 'NO_SUCH_UNIT' })
  await tt.resolves(manager.unload('no.service'))
  await manager.load('notify.service', '[Service]\nType=notify\nExecStart=/bin/true\n')
  await tt.rejects(manager.start('notify.service'), {
    code: 'BAD_UNIT_SETTING',
    message: /^Unit notify\.service has a bad unit file setting\. Type=notify is not supported/,
  })
  tt.equal(
    (await manager.states(['notify.service'])).get('notify.service')?.loadState,
    'bad-setting',
  )
  tt.match(
    (await manager.status('notify.service')).text,
    /Loaded: bad-setting \(Reason: Type=notify is not supported/,
  )
  await manager.load('bad.service', '[Service]\nExecStart=rel/x\n')
  await tt.rejects(manager.start('bad.service'), {
    message: 'Unit bad.service has a bad unit file setting.',
  })
  await tt.rejects(lines(manager, 'bad.service', 'bogus'), {
    message: "Unknown output format 'bogus'.",
  })
  tt.same(await lines(manager, 'never.service'), ['-- No entries --'])
  await tt.rejects(lines(manager, '../../x.service'), { code: 'INVALID_NAME' })
})

t.test('a step before the program runs fails with its own status', { skip }, async (tt) => {
  const { manager, stateDirectory } = await embedded(tt)
  const root = process.getuid?.() === 0
  const table: readonly (readonly [string, string, string])[] = [
    [
      'ExecStart=/nonexistent/foo',
      '203/EXEC',
      'Failed to locate executable /nonexistent/foo: No such file or directory',
    ],
    [
      'ExecStart=nosuchprogram',
      '203/EXEC',
      'Failed to locate executable nosuchprogram: No such file or directory',
    ],
    [
      'ExecStart=/etc/passwd',
      '203/EXEC',
      'Failed to locate executable /etc/passwd: Permission denied',
    ],
    ['ExecStart=/bin', '203/EXEC', 'Failed to locate executable /bin: Permission denied'],
    [
      'ExecStart=/bin/true\nWorkingDirectory=/nonexistent',
      '200/CHDIR',
      'Changing to the requested working directory failed: No such file or directory',
    ],
    [
      'ExecStart=/bin/true\nWorkingDirectory=/etc/passwd',
      '200/CHDIR',
      'Changing to the requested working directory failed: Not a directory',
    ],
    [
      'ExecStart=/bin/true\nUser=nosuchuser',
      '217/USER',
      'Failed to determine user credentials: No such process',
    ],
    [
      'ExecStart=/bin/true\nGroup=nosuchgroup',
      '216/GROUP',
      'Failed to determine group credentials: No such process',
    ],
  ]
  for (const [index, [unit, status, detail]] of table.entries()) {
    const name = `fails-${index}.service`
    await manager.load(name, `[Service]\n${unit}\n`)
    await manager.start(name)
    await untilSub(manager, name, 'failed')
    const all = await lines(manager, name)
    tt.equal(all[0], `Started ${name}.`)
    tt.equal(all[1], `${name}: ${detail}`)
    tt.ok(all.includes(`${name}: Main process exited, code=exited, status=${status}`), status)
  }
  await manager.load(
    'file.service',
    '[Service]\nEnvironmentFile=/nonexistent\nExecStart=/bin/true\n',
  )
  await manager.start('file.service')
  tt.same(await lines(manager, 'file.service'), [
    'file.service: Failed to load environment files: No such file or directory',
    "file.service: Failed to run 'start' task: No such file or directory",
    "file.service: Failed with result 'resources'.",
    'Failed to start file.service.',
  ])
  await manager.load(
    'user.service',
    '[Service]\nType=oneshot\nUser=daemon\nWorkingDirectory=~\nExecStart=/usr/bin/id -un\nExecStart=+/usr/bin/id -u\nExecStart=/bin/pwd\n',
  )
  await manager.start('user.service')
  await untilSub(manager, 'user.service', root ? 'dead' : 'failed')
  const user = await lines(manager, 'user.service')
  if (root) tt.same(user.slice(1, 4), ['daemon', '0', findUser('daemon')?.home])
  else tt.match(user, [/./, /Operation not permitted/])
  // An argument that is longer than the kernel takes.
  const file = join(stateDirectory, 'big')
  writeFileSync(file, `BIG=${'x'.repeat(200_000)}\n`)
  const big = `EnvironmentFile=${file}\nExecStart=/bin/true`
  for (const type of ['exec', 'simple']) {
    const name = `big-${type}.service`
    await manager.load(name, `[Service]\nType=${type}\n${big} \${BIG}\n`)
    await manager.start(name)
    await untilSub(manager, name, 'failed')
    const log = await lines(manager, name)
    tt.ok(log.includes(`${name}: Failed at step EXEC spawning /bin/true: Argument list too long`))
    tt.equal(log.includes(`Started ${name}.`), type === 'simple')
  }
})

t.test(
  'a disk that refuses costs the record and the journal file, not the unit',
  { skip },
  async (tt) => {
    const { manager, stateDirectory } = await embedded(tt)
    await manager.load('a.service', '[Service]\nExecStart=/bin/sleep 1000\n')
    for (const directory of ['units', 'journal']) {
      rmSync(join(stateDirectory, directory), { recursive: true, force: true })
      writeFileSync(join(stateDirectory, directory), 'no directory')
    }
    await manager.start('a.service')
    await untilSub(manager, 'a.service', 'running')
    const log = (await lines(manager, 'a.service')).join('\n')
    tt.match(log, /^a\.service: Failed to keep the state for a later manager: .*$/m)
    tt.match(log, /^The journal file cannot be written, entries are kept in memory only: .*$/m)
    await manager.stop('a.service')
    await untilSub(manager, 'a.service', 'dead')
    for (const directory of ['units', 'journal']) rmSync(join(stateDirectory, directory))
  },
)
