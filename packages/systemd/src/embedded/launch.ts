import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from '../service/command-line.ts'
import { expandVariables, parseEnvironmentFile } from '../service/environment.ts'
import type { Service } from '../service/service.ts'
import type { Account } from './accounts.ts'
import { findGroup, findUser } from './accounts.ts'

/** What a process is started with besides its unit. */
export interface LaunchContext {
  /** The account of the manager itself. */
  readonly account: Account
  /** Variables that every unit gets. */
  readonly environment: ReadonlyMap<string, string>
  /** Variables of this process: INVOCATION_ID, MAINPID, SERVICE_RESULT ... */
  readonly variables: ReadonlyMap<string, string>
}

/** A process that could not be made ready: systemd's exit code for the step, and its words for the reason. */
export interface LaunchFailure {
  readonly status: number
  readonly step: string
  readonly reason: string
  /** A line that comes before the general one. */
  readonly detail?: string
}

/** Everything that spawn needs. */
export interface Launch {
  readonly path: string
  readonly argv: readonly string[]
  readonly environment: ReadonlyMap<string, string>
  readonly directory: string
  readonly identity: { readonly uid: number; readonly gid: number } | undefined
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'No such file or directory',
  ENOTDIR: 'Not a directory',
  EACCES: 'Permission denied',
  EPERM: 'Operation not permitted',
  EISDIR: 'Is a directory',
  ENOEXEC: 'Exec format error',
  E2BIG: 'Argument list too long',
  ELOOP: 'Too many levels of symbolic links',
  EAGAIN: 'Resource temporarily unavailable',
  EMFILE: 'Too many open files',
  ENOSPC: 'No space left on device',
}

/** The C library's words for an error of the system. */
export function errorText(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return REASONS[code] ?? (error instanceof Error ? error.message : String(error))
}

/** The variables of a process, EnvironmentFile= last. Throws when a file that is not optional cannot be read. */
export function environmentOf(
  service: Service,
  { account, environment, variables }: LaunchContext,
): Map<string, string> {
  const user = service.user === undefined ? account : (findUser(service.user) ?? account)
  const all = new Map([
    ['PATH', PATH],
    ['USER', user.name],
    ['LOGNAME', user.name],
    ['HOME', user.home],
    ['SHELL', user.shell],
    ...environment,
    ...variables,
  ])
  for (const name of service.passEnvironment) {
    const value = process.env[name]
    if (value !== undefined) all.set(name, value)
  }
  for (const [name, value] of service.environment) all.set(name, value)
  for (const { path, isOptional } of service.environmentFiles) {
    for (const [name, value] of readEnvironmentFile(path, isOptional)) all.set(name, value)
  }
  for (const entry of service.unsetEnvironment) unset(all, entry)
  return all
}

function readEnvironmentFile(path: string, isOptional: boolean): (readonly [string, string])[] {
  try {
    return parseEnvironmentFile(readFileSync(path, 'utf8'))
  } catch (error) {
    if (isOptional) return []
    throw error
  }
}

/** UnsetEnvironment=: a name, or an assignment that must be exactly that. */
function unset(environment: Map<string, string>, entry: string): void {
  const equals = entry.indexOf('=')
  if (equals === -1) environment.delete(entry)
  else if (environment.get(entry.slice(0, equals)) === entry.slice(equals + 1)) {
    environment.delete(entry.slice(0, equals))
  }
}

/** Resolves command, directory and user, or says which step systemd would have failed at. */
export function prepareLaunch(
  service: Service,
  command: Command,
  environment: ReadonlyMap<string, string>,
): Launch | LaunchFailure {
  const identity = command.isPrivileged ? undefined : identityOf(service)
  if (identity !== undefined && 'step' in identity) return identity
  const directory = directoryOf(service)
  if (typeof directory !== 'string') return directory
  const path = locate(command.path, environment.get('PATH') ?? PATH)
  if (typeof path !== 'string') return path
  const [name = command.path, ...words] = command.argv
  const argv = command.expandsVariables ? expandVariables(words, environment) : words
  return { path, argv: [name, ...argv], environment, directory, identity }
}

function failure(status: number, step: string, error: unknown, detail: string): LaunchFailure {
  const reason = errorText(error)
  return { status, step, reason, detail: `${detail}: ${reason}` }
}

function identityOf(service: Service): { uid: number; gid: number } | LaunchFailure | undefined {
  if (service.user === undefined && service.group === undefined) return undefined
  const self = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  const user = service.user === undefined ? undefined : findUser(service.user)
  if (service.user !== undefined && user === undefined) {
    return failure(
      217,
      'USER',
      new Error('No such process'),
      'Failed to determine user credentials',
    )
  }
  const gid = service.group === undefined ? (user?.gid ?? self.gid) : findGroup(service.group)
  if (gid === undefined) {
    return failure(
      216,
      'GROUP',
      new Error('No such process'),
      'Failed to determine group credentials',
    )
  }
  const identity = { uid: user?.uid ?? self.uid, gid }
  if (identity.uid === self.uid && identity.gid === self.gid) return undefined
  if (self.uid === 0) return identity
  // As a user's systemd: only root may become somebody else.
  const reason = Object.assign(new Error('not root'), { code: 'EPERM' })
  return failure(216, 'GROUP', reason, 'Failed to determine supplementary groups')
}

function directoryOf(service: Service): string | LaunchFailure {
  const wanted = service.workingDirectory
  if (wanted === undefined) return '/'
  const user = wanted.isHome && service.user !== undefined ? findUser(service.user) : undefined
  const path = user?.home ?? wanted.path
  try {
    if (!statSync(path).isDirectory()) throw Object.assign(new Error(), { code: 'ENOTDIR' })
    accessSync(path, constants.X_OK)
    return path
  } catch (error) {
    if (wanted.isOptional) return '/'
    return failure(200, 'CHDIR', error, 'Changing to the requested working directory failed')
  }
}

function locate(program: string, path: string): string | LaunchFailure {
  const candidates = program.includes('/')
    ? [program]
    : path.split(':').map((directory) => join(directory, program))
  let problem: unknown = Object.assign(new Error(), { code: 'ENOENT' })
  for (const candidate of candidates) {
    try {
      if (!statSync(candidate).isFile()) throw Object.assign(new Error(), { code: 'EACCES' })
      accessSync(candidate, constants.X_OK)
      return candidate
    } catch (error) {
      if (candidates.length === 1) problem = error
    }
  }
  return failure(203, 'EXEC', problem, `Failed to locate executable ${program}`)
}

/** Starts the process in a session of its own, with `output` as stdout and stderr. */
export function startProcess(
  launch: Launch,
  output: { readonly stdout: number | 'ignore'; readonly stderr: number | 'ignore' },
): ChildProcess {
  return spawn(launch.path, launch.argv.slice(1), {
    argv0: launch.argv[0] ?? launch.path,
    cwd: launch.directory,
    env: Object.fromEntries(launch.environment),
    stdio: ['ignore', output.stdout, output.stderr],
    detached: true,
    ...launch.identity,
  })
}
