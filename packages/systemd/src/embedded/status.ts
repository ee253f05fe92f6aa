import type { UnitStatus } from '../manager.ts'
import { statusText } from '../service/exit-status.ts'
import type { ActiveState, MachineState, ProcessRecord } from '../service/machine-state.ts'
import { activeStateOf, alive, newest } from '../service/machine-state.ts'
import type { Service } from '../service/service.ts'
import { formatAgo, formatTimeSpan } from '../service/time-span.ts'
import { formatTimestamp } from './journal-format.ts'

/** What a status text is made of. */
export interface StatusView {
  readonly service: Service
  readonly state: MachineState
  readonly unitPath: string
  readonly nowMs: number
  /** The unit's live processes and their command lines, by pid. */
  readonly processes: readonly {
    readonly pid: number
    readonly comm: string
    readonly argv: readonly string[]
  }[]
  /** The newest journal lines, formatted. */
  readonly lines: readonly string[]
}

const GLYPHS: Readonly<Record<ActiveState, string>> = {
  active: '●',
  activating: '●',
  deactivating: '●',
  inactive: '○',
  failed: '×',
}

/** The label ends in column 12, as systemctl has it. */
function field(label: string, value: string): string {
  return `${label.padStart(11)}: ${value}`
}

/** The text of `systemctl status -l`, in the shape of systemd 252, without what there are no cgroups for. */
export function renderStatus(view: StatusView): UnitStatus {
  const { service, state, lines } = view
  const active = activeStateOf(state.sub)
  const title =
    service.description === '' ? service.name : `${service.name} - ${service.description}`
  const text = [
    `${GLYPHS[active]} ${title}`,
    field('Loaded', loadedText(view)),
    field('Active', activeText(view, active)),
    ...durationLines(state, active),
    ...docsLines(service),
    ...processLines(view),
    ...treeLines(view),
    ...(lines.length === 0 ? [] : ['', ...lines]),
  ]
  return { text: `${text.join('\n')}\n`, exitCode: active === 'active' ? 0 : 3 }
}

/** What systemctl says of a name that is no unit. */
export function renderUnknown(name: string): UnitStatus {
  return { text: `Unit ${name} could not be found.\n`, exitCode: 4 }
}

function loadedText({ service, unitPath }: StatusView): string {
  if (service.problem !== undefined) return `bad-setting (Reason: ${service.problem})`
  return `loaded (${unitPath}; ${service.hasInstall ? 'enabled-runtime' : 'linked-runtime'})`
}

function activeText({ state, nowMs }: StatusView, active: ActiveState): string {
  const result = state.result === 'success' ? '' : ` (Result: ${state.result})`
  const sub = active === 'failed' ? '' : ` (${state.sub})`
  const since = {
    active: state.activeEnterMs,
    activating: state.inactiveExitMs,
    deactivating: state.activeExitMs,
    inactive: state.inactiveEnterMs,
    failed: state.inactiveEnterMs,
  }[active]
  const shownResult = active === 'inactive' || active === 'active' ? '' : result
  const head = `${active}${sub}${shownResult}`
  if (since === undefined) return head
  return `${head} since ${formatTimestamp(since)}; ${formatAgo(nowMs - since)}`
}

function durationLines(state: MachineState, active: ActiveState): string[] {
  const { activeEnterMs: enter, activeExitMs: exit } = state
  const isDown = active === 'inactive' || active === 'failed'
  if (!isDown || enter === undefined || exit === undefined || exit < enter) return []
  return [field('Duration', formatTimeSpan(exit - enter))]
}

function docsLines({ documentation }: Service): string[] {
  return documentation.map((uri, index) =>
    index === 0 ? field('Docs', uri) : `${' '.repeat(13)}${uri}`,
  )
}

function commandText(service: Service, { phase, index }: ProcessRecord): string {
  return `${phase}=${service.commands[phase][index]?.argv.join(' ') ?? 'n/a'}`
}

function processLines({ service, state, processes }: StatusView): string[] {
  const lines = state.processes.flatMap((process) => {
    if (process.exit === undefined) return []
    const what = `${process.pid} ${commandText(service, process)} (${statusText(process.exit)})`
    return [field('Process', what)]
  })
  const nameOf = (pid: number): string => {
    const comm = processes.find((process) => process.pid === pid)?.comm
    return comm === undefined ? '' : ` (${comm})`
  }
  const main = newest(state, 'main')
  const control = alive(state, 'control')
  const mainText =
    main &&
    `${main.pid}${main.exit === undefined ? nameOf(main.pid) : ` (${statusText(main.exit)})`}`
  const controlText = control && `${control.pid}${nameOf(control.pid)}`
  if (mainText !== undefined) {
    const suffix = controlText === undefined ? '' : `; Control PID: ${controlText}`
    lines.push(field('Main PID', `${mainText}${suffix}`))
  } else if (controlText !== undefined) lines.push(field('Cntrl PID', controlText))
  return lines
}

/** Quotes an argument when a shell would need it, as systemctl does in its tree. */
function quoted(argument: string): string {
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(argument)) return argument
  return `"${argument
    .replace(/["\\$`]/g, '\\$&')
    .replaceAll('\n', '\\n')
    .replace(/\p{Cc}/gu, (sign) => `\\x${sign.charCodeAt(0).toString(16).padStart(2, '0')}`)}"`
}

/** The processes where systemctl shows the cgroup; the heading says that there is none. */
function treeLines({ processes }: StatusView): string[] {
  if (processes.length === 0) return []
  const lines = processes.map(({ pid, argv }, index) => {
    const branch = index === processes.length - 1 ? '└─' : '├─'
    return `${' '.repeat(13)}${branch}${pid} ${argv.map(quoted).join(' ')}`
  })
  return [field('CGroup', 'none (embedded manager)'), ...lines]
}
