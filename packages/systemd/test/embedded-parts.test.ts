/** The parts of the embedded manager that can be tried one by one. */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { findGroup, findUser } from '../src/embedded/accounts.ts'
import { systemClock } from '../src/embedded/clock.ts'
import {
  Journal,
  type JournalEntry,
  RING_CHARS_MAX,
  RING_ENTRIES_MAX,
} from '../src/embedded/journal.ts'
import { followJournal } from '../src/embedded/journal-follow.ts'
import { journalFormatter } from '../src/embedded/journal-format.ts'
import { LineSplitter, makeFifo, OutputPipe, parseOutput } from '../src/embedded/output.ts'
import { RateLimit } from '../src/embedded/rate-limit.ts'
import { renderStatus, renderUnknown } from '../src/embedded/status.ts'
import { INITIAL_STATE, type MachineState } from '../src/service/machine-state.ts'
import { parseService } from '../src/service/service.ts'
import { listUnits, readUnit, writeUnit } from '../src/unit-files.ts'
import { CONTEXT } from './helpers/context.ts'

const skip = process.platform === 'linux' ? false : 'needs Linux'

const entry = (message: string, timeMs = 0): Omit<JournalEntry, 'seq'> => ({
  timeMs,
  pid: 7,
  identifier: 'sh',
  priority: 6,
  message,
})

const messages = (entries: readonly { readonly message: string }[]): string[] =>
  entries.map(({ message }) => message)

t.test('a journal keeps the newest entries in memory and all of two files on disk', (tt) => {
  const path = join(tt.testdir(), 'a', 'x.log')
  const journal = new Journal(path, 20_000)
  const count = RING_ENTRIES_MAX + 200
  for (let index = 1; index <= count; index += 1) journal.append(entry(`line ${index}`))
  tt.same(messages(journal.tail(2)), [`line ${count - 1}`, `line ${count}`])
  tt.equal(journal.tail(RING_ENTRIES_MAX).length, RING_ENTRIES_MAX)
  tt.equal(journal.after(0).length, RING_ENTRIES_MAX)
  tt.ok(
    statSync(path).size < 21_000 && statSync(`${path}.1`).size < 21_000,
    'files are turned over',
  )
  journal.close()
  journal.append(entry('after the end'))
  tt.notOk(readFileSync(path, 'utf8').includes('after the end'))
  const again = new Journal(path, 20_000)
  tt.equal(again.tail(1)[0]?.message, `line ${count}`)
  const onDisk = readFileSync(`${path}.1`, 'utf8') + readFileSync(path, 'utf8')
  tt.equal(again.tail(10_000).length, onDisk.trim().split('\n').length)
  again.close()
  tt.end()
})

t.test('more than the memory holds comes from disk', (tt) => {
  const path = join(tt.testdir(), 'x.log')
  const journal = new Journal(path, 10_000_000)
  for (let index = 1; index <= RING_ENTRIES_MAX + 5; index += 1)
    journal.append(entry(`line ${index}`))
  const all = journal.tail(RING_ENTRIES_MAX + 3)
  tt.same([all.length, all[0]?.message, all[0]?.seq], [RING_ENTRIES_MAX + 3, 'line 3', 3])
  journal.close()
  tt.end()
})

t.test('long lines do not fill the memory', (tt) => {
  const journal = new Journal(join(tt.testdir(), 'x.log'), 10_000_000)
  const half = 'x'.repeat(RING_CHARS_MAX / 2)
  for (const message of [half, half]) journal.append(entry(message))
  tt.equal(journal.after(0).length, 2, 'at the limit')
  journal.append(entry('y'))
  tt.same(
    journal.after(0).map(({ seq }) => seq),
    [2, 3],
  )
  tt.same(
    journal.tail(3).map(({ seq, message }) => [seq, message.length]),
    [
      [1, half.length],
      [2, half.length],
      [3, 1],
    ],
    'the disk has the rest',
  )
  journal.append(entry('z'.repeat(RING_CHARS_MAX + 1)))
  tt.same(
    journal.after(0).map(({ seq }) => seq),
    [4],
    'a longer one stays alone',
  )
  journal.close()
  tt.end()
})

t.test('a journal survives a line cut short and a disk that refuses', (tt) => {
  const directory = tt.testdir({
    'x.log': '{"t":1,"pid":2,"id":"a","p":6,"m":"good"}\n{"t":1,"pi\nnull\n{"t":"x"}\n',
  })
  const journal = new Journal(join(directory, 'x.log'), 1000)
  tt.same(messages(journal.tail(9)), ['good'])
  journal.close()
  const lost = new Journal(join(directory, 'gone', 'z.log'), 1000)
  mkdirSync(join(directory, 'gone', 'z.log'), { recursive: true })
  lost.append(entry('one'))
  lost.append(entry('two'))
  const [one, problem, two] = messages(lost.tail(9))
  tt.same([one, two], ['one', 'two'])
  tt.match(problem, /^The journal file cannot be written, entries are kept in memory only: EISDIR/)
  lost.close()
  tt.end()
})

