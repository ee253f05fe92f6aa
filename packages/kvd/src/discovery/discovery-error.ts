// etcd 2.3 discovery/discovery.go: users know most of these texts.
const MESSAGES = {
  FULL: 'discovery: cluster is full',
  DUPLICATE_ID: 'discovery: found duplicate id',
  DUPLICATE_NAME: 'discovery: found duplicate name',
  DUPLICATE_URL: 'discovery: found duplicate url',
  BAD_SIZE: 'discovery: size key is bad',
  BAD_ENDPOINT: 'discovery: bad discovery endpoint',
  INVALID_URL: 'discovery: invalid URL',
  /** The discovery URL answered with an error of the v2 API, which is the message. */
  REFUSED: 'discovery: the request was refused',
  /** The members do not know this one, or know it by other URLs. */
  NOT_A_MEMBER: 'discovery: this member is not in the cluster',
  /** DNS has no records that could be used. */
  SRV: 'discovery: no SRV records',
  /** More members than this kvd can have. */
  TOO_MANY: 'discovery: the cluster is too large',
} as const

export type DiscoveryCode = keyof typeof MESSAGES

/** The members of a new cluster could not be found out. */
export class DiscoveryError extends Error {
  override readonly name = 'DiscoveryError'
  readonly code: DiscoveryCode

  /** @param message the text of the code when not given */
  constructor(code: DiscoveryCode, message?: string, options?: ErrorOptions) {
    super(message ?? MESSAGES[code], options)
    this.code = code
  }
}
