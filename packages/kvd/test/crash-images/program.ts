import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const own = fileURLToPath(new URL('main.js', import.meta.url))

/** What `main.ts` says at its end. */
export interface ProgramResult {
  readonly tried: number
  readonly problem: string | undefined
  /** Counted lines by what they count. */
  readonly counts: ReadonlyMap<string, number>
}

/**
 * Runs `main.ts` with these arguments: in a process of its own, because threads of a test that tap runs
 * take several times as long to start. @throws Error when it broke
 */
export async function runProgram(
  args: readonly (string | number)[],
  program = own,
): Promise<ProgramResult> {
  const output = await new Promise<string>((resolve) => {
    const options = { maxBuffer: 1 << 26, env: { ...process.env, NODE_OPTIONS: '' } }
    execFile(process.execPath, [program, ...args.map(String)], options, (_, stdout, stderr) =>
      resolve(`${stdout}${stderr}`),
    )
  })
  const tried = /^(\d+) tried$/m.exec(output)?.[1]
  if (tried === undefined) throw new Error(`${args.join(' ')} broke:\n${output}`)
  const counted = [...output.matchAll(/^ {2}(.*): (\d+)$/gm)]
  return {
    tried: Number(tried),
    problem: /^found: (.*)/m.exec(output)?.[1],
    counts: new Map(counted.map(([, what = '', count]) => [what, Number(count)])),
  }
}
