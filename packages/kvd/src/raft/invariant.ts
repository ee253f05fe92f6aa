/** The state machine contradicts itself: the process must not go on (raft.md 3.10). */
export class InvariantError extends Error {
  override readonly name = 'InvariantError'
  readonly code = 'INVARIANT'
  /** Its name. */
  readonly rule: string

  constructor(rule: string, detail: string) {
    super(`raft invariant ${rule}: ${detail}`)
    this.rule = rule
  }
}

/** @throws InvariantError unless it holds */
export function invariant(holds: boolean, name: string, detail: () => string): asserts holds {
  if (!holds) throw new InvariantError(name, detail())
}
