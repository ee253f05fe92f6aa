/** The database contradicts itself: a checksum, a gap, a format. */
export class DamageError extends Error {
  override readonly name = 'DamageError'
  readonly code = 'DAMAGED'
}
