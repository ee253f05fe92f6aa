/** The embedded manager with real processes and, where time matters, a clock that the test moves. */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import t from 'tap'
import { createEmbeddedManager } from '../src/embedded/manager.ts'
import { directories, embedded, isAlive, mainPid } from './helpers/embedded.ts'
import { FakeClock } from './helpers/fake-clock.ts'
import { lines, untilLine, untilSub } from './helpers/units.ts'

t.setTimeout(120_000)
const skip = process.platform === 'linux' ? false : 'needs Linux'

const HELLO = `[Unit]
Description=Hello World

[Service]
ExecStartPre=-/bin/false
ExecStart=/bin/sh -c "trap 'exit 0' INT TERM; echo Hello World; while true; do sleep 0.05; done"
ExecStop=/bin/echo bye

[X-Fleet]
Global=true

[Install]
WantedBy=local.target
`

t.test('a unit lives and dies', { skip }, async (tt) => {
  const { manager, unitsDirectory } = await embedded(tt)
  const name = 'hello.service'
  await manager.load(name, HELLO)
  tt.same(await manager.list(), [name])
  tt.equal(await manager.read(name), HELLO)
  tt.equal(statSync(join(unitsDirectory, name)).mode & 0o777, 0o644)
  await manager.reload()
  await manager.start(name)
  await untilSub(manager, name, 'running')
  await untilLine(manager, name, 'Hello World')
  const pid = await mainPid(manager, name)
  const running = await manager.status(name)
  tt.equal(running.exitCode, 0)
  const stamp = String.raw`\w{3} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+; (\d+m?s ago|now)`
  const status = [
    '● hello\\.service - Hello World',
    ` {5}Loaded: loaded \\(${unitsDirectory}/hello\\.service; enabled-runtime\\)`,
    ` {5}Active: active \\(running\\) since ${stamp}`,
    ' {4}Process: \\d+ ExecStartPre=/bin/false \\(code=exited, status=1/FAILURE\\)',
    ` {3}Main PID: ${pid} \\(sh\\)`,
    ' {5}CGroup: none \\(embedded manager\\)',
    ` {13}[├└]─${pid} /bin/sh -c "trap 'exit 0' INT TERM; echo .*"`,
    '',
    `\\w{3} \\d\\d \\d\\d:\\d\\d:\\d\\d laptop systemd\\[${process.pid}\\]: Starting hello\\.service - Hello World\\.\\.\\.`,
    `.* systemd\\[${process.pid}\\]: Started hello\\.service - Hello World\\.`,
    `.* sh\\[${pid}\\]: Hello World`,
  ]
  tt.match(running.text, new RegExp(`^${status.slice(0, 7).join('\n')}`))
  tt.match(running.text, new RegExp(`\n${status.slice(7).join('\n')}\n$`))
  await manager.stop(name)
  await untilSub(manager, name, 'dead')
  tt.notOk(isAlive(pid))
  const stopped = await manager.status(name)
  tt.equal(stopped.exitCode, 3)
  tt.match(stopped.text, /^○ .*\n.*\n {5}Active: inactive \(dead\) since .*\n {3}Duration: \d/)
  tt.match(stopped.text, /Process: \d+ ExecStop=\/bin\/echo bye \(code=exited, status=0\/SUCCESS\)/)
  // The shell may say that its sleep was ended.
  const log = (await lines(manager, name)).filter((line) => line !== 'Terminated')
  tt.same(log, [
    'Starting hello.service - Hello World...',
    'Started hello.service - Hello World.',
    'Hello World',
    'Stopping hello.service - Hello World...',
    'bye',
    'hello.service: Deactivated successfully.',
    'Stopped hello.service - Hello World.',
  ])
  await manager.unload(name)
  tt.same(await manager.list(), [])
  tt.equal(await manager.read(name), undefined)
  const states = await manager.states([name])
  tt.same(states.get(name), { loadState: 'not-found', activeState: 'inactive', subState: 'dead' })
  tt.same(await manager.status(name), { text: `Unit ${name} could not be found.\n`, exitCode: 4 })
})

