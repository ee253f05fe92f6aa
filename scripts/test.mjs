#!/usr/bin/env node
// Runs every check and test and ends with `N passed, N failed, N skipped`.
//   node scripts/test.mjs [--quick | --coverage] [FILE...]
// --quick leaves out what boots machines, kills daemons or replays recordings. FILEs are compiled tests.
// FLOTILLA_TEST_MINUTES: how long one file may take (30); a long run of a drill needs more.
import { spawn } from 'node:child_process'
import { createWriteStream, existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const args = process.argv.slice(2)
const isQuick = args.includes('--quick')
const isCoverage = args.includes('--coverage')
const named = args.filter((arg) => !arg.startsWith('--'))
const bins = [join(root, '.tools/node_modules/.bin'), join(root, 'node_modules/.bin')]
const env = {
  ...process.env,
  PATH: [...bins, process.env.PATH].join(':'),
  TURBO_TELEMETRY_DISABLED: '1',
  DO_NOT_TRACK: '1',
}
// A bundle of certificates costs every Node process 60 ms at its start; no test needs one.
delete env.NODE_EXTRA_CA_CERTS

/** Tests that own the machine: they measure, boot machines or fill tables of the kernel. */
const isAlone = (file) => file.startsWith('test/') || file.includes('/test/drills/')

const total = { passed: 0, failed: 0, skipped: 0 }
const failures = []

/** A process that a test left behind must not hold up all others. */
const LEFT_MS = 60_000

function run(command, argv, onLine, options = {}) {
  return new Promise((resolve) => {
    const stdio = ['ignore', 'pipe', 'pipe']
    const child = spawn(command, argv, { cwd: root, env, stdio, ...options })
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream }).on('line', onLine)
    child.on('error', (error) => onLine(String(error)))
    child.on('exit', () => {
      const leave = () => {
        onLine(`not ok - something that ${argv.at(-1)} started still holds its output`)
        child.stdout.destroy()
        child.stderr.destroy()
        resolve(1)
      }
      const timer = setTimeout(leave, LEFT_MS)
      child.on('close', () => clearTimeout(timer))
    })
    child.on('close', (code) => resolve(code ?? 1))
  })
}

/** A tool that says yes or no: one test. */
async function check(name, command, argv) {
  const lines = []
  const code = await run(command, argv, (line) => lines.push(line))
  if (code === 0) total.passed += 1
  else {
    total.failed += 1
    failures.push(name)
    process.stdout.write(`${lines.join('\n')}\n`)
  }
  process.stdout.write(`${code === 0 ? 'ok' : 'not ok'} - ${name}\n`)
}

/** A whole number of minutes from the environment. */
function minutesFrom(name, fallback) {
  const text = process.env[name]
  if (text === undefined || text === '') return fallback
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text)
  process.stderr.write(`${name}: ${text} is no whole number from 1 to 9999\n`)
  process.exit(2)
}

/** tap's closing comment: `# { total: 4, pass: 3, fail: 1, skip: 1 }`. */
function readCounts(line) {
  const found = /^# \{(.*)\}$/.exec(line)
  if (found === null) return undefined
  const of = (name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(found[1])?.[1] ?? 0)
  return { passed: of('pass'), failed: of('fail'), skipped: of('skip') + of('todo') }
}

/** Reads what tap prints: counts, and which lines tell of a failure. */
class TapReader {
  counts
  #diagnostics = 0
  #isLeftOut = false

