import { EventEmitter, once } from 'node:events'
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { watch } from 'node:fs/promises'
import t from 'tap'
import { takeListenFds } from '../src/listen-fds.ts'
import { keepWatchdog, notify, watchdogIntervalMs } from '../src/notify.ts'
import { awaitTermination, endsWithin } from '../src/signals.ts'

/** A directory for PATH whose systemd-notify writes what it was given to `said`. */
function fakeNotify(dir: string, exit = 0): { PATH: string; NOTIFY_SOCKET: string } {
  const script = `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >> '${dir}/said'\nexit ${exit}\n`
  writeFileSync(join(dir, 'systemd-notify'), script)
  chmodSync(join(dir, 'systemd-notify'), 0o755)
  return { PATH: `${dir}:/usr/bin:/bin`, NOTIFY_SOCKET: '@/abstract' }
}

t.test(
  'notify hands the states to systemd-notify with the socket of the environment',
  async (tt) => {
    const dir = tt.testdir()
    const env = fakeNotify(dir)
    tt.equal(await notify(env, ['READY=1', 'STATUS=two words']), undefined)
    tt.equal(readFileSync(join(dir, 'said'), 'utf8'), '@/abstract READY=1 STATUS=two words\n')
  },
)

t.test('notify does nothing for a process that systemd did not start', async (tt) => {
  const dir = tt.testdir({ said: '' })
  const { PATH } = fakeNotify(dir)
  tt.equal(await notify({ PATH }, ['READY=1']), undefined)
  tt.equal(await notify({ PATH, NOTIFY_SOCKET: '' }, ['READY=1']), undefined)
  tt.equal(readFileSync(join(dir, 'said'), 'utf8'), '')
})

t.test('notify says what went wrong instead of throwing', async (tt) => {
  const failing = fakeNotify(tt.testdir(), 1)
  tt.match(await notify(failing, ['READY=1']), /^systemd-notify: Command failed/)
  const missing = { PATH: tt.testdir(), NOTIFY_SOCKET: '/x' }
  tt.match(await notify(missing, ['READY=1']), /^systemd-notify: .*ENOENT/)
})

const RECEIVER =
  'socket(S, AF_UNIX, SOCK_DGRAM, 0) && bind(S, sockaddr_un($ARGV[0])) or die $!;' +
  '$| = 1; print "bound\\n"; while (defined recv(S, $text, 4096, 0)) { print $text }'
const needs = [
  ['systemd-notify', '--version'],
  ['perl', '-MSocket', '-e1'],
].filter(([program = '', ...args]) => spawnSync(program, args).status !== 0)

t.test(
  'the real systemd-notify reaches a datagram socket',
  { skip: needs.length > 0 && `not here: ${needs.map(([program]) => program).join(', ')}` },
  async (tt) => {
    // A socket's path has at most 107 bytes; the one of testdir() is longer.
    const dir = mkdtempSync(join(tmpdir(), 'notify-'))
    tt.teardown(() => rmSync(dir, { recursive: true }))
    const socket = join(dir, 'socket')
    const receiver = spawn('perl', ['-MSocket', '-e', RECEIVER, socket])
    tt.teardown(() => receiver.kill())
    tt.equal(String(await once(receiver.stdout, 'data')), 'bound\n')
    const said = once(receiver.stdout, 'data')
    const path = process.env['PATH']
    tt.equal(await notify({ PATH: path, NOTIFY_SOCKET: socket }, ['READY=1']), undefined)
    tt.match(String(await said), /^READY=1\n?(BARRIER=1)?$/)
  },
)