t.test('a program gets the arguments and variables that the unit says', { skip }, async (tt) => {
  const { manager, stateDirectory } = await embedded(tt, {
    environment: { BASE: 'base', A: 'below' },
  })
  const file = join(stateDirectory, 'env')
  writeFileSync(file, 'FROM_FILE="a b"\nB=file\n')
  process.env['PASSED_ON'] = 'yes'
  await manager.load(
    'env@x-y.service',
    `[Service]
Type=oneshot
Environment=A=1 B=2 "C=c d" GONE=1 SAME=1
EnvironmentFile=${file}
EnvironmentFile=-/nonexistent
PassEnvironment=PASSED_ON NOT_SET
UnsetEnvironment=GONE SAME=2
WorkingDirectory=/tmp
ExecStart=@/bin/sh name -c 'echo "$$0|$$A|$$B|$$BASE|$$FROM_FILE|$$PASSED_ON|$$GONE|$$SAME|$$(pwd)|%i|%I|%m|%H"; echo "<3>bad"; for a; do echo "[$$a]"; done' sh $C \${C} \${NONE} x$C
ExecStart=/bin/sh -c 'echo "main $$MAINPID $$INVOCATION_ID $$PATH" >&2'
ExecStopPost=/bin/sh -c 'echo "$$SERVICE_RESULT $$EXIT_CODE $$EXIT_STATUS"; printf "no newline"'
`,
  )
  await manager.start('env@x-y.service')
  await untilSub(manager, 'env@x-y.service', 'dead')
  const all = await lines(manager, 'env@x-y.service')
  tt.same(all.slice(1, 7), [
    'sh|1|file|base|a b|yes||1|/tmp|x-y|x/y|0123456789abcdef0123456789abcdef|laptop.example',
    'bad',
    '[c]',
    '[d]',
    '[c d]',
    '[]',
  ])
  tt.equal(all[7], '[x$C]')
  tt.match(all[8], /^main {2}[0-9a-f]{32} \/usr\/local\/sbin:/)
  tt.same(all.slice(9, 11), ['success exited 0', 'no newline'])
  const json = await lines(manager, 'env@x-y.service', 'json')
  const bad: unknown = JSON.parse(json[2] ?? '')
  tt.match(bad, {
    MESSAGE: 'bad',
    PRIORITY: '3',
    SYSLOG_IDENTIFIER: 'sh',
    _SYSTEMD_UNIT: 'env@x-y.service',
  })
})

t.test('a daemon that left its session belongs to the unit still', { skip }, async (tt) => {
  const { manager } = await embedded(tt)
  const name = 'daemon.service'
  await manager.load(
    name,
    '[Service]\nExecStart=/bin/sh -c "setsid sleep 1000 & echo $$!; exec sleep 1001"\n',
  )
  await manager.start(name)
  while ((await lines(manager, name)).length < 2) await new Promise((next) => setImmediate(next))
  const daemon = Number((await lines(manager, name)).find((line) => /^\d+$/.test(line)))
  tt.ok(isAlive(daemon))
  await manager.stop(name)
  await untilSub(manager, name, 'dead')
  tt.notOk(isAlive(daemon))
})

t.test('a job of its own group belongs to the unit still', { skip }, async (tt) => {
  const { manager } = await embedded(tt)
  const name = 'jobs.service'
  // timeout(1) makes a group, as a shell does for its jobs, and env -i takes the invocation ID away.
  await manager.load(
    name,
    `[Service]
ExecStart=/bin/sh -c 'env -i timeout 1000 sleep 1000 & until [ $$! = "$$(cut -d" " -f5 /proc/$$!/stat)" ]; do :; done; echo $$!; exit 3'
`,
  )
  await manager.start(name)
  await untilSub(manager, name, 'failed')
  const job = Number((await lines(manager, name)).find((line) => /^\d+$/.test(line)))
  tt.ok(job > 1)
  tt.notOk(isAlive(job))
})

