import { shownUrl } from './discovery/shown-url.ts'

/** How the value of a flag is shown where it may hold a password. */
const SHOWN: ReadonlyMap<string, (value: string) => string> = new Map([
  ['discovery', shownUrl],
  ['discovery-proxy', shownUrl],
  ['existing-engine-user', (value: string) => value.replace(/:.*/s, ':...')],
])

/** A flag's value as a log may show it. */
export function shownValue(flag: string, value: string): string {
  return SHOWN.get(flag)?.(value) ?? value
}

/** A command line as others may see it. */
export function shownArgv(argv: readonly string[]): string[] {
  let before: string | undefined
  return argv.map((word) => {
    const [, dashes = '', name = '', value] = /^(--?)([^=]+)(?:=(.*))?$/s.exec(word) ?? []
    const shown =
      before !== undefined && SHOWN.has(before)
        ? shownValue(before, word)
        : value === undefined
          ? word
          : `${dashes}${name}=${shownValue(name, value)}`
    before = value === undefined && dashes !== '' ? name : undefined
    return shown
  })
}
