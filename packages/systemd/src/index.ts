export { createSystemdManager } from './dbus/manager.ts'
export type { SystemdManagerOptions } from './dbus/manager.ts'
export { systemClock } from './embedded/clock.ts'
export type { Clock } from './embedded/clock.ts'
export { createEmbeddedManager } from './embedded/manager.ts'
export type { EmbeddedManagerOptions } from './embedded/manager.ts'
export { NOT_FOUND, UnitManagerError } from './manager.ts'
export type {
  JournalOptions,
  UnitManager,
  UnitManagerErrorCode,
  UnitState,
  UnitStatus,
} from './manager.ts'
export { parseUnit, serializeUnit, UnitParseError } from './unit-file.ts'
export type { UnitOption } from './unit-file.ts'
export {
  escapePath,
  escapeUnitName,
  isTemplateName,
  parseUnitName,
  unescapeUnitName,
  UnitNameError,
} from './unit-name.ts'
export type { UnitName } from './unit-name.ts'
