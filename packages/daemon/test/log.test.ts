import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { createLogger, formatLine, isJournal } from '../src/log.ts'

const now = new Date(Date.UTC(2015, 0, 2, 3, 4, 5, 6))
const terminal = { journal: false, now }
const journal = { journal: true, now }

t.test('a line has its time and level, or the priority that the journal reads', async (tt) => {
  tt.equal(
    formatLine('warn', 'raft: lost leader', { term: 4 }, terminal),
    '2015-01-02T03:04:05.006Z WARN  raft: lost leader term=4\n',
  )
  const levels = ['error', 'warn', 'info', 'debug'] as const
  tt.same(
    levels.map((level) => formatLine(level, 'x', {}, terminal).slice(25)),
    ['ERROR x\n', 'WARN  x\n', 'INFO  x\n', 'DEBUG x\n'],
  )
  tt.same(
    levels.map((level) => formatLine(level, 'x', {}, journal)),
    ['<3>x\n', '<4>x\n', '<6>x\n', '<7>x\n'],
  )
})

t.test('a value is quoted when it would not read back as one word', async (tt) => {
  const cases: [value: string | number | boolean | bigint, text: string][] = [
    ['plain/path:1,[x]', 'plain/path:1,[x]'],
    ['ä', 'ä'],
    [4, '4'],
    [false, 'false'],
    [18446744073709551615n, '18446744073709551615'],
    ['', '""'],
    ['a b', '"a b"'],
    ['a=b', '"a=b"'],
    ['say "x"', '"say \\"x\\""'],
    ['a\nb', '"a\\nb"'],
    ['a\tb\r', '"a\\tb\\r"'],
    ['\u001b[31m', '"\\u001b[31m"'],
    ['\u007f', '"\\u007f"'],
    ['\u009b31m', '"\\u009b31m"'],
  ]
  for (const [value, text] of cases)
    tt.equal(formatLine('info', 'm', { v: value }, journal), `<6>m v=${text}\n`)
  tt.equal(formatLine('info', 'm', { a: 1, b: undefined, c: 2 }, journal), '<6>m a=1 c=2\n')
})

t.test('nothing in a message breaks the line or reaches the terminal as a command', async (tt) => {
  tt.equal(
    formatLine('info', 'a\nb\r\tc\u0000\u001b[2J\u0085', {}, journal),
    '<6>a\\nb\\r\\tc\\u0000\\u001b[2J\\u0085\n',
  )
})

t.test('a logger drops what is below its level', async (tt) => {
  const lines: string[] = []
  const sink = { write: (line: string) => lines.push(line), writableLength: 0 }
  const log = createLogger({ sink, journal: true })
  const say = (): string => {
    lines.length = 0
    log.error('e')
    log.warn('w', { n: 1 })
    log.info('i')
    log.debug('d')
    return lines.join('')
  }
  tt.equal(say(), '<3>e\n<4>w n=1\n<6>i\n', 'info is the usual level')
  log.setLevel('debug')
  tt.equal(say(), '<3>e\n<4>w n=1\n<6>i\n<7>d\n')
  log.setLevel('error')
  tt.equal(say(), '<3>e\n')
  tt.equal(log.dropped, 0, 'lines below the level are not counted as lost')
})

t.test(
  'a logger takes the time from its clock and its first level from the options',
  async (tt) => {
    const lines: string[] = []
    const sink = { write: (line: string) => lines.push(line), writableLength: 0 }
    createLogger({ sink, level: 'debug', now: () => now }).debug('x')
    createLogger({ sink, level: 'error', now: () => now }).warn('x')
    createLogger({ sink }).info('real clock')
    tt.equal(lines[0], '2015-01-02T03:04:05.006Z DEBUG x\n')
    tt.match(lines[1], /^\d{4}-\d\d-\d\dT[\d:.]{12}Z INFO  real clock\n$/)
    tt.equal(lines.length, 2)
  },
)

t.test('a reader that is stuck costs lines, not memory', async (tt) => {
  const lines: string[] = []
  const sink = { write: (line: string) => lines.push(line), writableLength: 1 << 20 }
  const log = createLogger({ sink })
  log.info('at the limit')
  sink.writableLength += 1
  log.info('above it')
  log.info('above it')
  sink.writableLength = 0
  log.info('read again')
  tt.match(lines, [/at the limit/, /read again/])
  tt.equal(lines.length, 2)
  tt.equal(log.dropped, 2)
})

t.test('stderr is the journal only when it is the file that systemd names', async (tt) => {
  const stderr = (): { dev: bigint; ino: bigint } => ({ dev: 9n, ino: 1234n })
  tt.equal(isJournal({ JOURNAL_STREAM: '9:1234' }, stderr), true)
  tt.equal(isJournal({ JOURNAL_STREAM: '9:1235' }, stderr), false, 'inherited, stderr is another')
  tt.equal(isJournal({ JOURNAL_STREAM: '' }, stderr), false)
  tt.equal(isJournal({}, stderr), false)
  tt.equal(isJournal({ JOURNAL_STREAM: '0:0' }), false, "looks at the process's own stderr")
})

t.test('modules in linked packages are still found when stderr is a socket', async (tt) => {
  const log = new URL('../src/log.js', import.meta.url).href
  const dir = tt.testdir({
    real: { 'index.mjs': 'export { default } from "../beside.mjs"', 'package.json': '{}' },
    'beside.mjs': "export default 'found'",
    deeper: { link: tt.fixture('symlink', '../real') },
    'main.mjs': `
      import { fstatSync } from 'node:fs'
      import { isJournal } from ${JSON.stringify(log)}
      const { dev, ino } = fstatSync(2, { bigint: true })
      const journal = isJournal({ JOURNAL_STREAM: dev + ':' + ino })
      const { default: text } = await import("./deeper/link/index.mjs")
      console.log(journal, text)`,
  })
  // What a child process is given as a pipe is a socket, as the journal's stream is.
  // And tap has children resolve modules in another thread, by a variable that env -i takes away.
  const argv = ['-i', process.execPath, join(dir, 'main.mjs')]
  const { stdout, stderr } = spawnSync('env', argv, { encoding: 'utf8' })
  tt.equal(stderr, '')
  tt.equal(stdout, 'true found\n')
})
