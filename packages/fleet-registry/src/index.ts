export { AgentRegistry } from './agent-registry.ts'
export { RegistryCache, type ChangeListener } from './cache.ts'
export * from './codec.ts'
export { ENGINE_VERSION, EngineRegistry, type HeldLease } from './engine-registry.ts'
export { matchGlob } from './glob.ts'
export { encodeGoJSON } from './go-json.ts'
export { DEFAULT_KEY_PREFIX, isKeyElement, registryKeys, type Keys } from './keys.ts'
export * from './machine.ts'
export * from './page-token.ts'
export * from './requirements.ts'
export * from './schema.ts'
export { Snapshot, type Change, type Job, type LeaseRecord } from './snapshot.ts'
export { checkUnitName, isRecognizedUnitType, mangleUnitName } from './unit-name.ts'
export {
  UnitRegistry,
  UnreadableUnitError,
  type NamedUnitState,
  type Unit,
} from './unit-registry.ts'
export * from './unit.ts'
