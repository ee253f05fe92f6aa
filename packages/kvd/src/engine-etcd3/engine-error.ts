/** The front cannot start: `message` names the flag. */
export class EngineError extends Error {
  override readonly name = 'EngineError'
  readonly code = 'ENGINE'
}
