import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { mutants, type Mutant } from './mutants.ts'

const built = fileURLToPath(new URL('../..', import.meta.url))

/** How a mutant fared. */
export interface Detection {
  readonly mutant: Mutant
  /** Seeds that were run until one failed; undefined when none did. */
  readonly seeds: number | undefined
  readonly property: string
}

/** Runs the simulator against a copy of the compiled code with one fault in it. */
async function tryMutant(mutant: Mutant, budget: number): Promise<Detection> {
  const copy = mkdtempSync(join(tmpdir(), `mutant-${mutant.id}-`))
  try {
    for (const part of ['src', 'test/simulator', 'test/helpers'])
      cpSync(join(built, part), join(copy, part), { recursive: true })
    symlinkSync(join(built, '..', 'node_modules'), join(copy, 'node_modules'))
    writeFileSync(join(copy, 'package.json'), '{"type":"module"}')
    for (const { file, find, replace } of mutant.patches) {
      const path = join(copy, 'src', file)
      const code = readFileSync(path, 'utf8')
      if (code.split(find).length !== 2)
        throw new Error(`${mutant.id}: ${file} has not exactly once: ${find}`)
      // A function, because a text would give `$` a meaning.
      writeFileSync(
        path,
        code.replace(find, () => replace),
      )
    }
    const { from, property } = await firstFailure(join(copy, 'test/simulator/main.js'), budget)
    return { mutant, seeds: from, property }
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}

async function firstFailure(
  program: string,
  budget: number,
): Promise<{ from: number | undefined; property: string }> {
  const output = await new Promise<string>((resolve) => {
    execFile(
      process.execPath,
      [program, '--seeds', `${budget}`],
      { maxBuffer: 1 << 26 },
      (_error, stdout, stderr) => resolve(`${stdout}${stderr}`),
    )
  })
  const failed = /^seed (\d+): (\w+)/m.exec(output)
  if (failed !== null) return { from: Number(failed[1]), property: failed[2] ?? '' }
  if (!/^\d+ seeds, \d+ events, 0 failed/m.test(output))
    throw new Error(`the simulator broke:\n${output.slice(0, 2000)}`)
  return { from: undefined, property: '' }
}

/** All of them, two at a time. */
export async function tryMutants(
  budget: number,
  told: (detection: Detection) => void,
  only: readonly Mutant[] = mutants,
): Promise<Detection[]> {
  const waiting = [...only]
  const done: Detection[] = []
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const detection = await tryMutant(next, budget)
      done.push(detection)
      told(detection)
    }
  }
  await Promise.all([work(), work()])
  return done
}
