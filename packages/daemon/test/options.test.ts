import t from 'tap'
import type { FlagTable } from '../src/go-flags.ts'
import {
  environmentLayer,
  fileLayer,
  flagLayer,
  OptionError,
  Options,
  variableName,
} from '../src/options.ts'

const TABLE: FlagTable = {
  name: { type: 'string', default: 'default', usage: '' },
  'data-dir': { type: 'string', default: '', usage: '' },
  'snapshot-count': { type: 'uint', default: 10_000, usage: '' },
  debug: { type: 'bool', default: false, usage: '' },
  'listen-urls': { type: 'string', default: 'http://a, http://b', usage: '' },
}
const NO_FLAGS = new Map<string, string>()

t.test('a flag beats the environment, that beats the file, that beats the default', async (tt) => {
  const flags = flagLayer(new Map([['name', 'by-flag']]))
  const environment = environmentLayer(
    TABLE,
    { X_NAME: 'by-variable', X_DATA_DIR: 'by-variable' },
    ['X_'],
    NO_FLAGS,
  )
  const file = fileLayer(TABLE, 'name=by-file\ndata-dir=by-file\nsnapshot-count=7', 'x.conf')
  const options = new Options(TABLE, [flags, environment, file])
  tt.same(
    ['name', 'data-dir', 'snapshot-count', 'debug'].map((name) => [
      options.string(name),
      options.source(name),
      options.isSet(name),
    ]),
    [
      ['by-flag', 'flag', true],
      ['by-variable', 'environment', true],
      ['7', 'file', true],
      ['false', 'default', false],
    ],
  )
  tt.same(options.given(), [
    { name: 'name', value: 'by-flag', source: 'flag' },
    { name: 'data-dir', value: 'by-variable', source: 'environment' },
    { name: 'snapshot-count', value: '7', source: 'file' },
  ])
})

t.test('values are read with the type that the reader asks for', async (tt) => {
  const options = new Options(TABLE, [
    flagLayer(
      new Map([
        ['debug', 'T'],
        ['snapshot-count', '0012'],
        ['data-dir', ' a ,, b,'],
      ]),
    ),
  ])
  tt.equal(options.bool('debug'), true)
  tt.equal(options.number('snapshot-count'), 12)
  tt.same(options.list('data-dir'), ['a', 'b'])
  const initial = new Options(TABLE, [])
  tt.equal(initial.bool('debug'), false)
  tt.equal(initial.bool('name'), false, 'a text that is no bool is not true')
  tt.equal(initial.number('snapshot-count'), 10_000)
  tt.same(initial.list('listen-urls'), ['http://a', 'http://b'])
  tt.same(initial.list('data-dir'), [])
  tt.same(initial.given(), [])
  tt.throws(() => initial.string('nmae'), { message: 'option nmae is not in the table' })
})

t.test('a variable is the prefix and the name in capitals', async (tt) => {
  tt.equal(variableName('ETCD_', 'data-dir'), 'ETCD_DATA_DIR')
  tt.equal(variableName('', 'a.b-c'), 'A_B_C')
})

t.test('the environment: earlier prefixes win, empty means not set', async (tt) => {
  const env = {
    KVD_NAME: 'ours',
    ETCD_NAME: 'theirs',
    ETCD_DATA_DIR: 'theirs',
    KVD_DATA_DIR: '',
    ETCD_DEBUG: undefined,
    PATH: '/bin',
  }
  const layer = environmentLayer(TABLE, env, ['KVD_', 'ETCD_'], NO_FLAGS)
  tt.equal(layer.source, 'environment')
  tt.same(
    [...layer.values],
    [
      ['name', { text: 'ours', from: 'KVD_NAME' }],
      ['data-dir', { text: 'theirs', from: 'ETCD_DATA_DIR' }],
    ],
  )
  tt.same([layer.unknown, layer.shadowed], [[], []])
})

t.test('the environment: what a flag shadows is named and not checked', async (tt) => {
  const env = { KVD_DEBUG: 'nonsense', ETCD_DEBUG: '1' }
  const layer = environmentLayer(TABLE, env, ['KVD_', 'ETCD_'], new Map([['debug', 'true']]))
  tt.equal(layer.values.size, 0)
  tt.same(layer.shadowed, [
    { variable: 'KVD_DEBUG', name: 'debug' },
    { variable: 'ETCD_DEBUG', name: 'debug' },
  ])
})

t.test('the environment: names under a prefix that mean nothing are reported', async (tt) => {
  const env = { ETCD_NAEM: 'x', ETCD_: 'y', MYETCD_NAME: 'z', KVD_NAME: 'n' }
  const { unknown } = environmentLayer(TABLE, env, ['KVD_', 'ETCD_'], NO_FLAGS)
  tt.same(unknown, ['ETCD_NAEM', 'ETCD_'])
})

t.test('the environment: a value that does not fit is refused', async (tt) => {
  const wrong = (): unknown =>
    environmentLayer(TABLE, { ETCD_SNAPSHOT_COUNT: 'many' }, ['ETCD_'], NO_FLAGS)
  tt.throws(wrong, {
    name: 'OptionError',
    code: 'OPTION_VALUE',
    option: 'snapshot-count',
    message: 'invalid value "many" for ETCD_SNAPSHOT_COUNT: parse error',
  })
})

t.test('a file: comments, blanks, quotes, both spellings of a key', async (tt) => {
  const text = [
    '# a comment',
    '; another one',
    '',
    '   ',
    ' name = "a b" \r',
    "data_dir='/var/lib'",
    'snapshot-count=5',
    'snapshot_count=6',
    'listen-urls="http://a=b',
    'colour = red',
    'debug=',
  ]
  const layer = fileLayer(TABLE, text.slice(0, -1).join('\n'), '/etc/x.conf')
  tt.equal(layer.source, 'file')
  tt.same(Object.fromEntries(layer.values), {
    name: { text: 'a b', from: '/etc/x.conf:5' },
    'data-dir': { text: '/var/lib', from: '/etc/x.conf:6' },
    'snapshot-count': { text: '6', from: '/etc/x.conf:8' },
    'listen-urls': { text: '"http://a=b', from: '/etc/x.conf:9' },
  })
  tt.same(layer.unknown, ['colour'])
  tt.equal(fileLayer(TABLE, "name='", 'x').values.get('name')?.text, "'", 'a lone quote stays')
  tt.equal(fileLayer(TABLE, 'name=""', 'x').values.get('name')?.text, '')
  tt.throws(() => fileLayer(TABLE, text.join('\n'), '/etc/x.conf'), {
    option: 'debug',
    message: '/etc/x.conf:11: invalid value "" for debug: parse error',
  })
})

t.test('a file: a line that is no assignment is refused with its place', async (tt) => {
  for (const line of ['name', '=x', '[section]']) {
    let message = ''
    try {
      fileLayer(TABLE, `debug=1\n${line}`, 'x.conf')
    } catch (error) {
      if (!(error instanceof OptionError)) throw error
      message = error.message
    }
    tt.equal(message, `x.conf:2: expected key=value, found ${JSON.stringify(line)}`)
  }
})