t.test('a reader that is slower than the ring is told what it missed', async (tt) => {
  const journal = new Journal(join(tt.testdir(), 'x.log'), 1_000_000)
  journal.append(entry('first'))
  const reader = followJournal(journal, { lines: 5, follow: true, output: 'cat' })
  tt.equal((await reader.next()).value?.message, 'first')
  for (let index = 0; index < RING_ENTRIES_MAX + 10; index += 1)
    journal.append(entry(`line ${index}`))
  tt.equal((await reader.next()).value?.message, 'Missed 10 entries, the reader was too slow.')
  tt.equal((await reader.next()).value?.message, 'line 10')
  await reader.return(undefined)
  const late = followJournal(journal, { lines: 0, follow: true, output: 'cat' })
  const next = late.next()
  journal.append(entry('news'))
  tt.equal((await next).value?.message, 'news')
  const end = late.next()
  journal.close()
  tt.equal((await end).done, true)
  const aborted = followJournal(journal, {
    lines: 1,
    follow: true,
    output: 'cat',
    signal: AbortSignal.abort(),
  })
  tt.equal((await aborted.next()).value?.message, 'news')
  tt.equal((await aborted.next()).done, true)
})

t.test('journal lines in the modes of journalctl', (tt) => {
  const context = { unit: 'a.service', hostname: 'sdm', machineID: 'm', bootID: 'b' }
  const time = new Date(2026, 10, 3, 5, 4, 17, 21).getTime()
  const one = { ...entry('hi', time), seq: 26 }
  const show = (mode: string): string => journalFormatter(mode, context)(one)
  tt.equal(show('short'), 'Nov 03 05:04:17 sdm sh[7]: hi')
  tt.equal(show('short-precise'), 'Nov 03 05:04:17.021000 sdm sh[7]: hi')
  tt.match(show('short-iso'), /^2026-11-03T05:04:17[+-]\d{4} sdm sh\[7\]: hi$/)
  tt.match(show('short-iso-precise'), /^2026-11-03T05:04:17\.021000[+-]\d{4} sdm sh\[7\]: hi$/)
  tt.match(show('short-full'), /^Tue 2026-11-03 05:04:17 \S+ sdm sh\[7\]: hi$/)
  tt.equal(show('short-unix'), `${Math.floor(time / 1000)}.021000 sdm sh[7]: hi`)
  tt.equal(show('cat'), 'hi')
  const json: unknown = JSON.parse(show('json'))
  tt.same(json, {
    __CURSOR: 'u=a.service;i=1a',
    __REALTIME_TIMESTAMP: String(time * 1000),
    _BOOT_ID: 'b',
    _MACHINE_ID: 'm',
    _HOSTNAME: 'sdm',
    _PID: '7',
    PRIORITY: '6',
    SYSLOG_IDENTIFIER: 'sh',
    _SYSTEMD_UNIT: 'a.service',
    MESSAGE: 'hi',
  })
  const own = { ...one, pid: 0, identifier: 'systemd' }
  tt.match(journalFormatter('json', context)(own), '"UNIT":"a.service"')
  tt.equal(journalFormatter('short', context)(own), 'Nov 03 05:04:17 sdm systemd: hi')
  tt.throws(() => journalFormatter('toString', context), {
    message: "Unknown output format 'toString'.",
  })
  tt.end()
})

t.test('no message looks like two entries or reaches the terminal as a command', (tt) => {
  const context = { unit: 'a.service', hostname: 'sdm', machineID: 'm', bootID: 'b' }
  const head = 'Nov 03 05:04:17 sdm sh[7]: '
  const table: readonly (readonly [string, string, unknown])[] = [
    ['tab\tand ü', 'tab\tand ü', 'tab\tand ü'],
    [
      'a\nNov 03 b: c\nd',
      `a\n${' '.repeat(27)}Nov 03 b: c\n${' '.repeat(27)}d`,
      'a\nNov 03 b: c\nd',
    ],
    ['\u001b[2J', '[4B blob data]', [27, 91, 50, 74]],
    ['a\rb', '[3B blob data]', [97, 13, 98]],
    ['\u009b', '[2B blob data]', [194, 155]],
    [`\u007f${'x'.repeat(1023)}`, '[1.0K blob data]', [127, ...Array<number>(1023).fill(120)]],
    [`\u007f${'x'.repeat(2046)}`, '[1.9K blob data]', [127, ...Array<number>(2046).fill(120)]],
  ]
  for (const [message, shown, json] of table) {
    const one = { ...entry(message, new Date(2026, 10, 3, 5, 4, 17).getTime()), seq: 1 }
    tt.equal(journalFormatter('short', context)(one), head + shown)
    tt.equal(journalFormatter('cat', context)(one), message)
    tt.match(JSON.parse(journalFormatter('json', context)(one)), { MESSAGE: json })
  }
  tt.end()
})

