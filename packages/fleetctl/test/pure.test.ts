import { test } from 'tap'
import { normalize, UsageError } from '../src/arguments.ts'
import { logTime, machineLegend } from '../src/context.ts'
import { hostField, matchesHost } from '../src/known-hosts.ts'
import { chooseColumns } from '../src/listing.ts'
import { COMMANDS } from '../src/options.ts'
import { formatTable } from '../src/table.ts'

test('flags stand anywhere and take their values either way', (t) => {
  t.same(normalize(['list-units', '--fields', 'unit', '--no-legend']), [
    'list-units',
    '--fields=unit',
    '--no-legend',
    '--',
  ])
  t.same(normalize(['--fields=unit', 'list-units']), ['list-units', '--fields=unit', '--'])
  t.same(normalize(['start', 'a', '--endpoint', 'http://x', 'b']), [
    'start',
    '--endpoint=http://x',
    '--',
    'a',
    'b',
  ])
  t.same(normalize(['start', '--', '--odd.service']), ['start', '--', '--odd.service'])
  t.same(normalize(['start', '--replace=false', '--no-block=true', 'a']), [
    'start',
    '--no-block',
    '--',
    'a',
  ])
  t.same(normalize(['--strict-host-key-checking', 'status']), [
    'status',
    '--strict-host-key-checking=true',
    '--',
  ])
  t.same(
    normalize(['ssh', 'm1', 'ls', '--full']),
    ['ssh', '--', 'm1', 'ls', '--full'],
    "the remote command's flags",
  )
  t.same(normalize(['ssh', '--machine=m1', 'ls', '-l']), ['ssh', '--machine=m1', '--', 'ls', '-l'])
  t.end()
})

test('a number that is none is refused', (t) => {
  const refused = [
    ['start', 'block-attempts', 'abc'],
    ['stop', 'block-attempts', '1.5'],
    ['journal', 'lines', ''],
    ['journal', 'lines', '5x'],
    ['status', 'ssh-port', 'ssh'],
  ] as const
  for (const [command, flag, value] of refused) {
    const why = `strconv.ParseInt: parsing "${value}": invalid syntax`
    t.throws(
      () => normalize([command, `--${flag}=${value}`, 'a']),
      new UsageError(`invalid argument "${value}" for "--${flag}" flag: ${why}`),
    )
  }
  for (const value of ['0', '12', '-1', '+3']) {
    t.same(normalize(['load', `--block-attempts=${value}`]), [
      'load',
      `--block-attempts=${value}`,
      '--',
    ])
  }
  t.end()
})

test('flags of one letter work with one dash and with two', (t) => {
  for (const flag of ['-l', '--l', '--full']) {
    t.same(normalize(['list-units', flag]), ['list-units', '--full', '--'])
  }
  t.same(normalize(['journal', '-f', 'a']), ['journal', '--follow', '--', 'a'])
  t.same(normalize(['help']), ['--help', '--'])
  t.same(normalize(['-v']), ['--version', '--'])
  t.end()
})

test('commands may be shortened while they stay unique', (t) => {
  t.same(normalize(['list-m']), ['list-machines', '--'])
  t.same(normalize(['stat', 'x']), ['status', '--', 'x'])
  t.throws(() => normalize(['list-u']), new UsageError('unknown command "list-u" for "fleetctl"'))
  t.throws(() => normalize(['nope']), new UsageError('unknown command "nope" for "fleetctl"'))
  for (const { name } of COMMANDS) t.same(normalize([name]), [name, '--'])
  t.end()
})

test('what is no flag is refused in the words of the original', (t) => {
  const refused = (args: string[], message: string): void => {
    t.throws(() => normalize(args), new UsageError(message))
  }
  refused(['list-units', '--nosuchflag'], 'unknown flag: --nosuchflag')
  refused(['list-units', '-x'], "unknown shorthand flag: 'x' in -x")
  refused(['list-units', '--fields'], 'flag needs an argument: --fields')
  refused(
    ['list-units', '--full=maybe'],
    'invalid argument "maybe" for "--full" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
  )
  t.end()
})

test('tables are padded with tabs to multiples of eight', (t) => {
  t.equal(
    formatTable([
      ['A', 'B'],
      ['1234567', 'x'],
      ['12345678', 'y'],
    ]),
    'A\t\tB\n1234567\t\tx\n12345678\ty\n',
  )
  t.equal(
    formatTable([
      ['é.service', 'x'],
      ['aaaaaaa', 'y'],
    ]),
    'é.service\tx\naaaaaaa\t\ty\n',
  )
  t.equal(
    formatTable([['a', 'b\nc', 'd']]),
    'a\tb\nc\td\n',
    'a cell with a line break ends the column',
  )
  t.equal(formatTable([]), '')
  t.end()
})

test('columns are chosen by name', (t) => {
  const columns = { unit: () => 'u', sub: () => 's' }
  t.same(chooseColumns(columns, 'sub,unit'), { names: ['sub', 'unit'] })
  t.same(chooseColumns(columns, ''), { problem: 'Must define output format' })
  t.same(chooseColumns(columns, 'unit,,sub'), { problem: 'Invalid key in output format: ""' })
  t.same(chooseColumns(columns, 'toString'), {
    problem: 'Invalid key in output format: "toString"',
  })
  t.end()
})

test('known hosts are matched by patterns, negation included', (t) => {
  t.equal(hostField('10.0.0.1:22'), '10.0.0.1')
  t.equal(hostField('host:2222'), '[host]:2222')
  t.equal(hostField('[::1]:2222'), '[::1]:2222')
  t.equal(hostField('a:b:c'), undefined)
  t.ok(matchesHost('10.0.0.*,!10.0.0.9', '10.0.0.1'))
  t.notOk(matchesHost('10.0.0.*,!10.0.0.9', '10.0.0.9'))
  t.ok(matchesHost('h?st', 'host'))
  t.notOk(matchesHost('host', 'HOST'))
  t.notOk(matchesHost('10.0.0.1', '10a0b0c1'), 'a dot is a dot')
  t.end()
})

test('machines are shown short, with their address', (t) => {
  const machines = new Map([
    ['0123456789', { id: '0123456789', ip: '10.0.0.1', metadata: new Map() }],
  ])
  t.equal(machineLegend(machines, '0123456789', false), '01234567.../10.0.0.1')
  t.equal(machineLegend(machines, '0123456789', true), '0123456789/10.0.0.1')
  t.equal(machineLegend(machines, 'ffffffffff', false), 'ffffffff...', 'gone meanwhile')
  t.equal(logTime(new Date(2026, 0, 2, 3, 4, 5)), '2026/01/02 03:04:05')
  t.end()
})
