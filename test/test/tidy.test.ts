// The house rules that no tool knows.
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { ROOT } from '../src/harness/paths.ts'
import { OPTION_TABLES, optionNames } from './helpers/options.ts'
import { FILES, PACKAGES, entriesOf, importsOf, packageOf, read, strip } from './helpers/source.ts'

const SOURCES = FILES.filter((file) => /^(packages\/[\w-]+|test)\/(src|test)\/.*\.ts$/.test(file))
const PRODUCT = SOURCES.filter((file) => /^packages\/[\w-]+\/src\//.test(file))
const PROGRAMS = PACKAGES.filter(({ isProgram }) => isProgram).map(({ name }) => name)

/** Decisions live here: state in, tasks out. Folders end in a slash. */
const PURE = [
  'packages/kvd/src/raft/',
  'packages/kvd/src/store/',
  'packages/fleetd/src/engine/',
  'packages/fleetd/src/agent/',
  'packages/systemd/src/unit-file.ts',
  'packages/systemd/src/unit-name.ts',
]
const PURE_IMPORTS = /^(node:(assert|buffer)|@flotilla\/(fleet-registry|systemd))$/
const IMPURE =
  /\b(Date\.now|new Date\(\)|Math\.random|performance\.|setTimeout|setInterval|setImmediate|queueMicrotask|process\.|console\.|async\b|await\b|fetch\()/g

const isPure = (file: string): boolean =>
  PURE.some((place) => (place.endsWith('/') ? file.startsWith(place) : file === place))

/** Where a file of a package stands in main → server → {http, transport, storage} → {store, raft}. */
function rankOf(file: string): number | undefined {
  const inside = /^packages\/[\w-]+\/src\/(.*)$/.exec(file)?.[1] ?? ''
  if (inside === 'main.ts') return 4
  if (inside === 'server.ts') return 3
  if (/^(http|transport|storage|api)\//.test(inside)) return 2
  if (isPure(file)) return 1
  return undefined
}

test('no program imports another program, and nobody imports past index.ts', (t) => {
  const offenders = PRODUCT.concat(SOURCES.filter((file) => /^packages\/.*\/test\//.test(file)))
    .flatMap((file) => importsOf(file).map(({ specifier }) => ({ file, specifier })))
    .filter(({ file, specifier }) => {
      const [, name, deep] = /^@flotilla\/([\w-]+)(\/.*)?$/.exec(specifier) ?? []
      if (name === undefined) return false
      return deep !== undefined || (PROGRAMS.includes(name) && packageOf(file)?.name !== name)
    })
  t.same(offenders, [])
  t.ok(PROGRAMS.length >= 4, `programs: ${PROGRAMS.join(', ')}`)
  t.end()
})

test('a relative import stays in its package, names a file that exists, and ends in .ts', (t) => {
  const offenders = SOURCES.flatMap((file) =>
    importsOf(file)
      .filter(({ specifier }) => specifier.startsWith('.'))
      .filter(({ specifier, target }) => {
        const isURL = specifier.endsWith('.js') || !/\.\w+$/.test(specifier)
        if (isURL) return false // by URL: the compiled name, or a folder
        return target === undefined || packageOf(target)?.folder !== packageOf(file)?.folder
      })
      .map(({ specifier }) => `${file}: ${specifier}`),
  )
  t.same(offenders, [])
  t.end()
})

test('arrows inside a package never point back up', (t) => {
  const offenders = PRODUCT.flatMap((file) =>
    importsOf(file)
      .filter(({ target = '' }) => (rankOf(target) ?? 0) > (rankOf(file) ?? 4))
      .map(({ specifier }) => `${file} imports ${specifier}`),
  )
  t.same(offenders, [])
  const mains = PRODUCT.flatMap((file) =>
    importsOf(file)
      .filter(({ target = '' }) => /^packages\/[\w-]+\/src\/main\.ts$/.test(target))
      .map(() => file)
      .filter((name) => !name.endsWith('/index.ts')),
  )
  t.same(mains, [], 'no part of a program loads its main.ts')
  t.end()
})

test('pure folders know no clock, no chance, no disk and no network', (t) => {
  const pure = PRODUCT.filter(isPure)
  const imports = pure.flatMap((file) =>
    importsOf(file)
      .filter(({ specifier, target }) =>
        specifier.startsWith('.')
          ? target === undefined || !isPure(target)
          : !PURE_IMPORTS.test(specifier),
      )
      .map(({ specifier }) => `${file} imports ${specifier}`),
  )
  t.same(imports, [])
  const words = pure.flatMap((file) =>
    [...strip(read(file)).bare.matchAll(IMPURE)].map(([word]) => `${file}: ${word}`),
  )
  t.same(words, [])
  t.ok(pure.length > 10, `${pure.length} pure files`)
  t.end()
})

test('the scanner sees through comments, strings and patterns, and nothing else', (t) => {
  const text = `a // b'\nc /* d */ 'e // f' + "g" + \`h\` + (/i'/) / 2 // j`
  t.equal(strip(text).bare, `a  \nc   '' + '' + '' + ('') / 2  `)
  t.equal(strip(text).code, `a  \nc   'e // f' + "g" + \`h\` + (/i'/) / 2  `)
  t.end()
})

test('index.ts only re-exports', (t) => {
  const offenders = PRODUCT.filter((file) =>
    /^packages\/[\w-]+\/src\/index\.ts$/.test(file),
  ).filter((file) => {
    const rest = strip(read(file)).code.replaceAll(
      /export\s+(type\s+)?(\*|\{[^}]*\})\s*(from\s*'[^']+')?/g,
      '',
    )
    return rest.trim() !== ''
  })
  t.same(offenders, [])
  t.end()
})

test('a package exports its index and its manifest, and nothing else', (t) => {
  const offenders = PACKAGES.filter(({ folder }) => folder !== 'test')
    .map(({ name, manifest }) => [name, entriesOf(manifest, 'exports').map(([key]) => key)])
    .filter(([, keys]) => String(keys) !== '.,./package.json')
  t.same(offenders, [])
  t.end()
})

test('a start file is four executable lines that hand over to main', (t) => {
  const bins = PACKAGES.flatMap(({ folder, manifest }) =>
    entriesOf(manifest, 'bin').map(([, file]) => join(folder, file)),
  )
  for (const file of new Set(bins)) {
    t.match(
      read(file),
      /^#!\/usr\/bin\/env node\n(\/\/.*\n)?import \{ main \} from '\.\.\/dist\/main\.js'\nprocess\.exitCode = await main\(process\.argv\.slice\(2\), process\.env\)\n$/,
      file,
    )
    t.equal(statSync(join(ROOT, file)).mode & 0o111, 0o111, `${file} is executable`)
  }
  t.end()
})

/** The headings of a manual page, in their order. A library and a command line have fewer of them. */
const HEADINGS = [
  'Name',
  'Synopsis',
  'Description',
  'Options',
  'Files',
  'Signals',
  'Exit status',
  'Examples',
  'Differences from the original',
  'See also',
]
const LIBRARY = ['Name', 'Description', 'Examples', 'Differences from the original', 'See also']
const COMMAND = [...LIBRARY, 'Synopsis', 'Options', 'Exit status']

test('every package has a manual page, with all that someone who swaps components needs', (t) => {
  for (const { folder, name, isProgram } of PACKAGES.filter((one) => one.folder !== 'test')) {
    const file = `${folder}/README.md`
    const text = FILES.includes(file) ? read(file) : ''
    t.not(text, '', `${file} exists`)
    const sections = text.split(/^## /m).slice(1)
    const headings = sections.map((section) => section.split('\n')[0] ?? '')
    const known = headings.filter((heading) => HEADINGS.includes(heading))
    t.same(
      known,
      HEADINGS.filter((heading) => known.includes(heading)),
      `${name}: order`,
    )
    const isDaemon = FILES.some((one) => one.startsWith(`${folder}/systemd/`))
    const wanted = isDaemon ? HEADINGS : isProgram ? COMMAND : LIBRARY
    t.same(
      wanted.filter((heading) => !headings.includes(heading)),
      [],
      `${name}: missing`,
    )
    const differences = sections.find((section) => section.startsWith('Differences')) ?? ''
    t.ok(differences.length > 200, `${name}: the differences are told`)
  }
  t.end()
})

test('every option of a program stands in its manual page', async (t) => {
  t.same(
    PROGRAMS.filter((name) => !OPTION_TABLES.has(name)),
    [],
    'every program has a table',
  )
  for (const name of PROGRAMS) {
    const page = FILES.includes(`packages/${name}/README.md`)
      ? read(`packages/${name}/README.md`)
      : ''
    const options = await optionNames(name)
    t.ok(options.length > 5, `${name} has ${options.length} options`)
    const words = new Set(page.match(/[\w-]+/g))
    const isThere = (option: string) =>
      [option, `-${option}`, `--${option}`].some((word) => words.has(word))
    t.same(
      options.filter((option) => !isThere(option)),
      [],
      name,
    )
  }
})

test('every source file is loaded by some test', (t) => {
  const reached = new Set<string>()
  const queue = SOURCES.filter((file) => file.endsWith('.test.ts'))
  for (const file of queue) {
    if (reached.has(file)) continue
    reached.add(file)
    const started = PROGRAMS.filter((name) => startsProgram(file, name))
    queue.push(
      ...importsOf(file).flatMap(({ target }) => (target === undefined ? [] : [target])),
      ...started.map((name) => `packages/${name}/src/main.ts`),
    )
  }
  const hasCode = (file: string) => /\/src\//.test(file) && !file.endsWith('/src/index.ts')
  const lost = SOURCES.filter((file) => hasCode(file) && !reached.has(file))
  t.same(lost, [])
  t.end()
})

/** True when a file starts one of our programs as a process. */
function startsProgram(file: string, name: string): boolean {
  const { code } = strip(read(file))
  return code.includes(`program('${name}')`) || code.includes(`bin/${name}.js`)
}

test('one version of each dependency', (t) => {
  const wanted = new Map<string, Set<string>>()
  const manifests = FILES.filter((file) => /^([\w-]+\/){0,2}package\.json$/.test(file))
  for (const file of manifests)
    for (const field of ['dependencies', 'devDependencies', 'optionalDependencies'])
      for (const [name, range] of entriesOf(JSON.parse(read(file)), field))
        wanted.set(name, (wanted.get(name) ?? new Set()).add(range))
  const different = [...wanted].filter(([, ranges]) => ranges.size > 1)
  t.same(
    different.map(([name, ranges]) => `${name}: ${[...ranges].join(' and ')}`),
    [],
  )
  const locked = new Map<string, Set<string>>()
  const [importers = ''] = read('pnpm-lock.yaml').split(/^packages:$/m)
  for (const [, name = '', version = ''] of importers.matchAll(
    /^ {6}'?([^\s':]+)'?:\n {8}specifier: .*\n {8}version: ([^\s(]+)/gm,
  ))
    if (!version.startsWith('link:')) locked.set(name, (locked.get(name) ?? new Set()).add(version))
  t.same(
    [...locked].filter(([, versions]) => versions.size > 1).map(([name]) => name),
    [],
  )
  t.ok(locked.has('typescript'), 'the lock file was understood')
  t.end()
})

test('no path of a machine and no host of a registry stands in the tree', (t) => {
  const machine = /\/work\/|\/farm\/|\/var\/tmp\/|\/Users\//
  const host = /registry\.npm|(deb|security)\.debian\.org|nodejs\.org|github\.io/
  const offenders = FILES.flatMap((file) =>
    [machine, host].flatMap((pattern) => {
      const [found] = pattern.exec(read(file)) ?? []
      return found === undefined ? [] : [`${file}: ${found}`]
    }),
  )
  t.same(offenders, [])
  t.end()
})
