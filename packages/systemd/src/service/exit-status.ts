/** How a process ended. `unknown`: it was another process's child, so its status could not be read. */
export interface ExitStatus {
  readonly code: 'exited' | 'killed' | 'unknown'
  /** Exit status, or the number of the signal. */
  readonly status: number
}

/** Exit codes and signals that a setting such as SuccessExitStatus= lists. */
export interface StatusSet {
  readonly codes: ReadonlySet<number>
  readonly signals: ReadonlySet<number>
}

export const NO_STATUS: StatusSet = { codes: new Set(), signals: new Set() }

/** Signal numbers of Linux on all architectures that Node runs on but MIPS. */
const SIGNALS: ReadonlyMap<string, number> = new Map(
  (
    'HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG ' +
    'XCPU XFSZ VTALRM PROF WINCH IO PWR SYS'
  )
    .split(' ')
    .map((name, index) => [name, index + 1]),
)

const SIGNAL_NAMES: ReadonlyMap<number, string> = new Map(
  [...SIGNALS].map(([name, n]) => [n, name]),
)

/** systemd.exec(5), PROCESS EXIT CODES, as `systemd-analyze exit-status` lists them. */
const COMMON = 'SUCCESS FAILURE'
const LSB = 'INVALIDARGUMENT NOTIMPLEMENTED NOPERMISSION NOTINSTALLED NOTCONFIGURED NOTRUNNING'
const BSD =
  'USAGE DATAERR NOINPUT NOUSER NOHOST UNAVAILABLE SOFTWARE OSERR OSFILE CANTCREAT IOERR TEMPFAIL PROTOCOL NOPERM CONFIG'
const SYSTEMD =
  'CHDIR NICE FDS EXEC MEMORY LIMITS OOM_ADJUST SIGNAL_MASK STDIN STDOUT CHROOT IOPRIO TIMERSLACK SECUREBITS ' +
  'SETSCHEDULER CPUAFFINITY GROUP USER CAPABILITIES CGROUP SETSID CONFIRM STDERR - PAM NETWORK NAMESPACE ' +
  'NO_NEW_PRIVILEGES SECCOMP SELINUX_CONTEXT PERSONALITY APPARMOR ADDRESS_FAMILIES RUNTIME_DIRECTORY - CHOWN ' +
  'SMACK_PROCESS_LABEL KEYRING STATE_DIRECTORY CACHE_DIRECTORY LOGS_DIRECTORY CONFIGURATION_DIRECTORY NUMA_POLICY ' +
  'CREDENTIALS BPF'

function numbered(names: string, from: number): [number, string][] {
  const all = names.split(' ').map((name, index): [number, string] => [from + index, name])
  return all.filter(([, name]) => name !== '-')
}

const BASIC_NAMES = new Map([...numbered(COMMON, 0), ...numbered(SYSTEMD, 200)])
const ALL_NAMES = new Map([
  ...BASIC_NAMES,
  ...numbered(LSB, 2),
  ...numbered(BSD, 64),
  [255, 'EXCEPTION'] as const,
])
const NUMBERS = new Map([...ALL_NAMES].map(([number, name]) => [name, number]))

/** `TERM` for 15; `n/a` when there is no such signal. */
export function signalName(signal: number): string {
  return SIGNAL_NAMES.get(signal) ?? 'n/a'
}

/** A signal by name (with or without SIG) or number; undefined when there is none. */
export function parseSignal(text: string): number | undefined {
  const number = /^\d+$/.test(text) ? Number(text) : SIGNALS.get(text.replace(/^SIG/, ''))
  return number !== undefined && number >= 1 && number <= 64 ? number : undefined
}

/** `code=exited, status=1/FAILURE` as systemd logs it. */
export function logText(exit: ExitStatus): string {
  const name =
    exit.code === 'exited' ? (ALL_NAMES.get(exit.status) ?? 'n/a') : signalName(exit.status)
  return `code=${exit.code}, status=${exit.status}/${name}`
}

/** `code=exited, status=203/EXEC` or `code=killed, signal=TERM` as systemctl status prints it. */
export function statusText(exit: ExitStatus): string {
  if (exit.code === 'unknown') return 'code=unknown'
  if (exit.code === 'killed') return `code=killed, signal=${signalName(exit.status)}`
  const name = BASIC_NAMES.get(exit.status)
  return `code=exited, status=${exit.status}${name === undefined ? '' : `/${name}`}`
}

const DAEMON_SIGNALS: ReadonlySet<number> = new Set([1, 2, 15, 13])

/**
 * True when a process ended well. A daemon may also be ended by HUP, INT, TERM or PIPE (systemd `is_clean_exit`);
 * an unknown end counts as good, as systemd takes it for processes that are not its children.
 */
export function isCleanExit(
  exit: ExitStatus,
  kind: 'daemon' | 'command',
  success: StatusSet,
): boolean {
  if (exit.code === 'unknown') return true
  if (isInSet(exit, success)) return true
  if (exit.code === 'exited') return exit.status === 0
  return kind === 'daemon' && DAEMON_SIGNALS.has(exit.status)
}

/** True when the end is one that the setting lists. */
export function isInSet(exit: ExitStatus, set: StatusSet): boolean {
  if (exit.code === 'unknown') return false
  return (exit.code === 'exited' ? set.codes : set.signals).has(exit.status)
}

/** Reads a list of numbers, names of exit codes and names of signals; what is none of these comes back as invalid. */
export function parseStatusSet(value: string): {
  readonly set: StatusSet
  readonly invalid: readonly string[]
} {
  const codes = new Set<number>()
  const signals = new Set<number>()
  const invalid: string[] = []
  for (const word of value.split(/\s+/).filter((text) => text !== '')) {
    const code = /^\d+$/.test(word) ? Number(word) : NUMBERS.get(word)
    const signal = SIGNALS.get(word.replace(/^SIG/, ''))
    if (code !== undefined && code <= 255) codes.add(code)
    else if (signal !== undefined) signals.add(signal)
    else invalid.push(word)
  }
  return { set: { codes, signals }, invalid }
}
