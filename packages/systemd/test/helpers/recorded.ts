import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'

/** What systemd 252 made of command lines and environments; see the file's description. */
export interface Recorded {
  /** The Environment= that was set for `arguments` and `prefixes`. */
  readonly environment: string
  readonly arguments: readonly { readonly line: string; readonly argv: readonly string[] }[]
  readonly prefixes: readonly {
    readonly line: string
    readonly argv: readonly string[] | null
    readonly loadState: string
  }[]
  readonly settings: readonly { readonly text: string; readonly variables: object }[]
  readonly files: readonly { readonly text: string; readonly variables: object }[]
}

export function readRecorded(): Recorded {
  const path = resolve(import.meta.dirname, '../../../test/fixtures/systemd-252.json')
  const recorded: Recorded = JSON.parse(readFileSync(path, 'utf8'))
  return recorded
}