  isTelling(line) {
    this.counts = readCounts(line) ?? this.counts
    // A whole file that says why it has no tests here.
    if (/^1\.\.0 # \S/.test(line)) this.#isLeftOut = true
    if (this.#isLeftOut && this.counts?.skipped === 0) this.counts.skipped = 1
    const isFailure = /^\s*not ok\b/.test(line) && !/# (SKIP|TODO)\b/.test(line)
    if (isFailure) this.#diagnostics = 40
    if (this.#diagnostics === 0) return false
    this.#diagnostics = /^\s*\.\.\.$/.test(line) ? 0 : this.#diagnostics - 1
    return true
  }
}

/** Adds it up. True when all is well. */
function count(name, counts, code) {
  const none = counts === undefined || counts.passed + counts.failed + counts.skipped === 0
  total.passed += counts?.passed ?? 0
  total.failed += counts?.failed ?? 0
  total.skipped += counts?.skipped ?? 0
  if (none || (code !== 0 && counts.failed === 0)) {
    total.failed += 1
    failures.push(`${name}: ${none ? 'no test ran' : `it ended with status ${code}`}`)
  } else if (counts.failed > 0) failures.push(`${name}: ${counts.failed} assertions`)
  return !none && code === 0
}

/** A program that tap itself cannot end any more is ended after this. */
const HUNG_MS = minutesFrom('FLOTILLA_TEST_MINUTES', 30) * 60_000
/** Seconds, as in .taprc. */
const TAP_TIMEOUT = '600'
let shown = 0

/** Runs one file, and shows a line for it and everything that fails. */
async function runFile(file, log) {
  const reader = new TapReader()
  const lines = []
  const told = []
  const began = performance.now()
  const options = {
    env: { ...env, TAP: '1', TAP_TIMEOUT },
    timeout: HUNG_MS,
    killSignal: 'SIGKILL',
  }
  const argv = ['--enable-source-maps', file]
  const code = await run(
    process.execPath,
    argv,
    (line) => {
      lines.push(line)
      if (reader.isTelling(line)) told.push(`    ${line}`)
    },
    options,
  )
  const isOk = count(file, reader.counts, code)
  // What it said last, when it did not come to its end.
  if (reader.counts === undefined) told.push(...lines.slice(-20).map((line) => `    ${line}`))
  shown += 1
  const title = `${isOk ? 'ok' : 'not ok'} ${shown} - ${file} # time=${(performance.now() - began).toFixed(0)}ms`
  log.write([`# Subtest: ${file}`, ...lines.map((line) => `    ${line}`), title, ''].join('\n'))
  process.stdout.write([...told, title, ''].join('\n'))
}

/**
 * Runs test files, each by itself: with tap's own runner, which follows every process that a test starts,
 * each of them would take half a second longer. Coverage needs that runner.
 */
async function runTap(name, files, jobs) {
  if (files.length === 0) return
  mkdirSync(join(root, '.tap'), { recursive: true })
  const log = createWriteStream(join(root, `.tap/${name}.tap`))
  if (isCoverage) {
    const reader = new TapReader()
    const argv = ['run', '-R', 'tap', `--jobs=${jobs}`]
    argv.push('--no-disable-coverage', '--allow-incomplete-coverage', ...files)
    const code = await run('tap', argv, (line) => {
      log.write(`${line}\n`)
      reader.isTelling(line)
      process.stdout.write(`${line}\n`)
    })
    count(name, reader.counts, code)
  } else {
    const waiting = files.values()
    const work = async () => {
      for (const file of waiting) await runFile(file, log)
    }
    await Promise.all(Array.from({ length: jobs }, work))
  }
  log.end()
}

function* walk(directory) {
  if (!existsSync(directory)) return
  for (const entry of readdirSync(directory)) {
    const path = join(directory, entry)
    if (statSync(path).isDirectory()) yield* walk(path)
    else if (entry.endsWith('.test.js')) yield relative(root, path)
  }
}

/** Compiled tests whose source is still there. */
function testFiles() {
  const places = readdirSync(join(root, 'packages')).map((name) => `packages/${name}`)
  return [...places, 'test']
    .flatMap((place) => [...walk(join(root, place, 'build-test/test'))])
    .filter((file) =>
      existsSync(join(root, file.replace('build-test/', '').replace(/\.js$/, '.ts'))),
    )
    .toSorted((left, right) => left.localeCompare(right))
}

const started = Date.now()
if (named.length > 0) await runTap('named', named, 1)
else {
  if (!isCoverage) {
    await check('the format is prettier’s', 'prettier', ['--check', '--log-level=warn', '.'])
    await check('the linter finds nothing', 'oxlint', ['--type-aware', '--deny-warnings'])
    await check('no dead code, no missing dependency', 'knip', [
      '--no-progress',
      '--no-config-hints',
    ])
  }
  const files = testFiles()
  await runTap(
    'units',
    files.filter((file) => !isAlone(file)),
    availableParallelism(),
  )
  if (!isQuick && !isCoverage) await runTap('suites', files.filter(isAlone), 1)
}
for (const failure of failures) process.stdout.write(`failed: ${failure}\n`)
process.stdout.write(`in ${Math.round((Date.now() - started) / 1000)} s\n`)
process.stdout.write(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`)
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0
