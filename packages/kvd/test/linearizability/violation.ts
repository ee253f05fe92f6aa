/** A promise that was broken: `id` names it, the message has the key and the operations. */
export interface Violation {
  readonly id: string
  readonly message: string
}
