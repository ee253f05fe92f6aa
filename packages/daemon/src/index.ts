export { FlagError, parseGoBool, parseGoFlags } from './go-flags.ts'
export type { FlagSpec, FlagTable, FlagType, ParsedFlags } from './go-flags.ts'
export {
  environmentLayer,
  fileLayer,
  flagLayer,
  OptionError,
  Options,
  variableName,
} from './options.ts'
export type { EnvironmentLayer, OptionLayer, OptionSource } from './options.ts'
export { createLogger, formatLine, isJournal } from './log.ts'
export type { LogFields, Logger, LoggerOptions, LogLevel, LogSink } from './log.ts'
export { keepWatchdog, notify, watchdogIntervalMs } from './notify.ts'
export { takeListenFds } from './listen-fds.ts'
export type { ListenFd } from './listen-fds.ts'
export { awaitTermination, endsWithin } from './signals.ts'
export type { SignalSource, Termination } from './signals.ts'
