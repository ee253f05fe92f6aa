import { Buffer } from 'node:buffer'

/** How much work a password costs: 2^costLog2 * blockSize * 128 bytes of memory, `rounds` times. */
export interface ScryptCost {
  readonly costLog2: number
  readonly blockSize: number
  readonly rounds: number
}

/** OWASP's choice for 16 MiB: as strong as its others, and small beside the rest of a member. */
export const SCRYPT_COST: ScryptCost = { costLog2: 14, blockSize: 8, rounds: 5 }

/** A password as the store keeps it. */
export interface HashedPassword {
  readonly cost: ScryptCost
  readonly salt: Buffer
  readonly key: Buffer
}

const TEXT =
  /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/
const COST_LOG2_MAX = 20

/** The PHC string format: parameters, salt and hash in one text. */
export function passwordText({ cost, salt, key }: HashedPassword): string {
  const { costLog2, blockSize, rounds } = cost
  return `$scrypt$ln=${costLog2},r=${blockSize},p=${rounds}$${unpadded(salt)}$${unpadded(key)}`
}

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '')
}

/** Undefined for anything else, such as a bcrypt hash: nobody can log in with that. */
export function parsePassword(text: string): HashedPassword | undefined {
  const [, costLog2, blockSize, rounds, salt = '', key = ''] = TEXT.exec(text) ?? []
  const cost = {
    costLog2: Number(costLog2),
    blockSize: Number(blockSize),
    rounds: Number(rounds),
  }
  if (!Object.values(cost).every((value) => value > 0) || cost.costLog2 > COST_LOG2_MAX)
    return undefined
  return { cost, salt: Buffer.from(salt, 'base64'), key: Buffer.from(key, 'base64') }
}
