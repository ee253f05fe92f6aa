import { parseCommandLine } from './command-line.ts'
import { parseEnvironment } from './environment.ts'
import { parseSignal, parseStatusSet } from './exit-status.ts'
import { type Phase, PHASES } from './phases.ts'
import type { Draft, KillMode, ReadContext, Restart } from './service.ts'
import { expandSpecifiers } from './specifiers.ts'
import { parseTimeSpan } from './time-span.ts'

/** Puts a value into the draft; `fatal` when the unit must then not be started. */
type Reader = (draft: Draft, value: string, read: ReadContext) => 'fatal' | undefined | void

/** Time spans whose 0 means no limit. */
type TimeKey =
  'restartMs' | 'timeoutStartMs' | 'timeoutStopMs' | 'runtimeMaxMs' | 'startLimitIntervalMs'
type FlagKey = 'remainAfterExit' | 'sendSigkill' | 'sendSighup'
type SetKey = 'successStatus' | 'restartPreventStatus' | 'restartForceStatus'

const RESTARTS: ReadonlyMap<string, Restart> = new Map(
  (
    ['no', 'on-success', 'on-failure', 'on-abnormal', 'on-watchdog', 'on-abort', 'always'] as const
  ).map((word) => [word, word]),
)
const KILL_MODES: ReadonlyMap<string, KillMode> = new Map(
  (['control-group', 'process', 'mixed', 'none'] as const).map((word) => [word, word]),
)
const BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ...['1', 'yes', 'y', 'true', 't', 'on'].map((word): [string, boolean] => [word, true]),
  ...['0', 'no', 'n', 'false', 'f', 'off'].map((word): [string, boolean] => [word, false]),
])

function commands(phase: Phase): Reader {
  return (draft, value, read) => {
    if (value === '') {
      draft.commands[phase] = []
      return undefined
    }
    const line = parseCommandLine(value, read.specifiers)
    for (const message of line.remarks) read.remark(message)
    draft.commands[phase].push(...line.commands)
    return line.isFatal ? 'fatal' : undefined
  }
}

function time(name: string, keys: readonly TimeKey[], zeroIsInfinite = false): Reader {
  return (draft, value, { remark }) => {
    const ms = parseTimeSpan(value)
    if (ms === undefined) return remark(`Failed to parse ${name}= parameter, ignoring: ${value}`)
    for (const key of keys) draft[key] = zeroIsInfinite && ms === 0 ? Infinity : ms
  }
}

function flag(key: FlagKey): Reader {
  return (draft, value, { remark }) => {
    const parsed = BOOLEANS.get(value.toLowerCase())
    if (parsed === undefined) return remark(`Failed to parse boolean value, ignoring: ${value}`)
    draft[key] = parsed
  }
}

function statusSet(key: SetKey): Reader {
  return (draft, value, { remark }) => {
    const { set, invalid } = parseStatusSet(value)
    for (const word of invalid) remark(`Failed to parse value, ignoring: ${word}`)
    const old = draft[key]
    draft[key] =
      value === ''
        ? set
        : {
            codes: new Set([...old.codes, ...set.codes]),
            signals: new Set([...old.signals, ...set.signals]),
          }
  }
}

function signal(key: 'killSignal' | 'finalKillSignal'): Reader {
  return (draft, value, { remark }) => {
    const parsed = parseSignal(value)
    if (parsed === undefined) return remark(`Failed to parse signal name, ignoring: ${value}`)
    draft[key] = parsed
  }
}

/** A list of words that an empty value resets. */
function words(key: 'passEnvironment' | 'unsetEnvironment'): Reader {
  return (draft, value) => {
    draft[key] = value === '' ? [] : [...draft[key], ...value.split(/\s+/)]
  }
}

/** The last Type= counts, also when one before it could not be done. */
const type: Reader = (draft, value, { remark }) => {
  if (value === 'simple' || value === 'exec' || value === 'oneshot') {
    draft.type = value
    draft.problem = undefined
  } else if (value === 'idle') {
    draft.type = 'simple'
    draft.problem = undefined
  } else if (
    value === 'notify' ||
    value === 'notify-reload' ||
    value === 'forking' ||
    value === 'dbus'
  ) {
    draft.problem = `Type=${value} is not supported by the embedded unit manager (simple, exec, idle and oneshot are).`
  } else remark(`Failed to parse service type, ignoring: ${value}`)
}

const restart: Reader = (draft, value, { remark }) => {
  const parsed = RESTARTS.get(value)
  if (parsed === undefined)
    return remark(`Failed to parse service restart specifier, ignoring: ${value}`)
  draft.restart = parsed
}

const killMode: Reader = (draft, value, { remark }) => {
  const parsed = KILL_MODES.get(value)
  if (parsed === undefined)
    return remark(`Failed to parse kill mode specification, ignoring: ${value}`)
  draft.killMode = parsed
}

const burst: Reader = (draft, value, { remark }) => {
  if (!/^\d+$/.test(value)) return remark(`Failed to parse value, ignoring: ${value}`)
  draft.startLimitBurst = Number(value)
}