t.test('output is cut into lines as journald does', (tt) => {
  const splitter = new LineSplitter()
  const push = (text: string): unknown[] =>
    splitter.push(Buffer.from(text)).map((line) => parseOutput(line)?.message)
  tt.same(push('a\nb'), ['a'])
  tt.same(push('c\n\n  d \t\r\nrest'), ['bc', undefined, '  d'])
  tt.same(splitter.flush().map(String), ['rest'])
  tt.same(splitter.flush(), [])
  const long = splitter.push(Buffer.from(`${'x'.repeat(50_000)}\n`))
  tt.same(
    long.map(({ length }) => length),
    [49_152, 848],
  )
  tt.same(parseOutput(Buffer.from('<3>bad')), { priority: 3, message: 'bad' })
  tt.same(parseOutput(Buffer.from('<9>odd')), { priority: 6, message: '<9>odd' })
  tt.equal(parseOutput(Buffer.from('<3>')), undefined)
  tt.equal(parseOutput(Buffer.from([0x66, 0xff]))?.message, 'f\ufffd')
  tt.end()
})

t.test('a pipe keeps what is written while nobody reads', { skip }, async (tt) => {
  const path = join(tt.testdir({ 'x.main': 'no pipe' }), 'x.main')
  await makeFifo(path)
  await makeFifo(path)
  tt.equal(statSync(path).mode & 0o777, 0o600)
  const first = new OutputPipe(path, () => tt.fail('nothing is read before drain'))
  const writer = first.openWriter()
  writeFileSync(writer, 'one\ntwo')
  const seen: string[] = []
  const second = new OutputPipe(path, (line) => seen.push(line.toString()))
  second.drain()
  tt.same(seen, ['one', 'two'])
  second.close()
  first.close()
})

t.test('a unit may log ten thousand lines in half a minute', (tt) => {
  const limit = new RateLimit()
  const take = (now: number, count: number): number => {
    let allowed = 0
    for (let index = 0; index < count; index += 1) if (limit.take(now).isAllowed) allowed += 1
    return allowed
  }
  tt.equal(take(1000, 12_000), 10_000)
  tt.equal(take(30_999, 5), 0)
  tt.same(limit.take(31_000), { isAllowed: true, suppressed: 2005 })
  tt.same(limit.take(31_001), { isAllowed: true, suppressed: 0 })
  tt.same(limit.take(5), { isAllowed: true, suppressed: 0 }, 'a clock that went back begins anew')
  tt.end()
})

t.test('status texts of the states that a test cannot wait for', (tt) => {
  const service = parseService(
    'a.service',
    '[Unit]\nDescription=About\nDocumentation=man:a(1) https://b\n[Service]\nExecStartPre=/bin/p\nExecStart=/bin/x "a b"\n',
    CONTEXT,
  )
  const show = (
    state: Partial<MachineState>,
    processes: Parameters<typeof renderStatus>[0]['processes'] = [],
  ): string[] =>
    renderStatus({
      service,
      state: { ...INITIAL_STATE, ...state },
      unitPath: '/u/a.service',
      nowMs: 100_000,
      processes,
      lines: [],
    }).text.split('\n')
  tt.same(show({}), [
    '○ a.service - About',
    '     Loaded: loaded (/u/a.service; linked-runtime)',
    '     Active: inactive (dead)',
    '       Docs: man:a(1)',
    '             https://b',
    '',
  ])
  const main = { role: 'main', phase: 'ExecStart', index: 0, pid: 5, exit: undefined } as const
  const control = {
    role: 'control',
    phase: 'ExecStartPre',
    index: 0,
    pid: 6,
    exit: undefined,
  } as const
  const both = [
    { pid: 5, comm: 'x', argv: ['/bin/x', 'a b'] },
    { pid: 6, comm: 'p', argv: ['/bin/p', '', '$A "q"\n\u001b'] },
  ]
  tt.same(
    show(
      { sub: 'stop', activeExitMs: 40_000, result: 'timeout', processes: [main, control] },
      both,
    ).slice(2),
    [
      `     Active: deactivating (stop) (Result: timeout) since ${timestamp(40_000)}; 1min 0s ago`,
      '       Docs: man:a(1)',
      '             https://b',
      '   Main PID: 5 (x); Control PID: 6 (p)',
      '     CGroup: none (embedded manager)',
      '             ├─5 /bin/x "a b"',
      '             └─6 /bin/p "" "\\$A \\"q\\"\\n\\x1b"',
      '',
    ],
  )
  tt.equal(
    show({ sub: 'start-pre', inactiveExitMs: 99_000, processes: [control] }, both)[5],
    '  Cntrl PID: 6 (p)',
  )
  const gone = { ...main, index: 3, exit: { code: 'unknown', status: 0 } } as const
  tt.ok(
    show({ sub: 'failed', result: 'signal', processes: [gone] }).includes(
      '    Process: 5 ExecStart=n/a (code=unknown)',
    ),
  )
  tt.same(renderUnknown('x.service'), { text: 'Unit x.service could not be found.\n', exitCode: 4 })
  tt.end()
})

