import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** A change of compiled code, as text to be found once and replaced. */
export interface CodePatch {
  /** Compiled file below src/. */
  readonly file: string
  readonly find: string
  readonly replace: string
}

const built = fileURLToPath(new URL('../..', import.meta.url))

/**
 * Calls `use` with a copy of the compiled code in which some texts are replaced, and removes it.
 * @param parts directories below build-test that are needed
 * @throws Error when a text is not there exactly once
 */
export async function withPatchedCopy<Result>(
  patches: readonly CodePatch[],
  parts: readonly string[],
  use: (copy: string) => Promise<Result>,
): Promise<Result> {
  const copy = mkdtempSync(join(tmpdir(), 'patched-'))
  try {
    for (const part of parts) cpSync(join(built, part), join(copy, part), { recursive: true })
    symlinkSync(join(built, '..', 'node_modules'), join(copy, 'node_modules'))
    writeFileSync(join(copy, 'package.json'), '{"type":"module"}')
    for (const { file, find, replace } of patches) {
      const path = join(copy, 'src', file)
      const code = readFileSync(path, 'utf8')
      if (code.split(find).length !== 2) throw new Error(`${file} has not exactly once: ${find}`)
      // A function, because a text would give `$` a meaning.
      writeFileSync(
        path,
        code.replace(find, () => replace),
      )
    }
    return await use(copy)
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}