const environment: Reader = (draft, value, { specifiers, remark }) => {
  if (value === '') draft.environment.clear()
  const { entries, remarks } = parseEnvironment(value, specifiers)
  for (const message of remarks) remark(message)
  for (const [name, text] of entries) draft.environment.set(name, text)
}

const environmentFile: Reader = (draft, value, { specifiers, remark }) => {
  if (value === '') {
    draft.environmentFiles = []
    return
  }
  const expanded = expandSpecifiers(value, specifiers)
  const isOptional = expanded.startsWith('-')
  const path = isOptional ? expanded.slice(1) : expanded
  if (!path.startsWith('/'))
    return remark(`EnvironmentFile= path is not absolute, ignoring: ${path}`)
  draft.environmentFiles = [...draft.environmentFiles, { path, isOptional }]
}

const workingDirectory: Reader = (draft, value, { specifiers, context, remark }) => {
  if (value === '') {
    draft.workingDirectory = undefined
    return undefined
  }
  const isOptional = value.startsWith('-')
  const text = isOptional ? value.slice(1) : value
  const isHome = text === '~'
  const path = isHome ? context.user.home : expandSpecifiers(text, specifiers)
  if (!path.startsWith('/')) {
    remark(`WorkingDirectory= path is not absolute${isOptional ? ', ignoring' : ''}: ${path}`)
    return isOptional ? undefined : 'fatal'
  }
  draft.workingDirectory = { path, isOptional, isHome }
  return undefined
}

function account(key: 'user' | 'group'): Reader {
  return (draft, value, { specifiers }) => {
    const name = expandSpecifiers(value, specifiers)
    draft[key] = name === '' ? undefined : name
  }
}

function output(key: 'stdout' | 'stderr'): Reader {
  return (draft, value, { remark }) => {
    if (value === 'null') draft[key] = 'null'
    else if (['journal', 'syslog', 'inherit'].includes(value)) draft[key] = 'journal'
    else remark(`Output to '${value}' is not supported by the embedded manager, using the journal.`)
  }
}

/** Settings that change nothing here: they order, describe or reload, or are the manager's own behaviour anyway. */
const ACCEPTED = [
  'Unit.After',
  'Unit.Before',
  'Unit.DefaultDependencies',
  'Service.ExecReload',
  'Service.GuessMainPID',
]

/** `Section.Name` to what reads it. A setting that is not here is answered with a remark, never ignored silently. */
export const READERS: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ...ACCEPTED.map((name): [string, Reader] => [name, () => undefined]),
  ...PHASES.map((phase): [string, Reader] => [`Service.${phase}`, commands(phase)]),
  [
    'Unit.Description',
    (draft, value, { specifiers }) => {
      draft.description = expandSpecifiers(value, specifiers)
    },
  ],
  [
    'Unit.Documentation',
    (draft, value) => {
      draft.documentation = value === '' ? [] : [...draft.documentation, ...value.split(/\s+/)]
    },
  ],
  ...(['Unit', 'Service'] as const).flatMap((section): [string, Reader][] => [
    [`${section}.StartLimitInterval`, time('StartLimitInterval', ['startLimitIntervalMs'])],
    [`${section}.StartLimitBurst`, burst],
  ]),
  ['Unit.StartLimitIntervalSec', time('StartLimitIntervalSec', ['startLimitIntervalMs'])],
  ['Service.Type', type],
  ['Service.RemainAfterExit', flag('remainAfterExit')],
  ['Service.Restart', restart],
  ['Service.RestartSec', time('RestartSec', ['restartMs'])],
  ['Service.TimeoutSec', time('TimeoutSec', ['timeoutStartMs', 'timeoutStopMs'], true)],
  ['Service.TimeoutStartSec', time('TimeoutStartSec', ['timeoutStartMs'], true)],
  ['Service.TimeoutStopSec', time('TimeoutStopSec', ['timeoutStopMs'], true)],
  ['Service.RuntimeMaxSec', time('RuntimeMaxSec', ['runtimeMaxMs'])],
  ['Service.KillMode', killMode],
  ['Service.KillSignal', signal('killSignal')],
  ['Service.FinalKillSignal', signal('finalKillSignal')],
  ['Service.SendSIGKILL', flag('sendSigkill')],
  ['Service.SendSIGHUP', flag('sendSighup')],
  ['Service.SuccessExitStatus', statusSet('successStatus')],
  ['Service.RestartPreventExitStatus', statusSet('restartPreventStatus')],
  ['Service.RestartForceExitStatus', statusSet('restartForceStatus')],
  ['Service.Environment', environment],
  ['Service.EnvironmentFile', environmentFile],
  ['Service.PassEnvironment', words('passEnvironment')],
  ['Service.UnsetEnvironment', words('unsetEnvironment')],
  ['Service.WorkingDirectory', workingDirectory],
  ['Service.User', account('user')],
  ['Service.Group', account('group')],
  [
    'Service.SyslogIdentifier',
    (draft, value) => {
      draft.syslogIdentifier = value === '' ? undefined : value
    },
  ],
  [
    'Service.StandardInput',
    (_draft, value, { remark }) => {
      if (value !== 'null')
        remark(`Input from '${value}' is not supported by the embedded manager, using null.`)
    },
  ],
  ['Service.StandardOutput', output('stdout')],
  ['Service.StandardError', output('stderr')],
])
