#!/usr/bin/env node
// Runs every check and test and ends with `N passed, N failed, N skipped`.
//   node scripts/test.mjs [--quick | --coverage] [FILE...]
// --quick leaves out what boots machines, kills daemons or replays recordings. FILEs are compiled tests.
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

function run(command, argv, onLine) {
  return new Promise((resolve) => {
    const child = spawn(command, argv, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream }).on('line', onLine)
    child.on('error', (error) => onLine(String(error)))
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

/** tap's closing comment: `# { total: 4, pass: 3, fail: 1, skip: 1 }`. */
function readCounts(line) {
  const found = /^# \{(.*)\}$/.exec(line)
  if (found === null) return undefined
  const count = (name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(found[1])?.[1] ?? 0)
  return { passed: count('pass'), failed: count('fail'), skipped: count('skip') + count('todo') }
}

/** Runs test files through tap, shows a line per file and everything that fails. */
async function runTap(name, files, jobs) {
  if (files.length === 0) return
  mkdirSync(join(root, '.tap'), { recursive: true })
  const log = createWriteStream(join(root, `.tap/${name}.tap`))
  let counts
  let diagnostics = 0
  const coverage = isCoverage ? ['--no-disable-coverage', '--allow-incomplete-coverage'] : []
  const argv = ['run', '-R', 'tap', `--jobs=${jobs}`, ...coverage, ...files]
  const code = await run('tap', argv, (line) => {
    log.write(`${line}\n`)
    counts = readCounts(line) ?? counts
    const isFailure = /^\s*not ok\b/.test(line) && !/# (SKIP|TODO)\b/.test(line)
    if (isFailure) diagnostics = 40
    if (/^(ok|not ok) /.test(line) || diagnostics > 0 || isCoverage)
      process.stdout.write(`${line}\n`)
    if (diagnostics > 0) diagnostics = /^\s*\.\.\.$/.test(line) ? 0 : diagnostics - 1
  })
  log.end()
  const none = counts === undefined || counts.passed + counts.failed + counts.skipped === 0
  total.passed += counts?.passed ?? 0
  total.failed += counts?.failed ?? 0
  total.skipped += counts?.skipped ?? 0
  if (none || (code !== 0 && (counts?.failed ?? 0) === 0)) {
    total.failed += 1
    failures.push(`${name}: ${none ? 'no test ran' : `tap ended with status ${code}`}`)
  } else if (counts.failed > 0) failures.push(`${name}: ${counts.failed} assertions`)
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
