import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { parseHistory, printHistory } from './history.ts'
import { parseOptions, USAGE, UsageError, type Options } from './options.ts'
import { programOf, type Program } from './programs.ts'
import { failuresOf, renderReport } from './report.ts'
import { roomsSkip } from './rooms.ts'
import { TrialError } from './trial-error.ts'
import { runTrial, type Trial } from './trial.ts'
import { judge } from './verdict.ts'

// Real processes, real networks, and a verdict: see USAGE. Exit status 0: it passes, 1: it fails,
// 2: wrong usage, 3: it cannot be tried here.

const MARKER = 'FLOTILLA_LIN_INSIDE'
/** Whatever ends the outer process, the kernel ends all that is inside. */
const NAMESPACES = [
  ['setpriv', '--pdeathsig', 'KILL'],
  ['unshare', '--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc'],
].flat()

async function main(argv: readonly string[]): Promise<number> {
  try {
    const options = parseOptions(argv, () => Math.floor(Math.random() * 2 ** 31))
    if (options.check !== undefined) return check(options.check, options)
    if (process.env[MARKER] !== undefined) return await tryOut(options)
    const reason = roomsSkip()
    if (reason === false) return await again([...argv, '--seed', String(options.seed)])
    process.stderr.write(`${reason}\n`)
    return 3
  } catch (error) {
    if (error instanceof TrialError) {
      process.stderr.write(`${error.code}: ${error.message}\n`)
      return 1
    }
    if (!(error instanceof UsageError)) throw error
    process.stderr.write(`${error.message}\n${USAGE}`)
    return 2
  }
}

/** Runs this program once more, in namespaces of its own. */
async function again(argv: readonly string[]): Promise<number> {
  const [command = '', ...rest] = NAMESPACES
  const args = [...rest, process.execPath, process.argv[1] ?? '', ...argv]
  const child = spawn(command, args, { stdio: 'inherit', env: { ...process.env, [MARKER]: '1' } })
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => child.kill('SIGKILL'))
  return await new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code) => resolve(code ?? 1))
  })
}

async function tryOut(options: Options): Promise<number> {
  const program = programOf(options.program)
  const note = (line: string): void => void process.stdout.write(`${line}\n`)
  note(`seed ${options.seed}`)
  const trial = await runTrial({ ...options, program, kinds: options.faults, note })
  const fillsDisks = options.faults.includes('disk-full') && !program.survivesFullDisk
  const failures = failuresOf(trial, options, fillsDisks)
  if (failures.length > 0) failures.push(keep(trial))
  if (options.history !== undefined) writeFileSync(options.history, printHistory(trial.entries))
  process.stdout.write(renderReport(trial, options, await versionOf(program)))
  for (const failure of failures) note(failure)
  note(failures.length === 0 ? 'verdict: passed' : 'verdict: FAILED')
  return failures.length === 0 ? 0 : 1
}

/** Keeps what is needed to look into a failure; tells where. */
function keep({ entries, log, logs }: Trial): string {
  const directory = mkdtempSync(join(tmpdir(), 'kvd-lin-'))
  writeFileSync(join(directory, 'history.jsonl'), printHistory(entries))
  writeFileSync(join(directory, 'watches.jsonl'), log.print())
  for (const [name, text] of logs) writeFileSync(join(directory, `${name}.log`), text)
  return `history, watches and logs are in ${directory}`
}

async function versionOf({ name, command }: Program): Promise<string> {
  const [file = '', ...args] = command
  const { stdout } = await promisify(execFile)(file, [...args, '--version'])
  // kvd tells first which etcd it is like.
  return /kvd \S+/.exec(stdout)?.[0] ?? `${name} ${/\d+\.\d+\S*/.exec(stdout)?.[0] ?? ''}`
}

function check(file: string, { readsLocal }: Options): number {
  const verdict = judge(parseHistory(readFileSync(file, 'utf8')), { judgesLocal: readsLocal })
  const { operations, keys, states, violations } = verdict
  process.stdout.write(`${operations} operations on ${keys} keys, ${states} states\n`)
  for (const { id, message } of violations) process.stdout.write(`${id} ${message}\n`)
  process.stdout.write(violations.length === 0 ? 'verdict: passed\n' : 'verdict: FAILED\n')
  return violations.length === 0 ? 0 : 1
}

process.exitCode = await main(process.argv.slice(2))
