import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join, normalize } from 'node:path'
import { member, textOf } from '../../src/harness/json.ts'
import { ROOT } from '../../src/harness/paths.ts'

/** A package of the workspace as its manifest describes it. */
export interface Package {
  /** Folder relative to the root: `packages/kvd`. */
  readonly folder: string
  /** Short name: `kvd`. */
  readonly name: string
  readonly isProgram: boolean
  readonly manifest: unknown
}

/** Every file of the project, relative to the root: what git tracks, and what it would if asked. */
export const FILES: readonly string[] = execFileSync(
  'git',
  ['ls-files', '--cached', '--others', '--exclude-standard', '--deduplicate'],
  { cwd: ROOT, encoding: 'utf8', maxBuffer: 64 << 20 },
)
  .split('\n')
  .filter((file) => file !== '' && existsSync(join(ROOT, file)))
  .toSorted()

export function read(file: string): string {
  return readFileSync(join(ROOT, file), 'utf8')
}

export const PACKAGES: readonly Package[] = FILES.flatMap((file) => {
  const folder = /^(packages\/[\w-]+|test)\/package\.json$/.exec(file)?.[1]
  if (folder === undefined) return []
  const manifest: unknown = JSON.parse(read(file))
  const name = folder.slice(folder.indexOf('/') + 1)
  return [{ folder, name, isProgram: member(manifest, 'bin') !== undefined, manifest }]
})

/** The package that a file belongs to. */
export function packageOf(file: string): Package | undefined {
  return PACKAGES.find(({ folder }) => file.startsWith(`${folder}/`))
}

/** One import of a source file. `target` is the file it leads to, where that is one of ours. */
export interface Import {
  readonly specifier: string
  readonly target: string | undefined
}

/** Everything that a source file loads: imports, re-exports, dynamic imports, worker threads by URL. */
export function importsOf(file: string): Import[] {
  const { code } = strip(read(file))
  const found = [
    ...code.matchAll(/\bfrom\s*'([^']+)'/g),
    ...code.matchAll(/\bimport\s*\(?\s*'([^']+)'/g),
    ...code.matchAll(/\bnew URL\(\s*'([^']+)',\s*import\.meta\.url\s*\)/g),
  ]
  return found.map(([, specifier = '']) => ({ specifier, target: targetOf(file, specifier) }))
}

function targetOf(file: string, specifier: string): string | undefined {
  if (specifier.startsWith('.')) {
    // What is loaded by URL has its compiled name.
    const path = normalize(join(file, '..', specifier)).replace(/\.js$/, '.ts')
    return FILES.includes(path) ? path : undefined
  }
  const name = /^@flotilla\/([\w-]+)$/.exec(specifier)?.[1]
  const target = `packages/${name}/src/index.ts`
  return FILES.includes(target) ? target : undefined
}

/** The manifest's members of one field, as text: dependencies, exports. */
export function entriesOf(manifest: unknown, field: string): [string, string][] {
  return Object.entries(member(manifest, field) ?? {}).map(([key, value]) => [key, textOf(value)])
}

const SCANNER =
  /\/\/[^\n]*|\/\*[^]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|(?<=[(,=:[!&|?{};]\s*|\breturn\s+)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\//g

/**
 * A source text without comments (`code`), and without strings and patterns too (`bare`). Good enough for
 * text that prettier has formatted; what stands in `${}` of a template counts as string.
 */
export function strip(text: string): { readonly code: string; readonly bare: string } {
  const isComment = (token: string): boolean => token.startsWith('//') || token.startsWith('/*')
  return {
    code: text.replaceAll(SCANNER, (token) => (isComment(token) ? ' ' : token)),
    bare: text.replaceAll(SCANNER, (token) => (isComment(token) ? ' ' : "''")),
  }
}
