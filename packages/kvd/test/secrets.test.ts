import t from 'tap'
import { shownArgv } from '../src/secrets.ts'

const CASES: readonly (readonly [
  what: string,
  argv: readonly string[],
  shown: readonly string[],
])[] = [
  ['nothing', ['node', 'kvd'], ['node', 'kvd']],
  [
    'a user of an existing engine',
    ['--existing-engine-user', 'root:secret', '--name', 'a:b'],
    ['--existing-engine-user', 'root:...', '--name', 'a:b'],
  ],
  [
    'one dash and an equals sign',
    ['-existing-engine-user=root:se=cret', '-name=a:b'],
    ['-existing-engine-user=root:...', '-name=a:b'],
  ],
  [
    'URLs',
    ['--discovery', 'http://u:p@h/t', '--discovery-proxy=u:p@h:80', '--cors=*'],
    ['--discovery', 'http://u:xxxxx@h/t', '--discovery-proxy=u:xxxxx@h:80', '--cors=*'],
  ],
  ['a flag at the end', ['--discovery'], ['--discovery']],
]

for (const [what, argv, shown] of CASES)
  t.test(`a command line without its passwords: ${what}`, async (tt) => {
    tt.same(shownArgv(argv), shown)
  })
