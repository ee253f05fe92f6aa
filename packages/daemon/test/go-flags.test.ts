import t from 'tap'
import { FlagError, flagProblem, parseGoBool, parseGoFlags } from '../src/go-flags.ts'
import type { FlagTable } from '../src/go-flags.ts'

const TABLE: FlagTable = {
  name: { type: 'string', default: 'default', usage: 'a text' },
  debug: { type: 'bool', default: false, usage: 'a switch' },
  count: { type: 'uint', default: 3, usage: 'a number from 0 on' },
  offset: { type: 'int', default: 0, usage: 'a number' },
}

function parse(...argv: string[]): { values: Record<string, string>; rest: readonly string[] } {
  const { values, rest } = parseGoFlags(TABLE, argv)
  return { values: Object.fromEntries(values), rest }
}

t.test('flags are read as Go reads them', async (tt) => {
  const cases: [argv: string[], values: Record<string, string>, rest: string[]][] = [
    [[], {}, []],
    [['-name', 'x'], { name: 'x' }, []],
    [['--name', 'x'], { name: 'x' }, []],
    [['-name=x'], { name: 'x' }, []],
    [['--name=x'], { name: 'x' }, []],
    [['--name='], { name: '' }, []],
    [['--name', ''], { name: '' }, []],
    [['--name=a=b'], { name: 'a=b' }, []],
    [['--name', '-debug'], { name: '-debug' }, []],
    [['--name', '--'], { name: '--' }, []],
    [['-name', 'x', '-name', 'y'], { name: 'y' }, []],
    [['-debug'], { debug: 'true' }, []],
    [['-debug', 'false'], { debug: 'true' }, ['false']],
    [['-debug=false'], { debug: 'false' }, []],
    [['-debug=0', '-debug'], { debug: 'true' }, []],
    [['-count', '0'], { count: '0' }, []],
    [['-count=9007199254740991'], { count: '9007199254740991' }, []],
    [['-offset', '-5'], { offset: '-5' }, []],
    [['-offset=+5'], { offset: '+5' }, []],
    [['word', '-debug'], {}, ['word', '-debug']],
    [['-debug', 'word', '-name', 'x'], { debug: 'true' }, ['word', '-name', 'x']],
    [['-debug', '--', '-name', 'x'], { debug: 'true' }, ['-name', 'x']],
    [['-'], {}, ['-']],
    [[''], {}, ['']],
  ]
  for (const [argv, values, rest] of cases)
    tt.same(parse(...argv), { values, rest }, JSON.stringify(argv))
})

t.test('mistakes are refused in the words of Go', async (tt) => {
  const cases: [argv: string[], code: FlagError['code'], flag: string, message: string][] = [
    [['-x'], 'FLAG_UNDEFINED', 'x', 'flag provided but not defined: -x'],
    [['--x=1'], 'FLAG_UNDEFINED', 'x', 'flag provided but not defined: -x'],
    [['--toString'], 'FLAG_UNDEFINED', 'toString', 'flag provided but not defined: -toString'],
    [['--__proto__'], 'FLAG_UNDEFINED', '__proto__', 'flag provided but not defined: -__proto__'],
    [['-help'], 'FLAG_HELP', 'help', 'help requested'],
    [['--h'], 'FLAG_HELP', 'h', 'help requested'],
    [['---name'], 'FLAG_SYNTAX', '-name', 'bad flag syntax: ---name'],
    [['-=x'], 'FLAG_SYNTAX', '=x', 'bad flag syntax: -=x'],
    [['--=x'], 'FLAG_SYNTAX', '=x', 'bad flag syntax: --=x'],
    [['-name'], 'FLAG_SYNTAX', 'name', 'flag needs an argument: -name'],
    [['-count', 'x'], 'FLAG_VALUE', 'count', 'invalid value "x" for flag -count: parse error'],
    [['-count=-1'], 'FLAG_VALUE', 'count', 'invalid value "-1" for flag -count: parse error'],
    [['-count=+1'], 'FLAG_VALUE', 'count', 'invalid value "+1" for flag -count: parse error'],
    [['-count='], 'FLAG_VALUE', 'count', 'invalid value "" for flag -count: parse error'],
    [
      ['-count=9007199254740992'],
      'FLAG_VALUE',
      'count',
      'invalid value "9007199254740992" for flag -count: value out of range',
    ],
    [['-offset=1.5'], 'FLAG_VALUE', 'offset', 'invalid value "1.5" for flag -offset: parse error'],
    [
      ['-debug=maybe'],
      'FLAG_VALUE',
      'debug',
      'invalid boolean value "maybe" for -debug: parse error',
    ],
    [['-debug='], 'FLAG_VALUE', 'debug', 'invalid boolean value "" for -debug: parse error'],
  ]
  for (const [argv, code, flag, message] of cases)
    tt.throws(() => parse(...argv), { name: 'FlagError', code, flag, message }, argv.join(' '))
})

t.test('a table may define -h and -help itself', async (tt) => {
  const table: FlagTable = { h: { type: 'bool', default: false, usage: 'half' } }
  tt.equal(parseGoFlags(table, ['-h']).values.get('h'), 'true')
})

t.test('a bool has six spellings of each value and no others', async (tt) => {
  for (const text of ['1', 't', 'T', 'TRUE', 'true', 'True']) tt.equal(parseGoBool(text), true)
  for (const text of ['0', 'f', 'F', 'FALSE', 'false', 'False']) tt.equal(parseGoBool(text), false)
  for (const text of ['', 'yes', 'tRUE', ' true', '2']) tt.equal(parseGoBool(text), undefined)
})

t.test('any text is a string', async (tt) => {
  tt.equal(flagProblem('string', ''), undefined)
  tt.equal(flagProblem('string', 'ä\n'), undefined)
})
