import * as fc from 'fast-check'
import { test } from 'tap'
import { parseBool, parseDuration, parseInteger } from '../src/args/number.ts'
import { parseCommand, parseExecWatch, parseOptions } from '../src/args/options.ts'
import type { OptionSpec, Parsed } from '../src/args/options.ts'

const SPECS: readonly OptionSpec[] = [
  { names: ['sort'], kind: 'bool', help: '' },
  { names: ['output', 'o'], kind: 'text', fallback: 'simple', help: '' },
  { names: ['ttl'], kind: 'int', fallback: '0', help: '' },
  { names: ['timeout'], kind: 'duration', fallback: '1s', help: '' },
  { names: ['roles'], kind: 'list', help: '' },
]

function show(parsed: Parsed): string {
  if (parsed.type !== 'parsed') return parsed.type
  const { options, rest } = parsed
  const roles = options.list('roles').join('+')
  return [
    options.bool('sort') ? 'sorted' : '-',
    options.text('output'),
    `${options.int('ttl')}`,
    `${options.ms('timeout')}`,
    roles === '' ? '-' : roles,
    JSON.stringify(rest),
  ].join(' ')
}

test('booleans, integers and durations are those of Go', (t) => {
  for (const text of ['1', 't', 'T', 'TRUE', 'true', 'True']) t.equal(parseBool(text), true, text)
  for (const text of ['0', 'f', 'F', 'FALSE', 'false', 'False']) t.equal(parseBool(text), false)
  for (const text of ['', 'yes', 'tRUE', '2']) t.equal(parseBool(text), undefined, text)

  const integers: readonly (readonly [string, bigint | undefined])[] = [
    ['0', 0n],
    ['-5', -5n],
    ['+5', 5n],
    ['0x1F', 31n],
    ['010', 8n],
    ['0o17', 15n],
    ['0b101', 5n],
    ['9223372036854775807', 9223372036854775807n],
    ['9223372036854775808', undefined],
    ['-9223372036854775808', -9223372036854775808n],
    ['-9223372036854775809', undefined],
    ['', undefined],
    ['abc', undefined],
    ['1e3', undefined],
    ['09', undefined],
    [' 1', undefined],
  ]
  for (const [text, value] of integers) t.equal(parseInteger(text), value, text)

  const durations: readonly (readonly [string, number | undefined])[] = [
    ['0', 0],
    ['500ms', 500],
    ['1s', 1000],
    ['1m30s', 90_000],
    ['1.5h', 5_400_000],
    ['.5s', 500],
    ['-2s', -2000],
    ['1us', 0.001],
    ['1µs', 0.001],
    ['5', undefined],
    ['abc', undefined],
    ['1d', undefined],
    ['', undefined],
    ['s', undefined],
  ]
  for (const [text, value] of durations) t.equal(parseDuration(text), value, text)
  t.end()
})

test('any integer that is printed is read back', (t) => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
      t.equal(parseInteger(String(value)), value)
    }),
  )
  t.end()
})

test('options take one dash or two, = or the next word, and end at the first argument', (t) => {
  const table: readonly (readonly [readonly string[], string])[] = [
    [[], '- simple 0 1000 - []'],
    [['get', '-sort'], '- simple 0 1000 - ["get","-sort"]'],
    [['-sort', 'get'], 'sorted simple 0 1000 - ["get"]'],
    [['--sort=false', 'get'], '- simple 0 1000 - ["get"]'],
    [['--sort', 'false'], 'sorted simple 0 1000 - ["false"]'],
    [['-o', 'json', 'x'], '- json 0 1000 - ["x"]'],
    [['-o=json'], '- json 0 1000 - []'],
    [['--output=a=b'], '- a=b 0 1000 - []'],
    [['--output='], '-  0 1000 - []'],
    [['--ttl', '-5'], '- simple -5 1000 - []'],
    [['--timeout=3s', '-ttl=0x10'], '- simple 16 3000 - []'],
    [['--roles', 'a', '-roles=b', 'u'], '- simple 0 1000 a+b ["u"]'],
    [['-o', 'a', '-o', 'b'], '- b 0 1000 - []'],
    [['-', 'x'], '- simple 0 1000 - ["-","x"]'],
    [['--', '-sort'], '- simple 0 1000 - ["-sort"]'],
    [['--bogus'], 'wrong'],
    [['---sort'], 'wrong'],
    [['--=x'], 'wrong'],
    [['-o'], 'wrong'],
    [['--ttl', 'abc'], 'wrong'],
    [['--ttl'], 'wrong'],
    [['--timeout', '5'], 'wrong'],
    [['--sort=maybe'], 'wrong'],
    [['-o', 'a', '--output', 'b'], 'twice'],
  ]
  for (const [args, want] of table) t.equal(show(parseOptions(SPECS, args)), want, args.join(' '))
  t.match(parseOptions(SPECS, ['--output', 'a', '-o', 'b']), {
    message: 'Cannot use two forms of the same flag: o output',
  })
  t.end()
})

test('options of a command stand before or after its arguments, whose order is kept', (t) => {
  const table: readonly (readonly [readonly string[], string])[] = [
    [['/a', 'v'], '- simple 0 1000 - ["/a","v"]'],
    [['--ttl', '5', '/a', 'v'], '- simple 5 1000 - ["/a","v"]'],
    [['/a', 'v', '--ttl', '5'], '- simple 5 1000 - ["/a","v"]'],
    [['/a', '--ttl', '5', 'v'], '- simple 5 1000 - ["/a","v"]'],
    [['--ttl', '5', '/a', '-5'], '- simple 5 1000 - ["/a","-5"]'],
    [['/a', '-5'], 'wrong'],
    [['--', '/a', '-5'], '- simple 0 1000 - ["/a","-5"]'],
    [['/a', '--', '-5'], '- simple 0 1000 - ["/a","-5"]'],
    [['--ttl', '5', '--', '/a', '-5'], '- simple 5 1000 - ["/a","-5"]'],
    [['/a', '--ttl', '5', '--', '-5'], '- simple 5 1000 - ["/a","-5"]'],
    [['/a', '--', '--ttl'], '- simple 0 1000 - ["/a","--ttl"]'],
  ]
  for (const [args, want] of table) t.equal(show(parseCommand(SPECS, args)), want, args.join(' '))
  t.end()
})

test('exec-watch leaves the options of its command alone', (t) => {
  const table: readonly (readonly [readonly string[], string])[] = [
    [['/a', '--', 'sh', '-c', 'x'], '- simple 0 1000 - ["/a","sh","-c","x"]'],
    [['--sort', '/a', '--', 'sh', '-c'], 'sorted simple 0 1000 - ["/a","sh","-c"]'],
    [['/a', '--sort', '--', 'sh', '-c'], 'sorted simple 0 1000 - ["/a","sh","-c"]'],
    [['/a', 'sh', '-c', 'x'], '- simple 0 1000 - ["/a","sh","-c","x"]'],
    [['--sort', '/a', 'sh', '-c'], 'sorted simple 0 1000 - ["/a","sh","-c"]'],
  ]
  for (const [args, want] of table) t.equal(show(parseExecWatch(SPECS, args)), want, args.join(' '))
  t.end()
})