t.test('KillMode=process leaves children alone, killOnClose does not', { skip }, async (tt) => {
  const { manager } = await embedded(tt)
  const name = 'left.service'
  await manager.load(
    name,
    '[Service]\nKillMode=process\nExecStart=/bin/sh -c "sleep 1000 & echo $$!; wait"\n',
  )
  await manager.start(name)
  while ((await lines(manager, name)).length < 2) await new Promise((next) => setImmediate(next))
  const child = Number((await lines(manager, name)).find((line) => /^\d+$/.test(line)))
  await manager.stop(name)
  await untilSub(manager, name, 'dead')
  tt.ok(isAlive(child))
  await manager.close()
  tt.notOk(isAlive(child))
  await tt.rejects(manager.start(name), { code: 'CLOSED' })
  await tt.resolves(manager.close(), 'twice is no harm')
})

t.test(
  'a changed file counts after reload for what runs, at once for what does not',
  { skip },
  async (tt) => {
    const { manager } = await embedded(tt)
    const text = (word: string): string =>
      `[Unit]\nDescription=${word}\n[Service]\nExecStart=/bin/sleep 1000\n`
    await manager.load('a.service', text('one'))
    await manager.load('a.service', text('two'))
    tt.match((await manager.status('a.service')).text, '○ a.service - two')
    await manager.start('a.service')
    const pid = await mainPid(manager, 'a.service')
    await manager.load('a.service', text('three'))
    tt.match((await manager.status('a.service')).text, '● a.service - two')
    await manager.reload()
    tt.match((await manager.status('a.service')).text, '● a.service - three')
    tt.equal(await mainPid(manager, 'a.service'), pid, 'the process is not touched')
    await manager.start('a.service')
    tt.equal(await mainPid(manager, 'a.service'), pid, 'nor by another start')
  },
)

t.test('a unit may be unloaded while it goes down, and come again', { skip }, async (tt) => {
  const clock = new FakeClock()
  const { manager } = await embedded(tt, { clock })
  const name = 'slow.service'
  const text = `[Service]\nExecStart=/bin/sh -c "trap '' TERM; echo ready; while true; do sleep 0.05; done"\n`
  await manager.load(name, text)
  await manager.start(name)
  await untilLine(manager, name, 'ready')
  await manager.stop(name)
  await manager.unload(name)
  tt.same((await manager.states([name])).get(name), {
    loadState: 'not-found',
    activeState: 'deactivating',
    subState: 'stop-sigterm',
  })
  await manager.load(name, text)
  await manager.start(name)
  clock.advance(90_000)
  await untilSub(manager, name, 'running')
  await manager.stop(name)
  await manager.unload(name)
  clock.advance(90_000)
  await untilSub(manager, name, 'dead')
  tt.equal((await manager.states([name])).get(name)?.loadState, 'not-found')
})

t.test('several who start a unit at once start it once', { skip }, async (tt) => {
  const { manager } = await embedded(tt)
  const name = 'a.service'
  await manager.load(name, '[Service]\nExecStart=/bin/sleep 1000\n')
  await Promise.all([manager.start(name), manager.start(name), manager.start(name)])
  tt.same(await lines(manager, name), [`Started ${name}.`])
})

t.test('a start that an unload or the end overtakes is refused', { skip }, async (tt) => {
  const { manager, stateDirectory } = await embedded(tt)
  const text = '[Service]\nExecStart=/bin/sleep 1000\n'
  await manager.load('a.service', text)
  const overtaken = tt.rejects(manager.start('a.service'), { code: 'NO_SUCH_UNIT' })
  await manager.unload('a.service')
  await overtaken
  tt.same(readdirSync(join(stateDirectory, 'output')), [])
  await manager.load('a.service', text)
  const last = tt.rejects(manager.start('a.service'), { code: 'CLOSED' })
  await manager.close()
  await last
})

t.test('nothing but the journal is left of a unit that was unloaded', { skip }, async (tt) => {
  const { manager, stateDirectory } = await embedded(tt)
  const name = 'a.service'
  await manager.load(name, '[Service]\nType=oneshot\nExecStart=/bin/true\n')
  await manager.start(name)
  await untilSub(manager, name, 'dead')
  await manager.unload(name)
  const left = ['output', 'units', 'journal'].map((part) => readdirSync(join(stateDirectory, part)))
  tt.same(left, [[], [], ['a.service.log']])
})

