import type { Command } from './command-line.ts'
import type { Assignment, Remark } from './config-file.ts'
import { parseConfigFile } from './config-file.ts'
import type { StatusSet } from './exit-status.ts'
import { NO_STATUS } from './exit-status.ts'
import type { Phase } from './phases.ts'
import { READERS } from './settings.ts'
import type { SpecifierContext } from './specifiers.ts'
import { specifiersOf } from './specifiers.ts'

export type ServiceType = 'simple' | 'exec' | 'oneshot'
export type Restart =
  'no' | 'on-success' | 'on-failure' | 'on-abnormal' | 'on-watchdog' | 'on-abort' | 'always'
export type KillMode = 'control-group' | 'process' | 'mixed' | 'none'

/** A .service unit, parsed. Times are milliseconds; Infinity is no limit. */
export interface Service {
  readonly name: string
  readonly description: string
  readonly documentation: readonly string[]
  readonly hasInstall: boolean
  readonly type: ServiceType
  readonly commands: Readonly<Record<Phase, readonly Command[]>>
  readonly remainAfterExit: boolean
  readonly restart: Restart
  readonly restartMs: number
  readonly timeoutStartMs: number
  readonly timeoutStopMs: number
  readonly runtimeMaxMs: number
  readonly killMode: KillMode
  readonly killSignal: number
  readonly finalKillSignal: number
  readonly sendSigkill: boolean
  readonly sendSighup: boolean
  readonly successStatus: StatusSet
  readonly restartPreventStatus: StatusSet
  readonly restartForceStatus: StatusSet
  readonly startLimitIntervalMs: number
  readonly startLimitBurst: number
  readonly environment: ReadonlyMap<string, string>
  readonly environmentFiles: readonly { readonly path: string; readonly isOptional: boolean }[]
  readonly passEnvironment: readonly string[]
  readonly unsetEnvironment: readonly string[]
  /** `isHome`: `~`, so that with User= the path is that user's home. */
  readonly workingDirectory:
    { readonly path: string; readonly isOptional: boolean; readonly isHome: boolean } | undefined
  readonly user: string | undefined
  readonly group: string | undefined
  readonly syslogIdentifier: string | undefined
  readonly stdout: 'journal' | 'null'
  readonly stderr: 'journal' | 'null'
  /** What systemd would log about the file. */
  readonly remarks: readonly string[]
  /** Why the unit must not be started: its load state is then bad-setting. */
  readonly problem: string | undefined
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** A service while its file is read. */
export interface Draft extends Mutable<
  Omit<
    Service,
    'type' | 'commands' | 'environment' | 'documentation' | 'remarks' | 'timeoutStartMs'
  >
> {
  type: ServiceType | undefined
  commands: Record<Phase, Command[]>
  environment: Map<string, string>
  documentation: string[]
  /** Undefined: the default of the type. */
  timeoutStartMs: number | undefined
}

const TIMEOUT_DEFAULT_MS = 90_000

function emptyDraft(name: string): Draft {
  return {
    name,
    description: '',
    documentation: [],
    hasInstall: false,
    type: undefined,
    commands: {
      ExecCondition: [],
      ExecStartPre: [],
      ExecStart: [],
      ExecStartPost: [],
      ExecStop: [],
      ExecStopPost: [],
    },
    remainAfterExit: false,
    restart: 'no',
    restartMs: 100,
    timeoutStartMs: undefined,
    timeoutStopMs: TIMEOUT_DEFAULT_MS,
    runtimeMaxMs: Infinity,
    killMode: 'control-group',
    killSignal: 15,
    finalKillSignal: 9,
    sendSigkill: true,
    sendSighup: false,
    successStatus: NO_STATUS,
    restartPreventStatus: NO_STATUS,
    restartForceStatus: NO_STATUS,
    startLimitIntervalMs: 10_000,
    startLimitBurst: 5,
    environment: new Map(),
    environmentFiles: [],
    passEnvironment: [],
    unsetEnvironment: [],
    workingDirectory: undefined,
    user: undefined,
    group: undefined,
    syslogIdentifier: undefined,
    stdout: 'journal',
    stderr: 'journal',
    problem: undefined,
  }
}

/**
 * Reads a .service file for the embedded manager. Never throws: what systemd would skip is skipped with a remark in
 * systemd's words, and what makes a unit unfit to start is its `problem`.
 */
export function parseService(name: string, text: string, context: SpecifierContext): Service {
  const { assignments, remarks } = parseConfigFile(text)
  const draft = emptyDraft(name)
  const specifiers = specifiersOf(name, context)
  const notes: Remark[] = [...remarks]
  let isFatal = false
  for (const assignment of assignments) {
    const { line } = assignment
    if (assignment.section === 'Install') draft.hasInstall = true
    else if (!isFatal) {
      isFatal = readSetting(draft, assignment, {
        specifiers,
        remark: (message) => notes.push({ line, message }),
        context,
      })
    }
  }
  const path = `${context.unitsDirectory}/${name}`
  const texts = notes
    .toSorted((a, b) => a.line - b.line)
    .map(({ line, message }) => `${path}:${line}: ${message}`)
  if (isFatal) texts.push(`${name}: Unit configuration has fatal error, unit will not be started.`)
  const type = draft.type ?? (draft.commands.ExecStart.length > 0 ? 'simple' : 'oneshot')
  const service = { ...draft, type, timeoutStartMs: startTimeout(draft, type) }
  const unsupported = draft.problem
  const flaw = isFatal || unsupported !== undefined ? undefined : verify(service)
  if (unsupported !== undefined) texts.push(`${name}: ${unsupported} Refusing.`)
  if (flaw !== undefined) texts.push(`${name}: ${flaw} Refusing.`)
  const isBad = isFatal || flaw !== undefined
  const problem = unsupported ?? (isBad ? `Unit ${name} has a bad unit file setting.` : undefined)
  return { ...service, remarks: texts, problem }
}

/** systemd.service(5): a oneshot service has no start timeout unless it is given one. */
function startTimeout(draft: Draft, type: ServiceType): number {
  return draft.timeoutStartMs ?? (type === 'oneshot' ? Infinity : TIMEOUT_DEFAULT_MS)
}

/** What a reader of a setting may use. */
export interface ReadContext {
  readonly specifiers: ReadonlyMap<string, string>
  readonly context: SpecifierContext
  readonly remark: (message: string) => void
}

/** Applies one assignment; true when it makes the unit unfit to start. */
function readSetting(
  draft: Draft,
  { section, name, value }: Assignment,
  read: ReadContext,
): boolean {
  const reader = READERS.get(`${section}.${name}`)
  if (reader !== undefined) return reader(draft, value, read) === 'fatal'
  if (!name.startsWith('X-')) {
    read.remark(
      `${name}= in section '${section}' is not supported by the embedded manager, ignoring.`,
    )
  }
  return false
}

/** systemd 252 `service_verify`. */
function verify(
  service: Pick<Service, 'type' | 'commands' | 'remainAfterExit' | 'restart'>,
): string | undefined {
  const { commands, type, remainAfterExit, restart } = service
  const starts = commands.ExecStart.length
  if (starts === 0 && commands.ExecStop.length === 0) {
    return 'Service has no ExecStart=, ExecStop=, or SuccessAction=.'
  }
  if (type !== 'oneshot' && starts === 0)
    return 'Service has no ExecStart= setting, which is only allowed for Type=oneshot services.'
  if (!remainAfterExit && starts === 0) {
    return 'Service has no ExecStart= and no SuccessAction= settings and does not have RemainAfterExit=yes set.'
  }
  if (type !== 'oneshot' && starts > 1) {
    return 'Service has more than one ExecStart= setting, which is only allowed for Type=oneshot services.'
  }
  if (type === 'oneshot' && (restart === 'always' || restart === 'on-success')) {
    return "Service has Restart= set to either always or on-success, which isn't allowed for Type=oneshot services."
  }
  return undefined
}
