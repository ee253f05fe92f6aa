/** Why a trial could not be carried out, or what the cluster did not do in time. */
export type TrialCode =
  'NOT_SERVING' | 'NOT_GONE' | 'DIFFERENT' | 'NO_HOOK' | 'NO_ROOM' | 'NO_ANSWER'

export class TrialError extends Error {
  override readonly name = 'TrialError'
  readonly code: TrialCode

  constructor(code: TrialCode, message: string) {
    super(message)
    this.code = code
  }
}
