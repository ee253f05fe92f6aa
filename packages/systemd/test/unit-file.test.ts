import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { array, assert, constantFrom, property, record, stringMatching } from 'fast-check'
import t from 'tap'
import { parseUnit, serializeUnit, type UnitOption, UnitParseError } from '../src/unit-file.ts'
import { parseUnitName, isTemplateName } from '../src/unit-name.ts'

/** Compiled tests live in packages/systemd/build-test/test. */
const ROOT = resolve(import.meta.dirname, '../../../..')
const SHARED = process.env['FLOTILLA_SHARED'] ?? resolve(ROOT, '../shared')
const VECTORS = resolve(SHARED, 'conformance/fleet/vectors')

interface Case {
  readonly name: string
  readonly input: { readonly raw: string; readonly name: string }
  readonly output: unknown
}

function cases(file: string): readonly Case[] {
  const data: { cases: Case[] } = JSON.parse(readFileSync(resolve(VECTORS, file), 'utf8'))
  return data.cases
}

interface Parsed {
  readonly error?: string
  readonly options?: readonly UnitOption[]
  readonly [other: string]: unknown
}

function parsed(raw: string): Parsed {
  try {
    const options = parseUnit(raw)
    const serialized = serializeUnit(options)
    const hash = createHash('sha1').update(serialized).digest('hex')
    const description = options.find((o) => o.section === 'Unit' && o.name === 'Description')
    return { description: description?.value ?? '', hash, options, serialized }
  } catch (error) {
    if (!(error instanceof UnitParseError)) throw error
    return { error: error.message }
  }
}

const skip = existsSync(VECTORS) ? false : `no conformance data at ${VECTORS}`

t.test('every recorded unit file parses and serialises as the original did', { skip }, (tt) => {
  for (const { name, input, output } of cases('parse-unit.json')) {
    tt.same(parsed(input.raw), output, name)
  }
  tt.end()
})

t.test('every recorded unit name splits as the original did', { skip }, (tt) => {
  for (const { name, input, output } of cases('unit-name.json')) {
    const parts = parseUnitName(input.name)
    const isTemplate = parts !== undefined && isTemplateName(parts)
    const all = parts && { ...parts, isTemplate, isInstance: parts.instance !== '' }
    tt.same(all ?? null, output, name)
  }
  tt.end()
})

t.test('the rules that the recordings do not reach', (tt) => {
  const table: readonly (readonly [string, string, unknown])[] = [
    ['text before the first section is skipped', 'a=b\nc [S]\nA=1\n', [['S', 'A', '1']]],
    ['a comment there hides a section', '# [X]\n;[Y]\n[S]\nA=1', [['S', 'A', '1']]],
    ['no end of section', '[S', 'unable to find end of section'],
    ['end of file in a name', '[S]\nA', 'EOF'],
    [
      'carriage return in a name',
      '[S]\nA\r=1\n',
      'unexpected newline encountered while parsing option name',
    ],
    ['one blank after a comment that continues', '[S]\n# x\\ \nA=1\nB=2\n', [['S', 'B', '2']]],
    ['two blanks do not continue', '[S]\n# x\\  \nA=1\n', [['S', 'A', '1']]],
    [
      'CRLF does not continue',
      '[S]\r\nA=1 \\\r\nB=2\r\n',
      [
        ['S', 'A', '1 \\'],
        ['S', 'B', '2'],
      ],
    ],
    ['unicode white space is trimmed', '[S]\n\u2003A\u00a0=\u0085x\u3000\n', [['S', 'A', 'x']]],
    ['a byte order mark is no white space', '[S]\nA=\ufeffx\n', [['S', 'A', '\ufeffx']]],
    [
      'a long line before the first section',
      `${'x'.repeat(2048)}\n[S]\n`,
      'line too long (max 2048 bytes)',
    ],
    [
      'bytes count, not characters',
      `[S]\nA=${'ü'.repeat(1023)}\n`,
      'line too long (max 2048 bytes)',
    ],
    ['a long continuation', `[S]\nA=a\\\n${'x'.repeat(2048)}\n`, 'line too long (max 2048 bytes)'],
    [
      'an earlier error wins',
      `[S] x\nA=${'x'.repeat(3000)}\n`,
      'found garbage after section name : [120]',
    ],
  ]
  for (const [name, text, expected] of table) {
    const got = parsed(text)
    tt.same(got.error ?? got.options?.map((o) => [o.section, o.name, o.value]), expected, name)
  }
  tt.same(parseUnit(Buffer.from('[S]\nA=1\n')), [{ section: 'S', name: 'A', value: '1' }], 'bytes')
  tt.end()
})

t.test('what was serialised parses to the same text again', (tt) => {
  const word = stringMatching(/^[A-Za-z][A-Za-z0-9]{0,8}$/)
  const value = stringMatching(/^([!-[\]-~]([ -[\]-~ü☃]{0,20}[!-[\]-~])?)?$/)
  const options = array(record({ section: word, name: word, value }), { maxLength: 12 })
  assert(
    property(options, (list) => {
      const text = serializeUnit(list)
      tt.equal(serializeUnit(parseUnit(text)), text)
    }),
    { numRuns: 200 },
  )
  tt.end()
})

t.test('no text makes the parser throw anything but its own error', (tt) => {
  const piece = constantFrom('[', ']', '=', '\\', '\n', '\r', '#', ';', ' ', 'a', 'ü', '\0')
  assert(property(array(piece, { maxLength: 40 }), (list) => void parsed(list.join(''))))
  tt.pass('300 texts')
  tt.end()
})