t.test('the watchdog is pinged at half of what systemd asks for', async (tt) => {
  const cases: [env: Record<string, string>, ms: number | undefined][] = [
    [{}, undefined],
    [{ WATCHDOG_USEC: '' }, undefined],
    [{ WATCHDOG_USEC: '30000000' }, 15_000],
    [{ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '7' }, 15_000],
    [{ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '8' }, undefined],
    [{ WATCHDOG_USEC: '1' }, 1],
    [{ WATCHDOG_USEC: '4294967294000' }, 2_147_483_647],
    [{ WATCHDOG_USEC: '5184000000000' }, 2_147_483_647],
    [{ WATCHDOG_USEC: '0' }, undefined],
    [{ WATCHDOG_USEC: '-5' }, undefined],
    [{ WATCHDOG_USEC: 'often' }, undefined],
  ]
  for (const [env, ms] of cases)
    tt.equal(watchdogIntervalMs(env, 7), ms, `${JSON.stringify(env)}: ${ms}`)
})

t.test('the watchdog is pinged until the daemon stops', async (tt) => {
  const dir = tt.testdir({ said: '' })
  const stopping = new AbortController()
  keepWatchdog({ ...fakeNotify(dir), WATCHDOG_USEC: '20000' }, process.pid, stopping.signal)
  for await (const { filename } of watch(dir))
    if (filename === 'said' && /WATCHDOG=1/.test(readFileSync(join(dir, 'said'), 'utf8'))) break
  stopping.abort()
  tt.match(readFileSync(join(dir, 'said'), 'utf8'), /^@\/abstract WATCHDOG=1\n/)
})

t.test('no watchdog, or a daemon that stops already: no timer', async (tt) => {
  const before = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  keepWatchdog({ NOTIFY_SOCKET: '/x' }, 7, new AbortController().signal)
  keepWatchdog({ NOTIFY_SOCKET: '/x', WATCHDOG_USEC: '30000000' }, 7, AbortSignal.abort())
  const after = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  tt.equal(after, before)
})

t.test('sockets passed by systemd are taken once, by the process they are for', async (tt) => {
  const cases: [fds: string, pid: string, names: string | undefined, found: [number, string][]][] =
    [
      ['1', '7', undefined, [[3, 'unknown']]],
      [
        '3',
        '7',
        'client:peer',
        [
          [3, 'client'],
          [4, 'peer'],
          [5, 'unknown'],
        ],
      ],
      [
        '2',
        '7',
        ':b',
        [
          [3, 'unknown'],
          [4, 'b'],
        ],
      ],
      ['0', '7', undefined, []],
      ['1', '8', undefined, []],
      ['', '7', undefined, []],
      ['1e3', '7', undefined, []],
      ['-1', '7', undefined, []],
      ['1.5', '7', undefined, []],
      ['4294967296', '7', undefined, []],
    ]
  for (const [fds, pid, names, found] of cases) {
    const env = { LISTEN_FDS: fds, LISTEN_PID: pid, LISTEN_FDNAMES: names, PATH: '/bin' }
    const taken = takeListenFds(env, 7).map(({ fd, name }) => [fd, name])
    tt.same(taken, found, `LISTEN_FDS=${fds} LISTEN_PID=${pid} LISTEN_FDNAMES=${names}`)
    tt.same(env, { PATH: '/bin' }, 'children do not inherit the claim')
  }
  tt.same(takeListenFds({}, 7), [])
})

t.test('the first signal is reported, the second one ends the process', async (tt) => {
  for (const signals of [
    ['SIGTERM', 'SIGINT'],
    ['SIGINT', 'SIGINT'],
  ] as const) {
    const source = new EventEmitter()
    let seconds = 0
    const termination = awaitTermination(source, () => (seconds += 1))
    source.emit(signals[0])
    tt.equal(await termination.received, signals[0])
    tt.equal(seconds, 0)
    source.emit(signals[1])
    tt.equal(seconds, 1)
    termination.close()
    tt.same([source.listenerCount('SIGTERM'), source.listenerCount('SIGINT')], [0, 0])
  }
})

t.test('work either ends in time or does not', async (tt) => {
  tt.equal(await endsWithin(Promise.resolve('x'), 60_000), true)
  tt.equal(await endsWithin(new Promise(() => undefined), 1), false)
  await tt.rejects(endsWithin(Promise.reject(new Error('broken')), 60_000), { message: 'broken' })
})