t.test('changes are told once a turn', { skip }, async (tt) => {
  const { manager } = await embedded(tt)
  const told: string[] = []
  const off = manager.onChange((name) => told.push(name))
  await manager.load(
    'a.service',
    '[Service]\nType=oneshot\nExecStart=/bin/true\nRemainAfterExit=yes\n',
  )
  await manager.start('a.service')
  await untilSub(manager, 'a.service', 'exited')
  tt.ok(
    told.length >= 1 && told.length <= 3 && told.every((name) => name === 'a.service'),
    told.join(),
  )
  off()
  const before = told.length
  await manager.stop('a.service')
  await new Promise((next) => setTimeout(next, 0))
  tt.equal(told.length, before)
})

t.test(
  'a journal is followed until its signal, or the end of the manager',
  { skip },
  async (tt) => {
    const { manager, stateDirectory } = await embedded(tt)
    const name = 'log.service'
    await manager.load(
      name,
      '[Service]\nExecStart=/bin/sh -c "i=0; while true; do i=$$((i+1)); echo line $$i; sleep 0.01; done"\n',
    )
    await manager.start(name)
    const abort = new AbortController()
    const seen: string[] = []
    for await (const line of manager.journal(name, {
      lines: 0,
      follow: true,
      output: 'cat',
      signal: abort.signal,
    })) {
      if (line.startsWith('line')) seen.push(line)
      if (seen.length === 5) abort.abort()
    }
    const [first = ''] = seen
    const number = Number(first.slice(5))
    tt.same(
      seen,
      [0, 1, 2, 3, 4].map((index) => `line ${number + index}`),
      'none twice, none left out',
    )
    tt.ok(
      readFileSync(join(stateDirectory, 'journal', 'log.service.log'), 'utf8').includes(
        '"m":"line 1"',
      ),
    )
    const rest = (async () => {
      let last = ''
      for await (const line of manager.journal(name, { lines: 1, follow: true, output: 'cat' }))
        last = line
      return last
    })()
    await manager.close()
    tt.equal(await rest, 'Stopped log.service.')
  },
)

t.test(
  'a follower stays when its unit is not there yet, goes and comes again',
  { skip },
  async (tt) => {
    const { manager } = await embedded(tt)
    const name = 'a.service'
    const follower = manager.journal(name, { lines: 0, follow: true, output: 'cat' })
    const seen: string[] = []
    const reading = (async () => {
      for await (const line of follower) {
        if (/^(one|two)$/.test(line)) seen.push(line)
      }
    })()
    for (const word of ['one', 'two']) {
      await manager.load(name, `[Service]\nType=oneshot\nExecStart=/bin/echo ${word}\n`)
      await manager.start(name)
      await untilLine(manager, name, word)
      await untilSub(manager, name, 'dead')
      await manager.unload(name)
    }
    await manager.close()
    await reading
    tt.same(seen, ['one', 'two'])
    const late = manager.journal(name, { lines: 1, follow: true, output: 'cat' })
    const rest: string[] = []
    for await (const line of late) rest.push(line)
    tt.equal(rest.length, 1, 'after the end there is nothing to wait for')
  },
)

t.test('directories may be relative; units are told absolute ones', { skip }, async (tt) => {
  const where = await directories(tt)
  const { manager } = await embedded(tt, {
    unitsDirectory: relative('', where.unitsDirectory),
    stateDirectory: relative('', where.stateDirectory),
  })
  const name = 'a.service'
  await manager.load(name, '[Service]\nType=oneshot\nExecStart=/bin/echo %t %Y\n')
  await manager.start(name)
  await untilLine(manager, name, `${where.stateDirectory}/run ${where.unitsDirectory}`)
})

t.test('one state directory has one manager', { skip }, async (tt) => {
  const { stateDirectory } = await embedded(tt)
  const where = await directories(tt)
  const second = createEmbeddedManager({ ...where, stateDirectory, machineID: 'm' })
  await tt.rejects(second, {
    code: 'LOCKED',
    message: `${stateDirectory} is in use by the manager with PID ${process.pid}.`,
  })
})