function timestamp(timeMs: number): string {
  const line = journalFormatter('short-full', {
    unit: '',
    hostname: 'H',
    machineID: '',
    bootID: '',
  })
  return line({ ...entry('', timeMs), seq: 1 }).replace(/ H .*/, '')
}

t.test('unit files are whole or not there, and only units are listed', async (tt) => {
  const directory = join(tt.testdir(), 'units')
  tt.same(await listUnits(directory), [])
  await writeUnit(directory, 'b@1.service', 'text')
  await writeFile(join(directory, '.c.service.1.tmp'), 'a crash left this')
  await writeFile(join(directory, 'a.timer'), '')
  await writeFile(join(directory, 'README'), '')
  tt.same(await listUnits(directory), ['a.timer', 'b@1.service'])
  tt.equal(await readUnit(directory, 'no.service'), undefined)
  await mkdir(join(directory, 'd.service'))
  for (const name of ['a b.service', 'ü.service', 'a+b.service'])
    await writeFile(join(directory, name), '')
  tt.same(await listUnits(directory), ['a.timer', 'b@1.service'], 'what cannot be a unit is none')
  await tt.rejects(writeUnit(directory, 'd.service', 'x'), { code: 'EISDIR' })
  await tt.rejects(readUnit(directory, 'd.service'), { code: 'EISDIR' })
  for (const name of ['', 'a', '../a.service', 'a/b.service', 'a b.service']) {
    await tt.rejects(readUnit(directory, name), { code: 'INVALID_NAME' }, name)
  }
  await tt.rejects(listUnits(join(directory, 'a.timer')), { code: 'ENOTDIR' })
})

t.test('a unit may have the longest name there is', async (tt) => {
  const directory = tt.testdir()
  const name = `${'a'.repeat(247)}.service`
  await writeUnit(directory, name, 'text')
  tt.equal(await readUnit(directory, name), 'text')
  tt.same(await listUnits(directory), [name])
})

t.test('of several who write a unit at once one wins, whole', async (tt) => {
  const directory = tt.testdir()
  const texts = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(1_000_000))
  await Promise.all(texts.map((text) => writeUnit(directory, 'a.service', text)))
  const written = (await readUnit(directory, 'a.service')) ?? ''
  tt.ok(texts.includes(written))
  tt.same(readdirSync(directory), ['a.service'], 'nothing else stays')
})

t.test('accounts', (tt) => {
  const passwd = tt.testdir({
    passwd: 'root:x:0:0:root:/root:/bin/bash\ncore:x:500:501:CoreOS:/home/core:/bin/sh\n',
    group: 'root:x:0:\ndocker:x:233:core\n',
  })
  tt.same(findUser('core', join(passwd, 'passwd')), {
    uid: 500,
    gid: 501,
    name: 'core',
    home: '/home/core',
    shell: '/bin/sh',
  })
  tt.equal(findUser('500', join(passwd, 'passwd'))?.name, 'core')
  tt.equal(findUser('nobody', join(passwd, 'passwd')), undefined)
  tt.equal(findGroup('docker', join(passwd, 'group')), 233)
  tt.equal(findGroup('0', join(passwd, 'group')), 0)
  tt.equal(findGroup('x', join(passwd, 'group')), undefined)
  tt.end()
})

t.test('the clock', async (tt) => {
  const before = Date.now()
  tt.ok(systemClock.now() >= before)
  await new Promise<void>((resolve) => systemClock.after(1, resolve))
  systemClock.after(1, () => tt.fail('was cancelled'))()
  systemClock.after(2 ** 40, () => tt.fail('is far away'))()
})
