#!/usr/bin/env node
// Sets the workspace up from nothing but Node and npm: pnpm, dependencies, native addon, build.
//   node scripts/setup.mjs [--test] [--quiet]
// --test also compiles the tests. Needs no dependency of its own, because there are none yet.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const forTest = process.argv.includes('--test')
const quiet = process.argv.includes('--quiet')
const tools = join(root, '.tools')
const bin = join(tools, 'node_modules', '.bin')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

const env = {
  ...process.env,
  PATH: `${bin}:${join(root, 'node_modules', '.bin')}:${process.env.PATH}`,
  TURBO_TELEMETRY_DISABLED: '1',
  DO_NOT_TRACK: '1',
  CI: 'true',
}

function fail(message) {
  process.stderr.write(`setup: ${message}\n`)
  process.exit(1)
}

function run(what, command, args, options = {}) {
  const result = spawnSync(command, args, {
    cwd: root,
    env,
    stdio: quiet ? ['ignore', 'pipe', 'pipe'] : ['ignore', 'inherit', 'inherit'],
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    ...options,
  })
  if (result.error) fail(`${what}: ${result.error.message}`)
  if (result.status !== 0) {
    if (quiet) process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}`)
    fail(`${what} ended with status ${result.status ?? result.signal}`)
  }
  return result
}

const has = (command) => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0

/** Installs Debian packages for those commands that are missing, where we are allowed to. */
function needCommands(wanted, why) {
  const packages = Object.entries(wanted)
    .filter(([command]) => !has(command))
    .map(([, name]) => name)
  if (packages.length === 0) return
  const list = [...new Set(packages)].join(' ')
  if (process.getuid?.() !== 0 || !has('apt-get'))
    fail(`${why} needs: ${list}\n  as root: apt-get install ${list}`)
  const apt = { env: { ...env, DEBIAN_FRONTEND: 'noninteractive' } }
  run('apt-get update', 'apt-get', ['-qq', 'update'], apt)
  const options = [
    '-qq',
    '-o',
    'DPkg::Lock::Timeout=300',
    'install',
    '-y',
    '--no-install-recommends',
  ]
  run(`apt-get install ${list}`, 'apt-get', [...options, ...list.split(' ')], apt)
}

/** node-gyp wants Node's headers; where Node did not bring them, the registry's copy of the official tree does. */
function needHeaders() {
  if (env.npm_config_nodedir) return
  const places = [dirname(dirname(process.execPath)), '/usr', '/usr/local']
  const found = places.find((place) => existsSync(join(place, 'include/node/node.h')))
  if (found) {
    env.npm_config_nodedir = found
    return
  }
  const version = process.versions.node
  const name = `node-linux-${process.arch}`
  const dir = join(tools, 'headers')
  const tree = join(dir, 'node_modules', name)
  if (!existsSync(join(tree, 'include/node/node.h')))
    run('headers of Node', 'npm', npmInstall(dir, `${name}@${version}`))
  env.npm_config_nodedir = tree
}

function npmInstall(prefix, spec) {
  mkdirSync(prefix, { recursive: true })
  const flags = ['--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error']
  return ['install', '--prefix', prefix, ...flags, spec]
}

function needPnpm() {
  const [, version] = manifest.packageManager.split('@')
  const installed = join(tools, 'node_modules/pnpm/package.json')
  if (existsSync(installed) && JSON.parse(readFileSync(installed, 'utf8')).version === version)
    return
  run('npm install pnpm', 'npm', npmInstall(tools, `pnpm@${version}`))
}

/** True when node_modules is as new as the lock file, so that a second run costs nothing. */
function isInstalled() {
  const stamp = join(root, 'node_modules/.flotilla-setup')
  if (!existsSync(stamp)) return false
  const want = `${process.version} ${statSync(join(root, 'pnpm-lock.yaml')).mtimeMs}`
  return readFileSync(stamp, 'utf8') === want
}

const [major] = process.versions.node.split('.').map(Number)
if (major < 20) fail(`Node ${process.version} is too old: 20 or newer is needed`)
needPnpm()
if (!isInstalled()) {
  needCommands({ python3: 'python3', make: 'make', 'g++': 'g++' }, 'building better-sqlite3')
  needHeaders()
  const pnpm = join(tools, 'node_modules/pnpm/bin/pnpm.cjs')
  run('pnpm install', process.execPath, [pnpm, 'install', '--frozen-lockfile'])
  const stamp = `${process.version} ${statSync(join(root, 'pnpm-lock.yaml')).mtimeMs}`
  writeFileSync(join(root, 'node_modules/.flotilla-setup'), stamp)
}
const tasks = forTest ? ['build', 'build:test'] : ['build']
run('build', 'turbo', ['run', ...tasks, '--output-logs=errors-only', '--log-order=grouped'])
if (forTest && !existsSync(join(root, '.tap/plugins'))) run('tap build', 'tap', ['build'])
