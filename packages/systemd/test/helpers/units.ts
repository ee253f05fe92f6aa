import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import type { UnitManager } from '../../src/manager.ts'

const WAIT_MS = 20_000

/** Waits until the unit's sub state is `sub`, woken by the manager's own events. */
export async function untilSub(manager: UnitManager, name: string, sub: string): Promise<void> {
  await until(manager, name, async () => {
    const state = (await manager.states([name])).get(name)
    return state?.subState === sub
  })
}

/** Waits until `check` holds, asking again at each change of the unit. */
export async function until(
  manager: UnitManager,
  name: string,
  check: () => Promise<boolean>,
): Promise<void> {
  let wake = (): void => undefined
  const off = manager.onChange((changed) => changed === name && wake())
  const deadline = Date.now() + WAIT_MS
  try {
    for (;;) {
      const next = new Promise<void>((resolve) => {
        wake = resolve
      })
      if (await check()) return
      await Promise.race([next, deadlineReached(deadline, manager, name)])
    }
  } finally {
    off()
  }
}

async function deadlineReached(
  deadline: number,
  manager: UnitManager,
  name: string,
): Promise<never> {
  await new Promise((resolve) => setTimeout(resolve, deadline - Date.now()).unref())
  const { text } = await manager.status(name)
  throw new Error(`waited in vain for ${name}; last seen:\n${text}`)
}

/** Follows the journal until it has such a line. */
export async function untilLine(manager: UnitManager, name: string, line: string): Promise<void> {
  const signal = AbortSignal.timeout(WAIT_MS)
  const options = { lines: 1000, follow: true, output: 'cat', signal }
  for await (const each of manager.journal(name, options)) if (each === line) return
  throw new Error(`waited in vain for the line "${line}" of ${name}`)
}

/** All lines that are there now. */
export async function lines(manager: UnitManager, name: string, output = 'cat'): Promise<string[]> {
  const all: string[] = []
  for await (const line of manager.journal(name, { lines: 1000, follow: false, output }))
    all.push(line)
  return all
}

/** True when a program can be found in PATH. */
export async function hasProgram(name: string): Promise<boolean> {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    const isThere = await access(join(directory, name), constants.X_OK).then(
      () => true,
      () => false,
    )
    if (isThere) return true
  }
  return false
}
