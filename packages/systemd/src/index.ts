export { NOT_FOUND } from './manager.ts'
export type { JournalOptions, UnitManager, UnitState, UnitStatus } from './manager.ts'
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
