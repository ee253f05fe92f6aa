import t from 'tap'
import { Random } from '../helpers/random.ts'
import { drawFaults, FAULT_KINDS, nameOf } from './faults.ts'
import { parseOptions, UsageError } from './options.ts'

const parse = (...argv: string[]) => parseOptions(argv, () => 5)

t.test('a run without flags breaks what can be broken in three members of kvd', (tt) => {
  tt.same(parse(), {
    program: 'kvd',
    members: 3,
    seconds: 60,
    seed: 5,
    faults: ['crash', 'pause', 'partition', 'clock', 'disk-full', 'slow-disk', 'combined'],
    clients: 8,
    watchers: 12,
    readsLocal: false,
    history: undefined,
    check: undefined,
  })
  tt.end()
})

t.test('what does not fit is not broken unless asked for', (tt) => {
  const alone = ['crash', 'pause', 'clock', 'disk-full', 'slow-disk', 'combined']
  tt.same(parse('--members', '1').faults, alone)
  tt.same(parse('--program', 'etcd').faults, ['crash', 'pause', 'partition', 'combined'])
  tt.same(parse('--faults', 'clock,slow-disk').faults, ['clock', 'slow-disk'])
  tt.same(parse('--faults', 'none').faults, [])
  tt.equal(parse('--reads', 'local').readsLocal, true)
  tt.equal(parse('--seed', '0').seed, 0)
  tt.end()
})

t.test('wrong usage names the flag', (tt) => {
  const wrong: readonly (readonly [argv: string[], message: RegExp])[] = [
    [['--members', '0'], /^--members 0: not a whole number from 1 up$/],
    [['--members', '10'], /^--members 10: more than 9$/],
    [['--seconds', 'x'], /^--seconds x/],
    [['--seed', '-1'], /seed/],
    [['--program', 'zk'], /^--program zk: not one of etcd, kvd$/],
    [['--faults', 'crash,fire'], /^--faults fire: not one of crash/],
    [['--faults', 'partition', '--members', '1'], /^--faults partition: one member/],
    [['--faults', 'membership', '--members', '2'], /^--faults membership: fewer/],
    [['--reads', 'fast'], /^--reads fast/],
    [['--what'], /--what/],
    [['extra'], /extra/],
  ]
  for (const [argv] of wrong) tt.throws(() => parse(...argv), { name: UsageError.name })
  for (const [argv, message] of wrong) tt.throws(() => parse(...argv), message, argv.join(' '))
  tt.end()
})

t.test('faults are drawn from those allowed, all of them, and from nothing but the seed', (tt) => {
  for (const kind of FAULT_KINDS) {
    const random = new Random(7)
    const drawn = Array.from({ length: 50 }, () => drawFaults(random, [kind]))
    const types = new Set(drawn.flat().map(({ type }) => type))
    if (kind === 'combined') tt.ok(drawn.every((faults) => faults.length === 2) && types.size > 1)
    else tt.same([...types], [kind])
    const again = new Random(7)
    tt.same(
      Array.from({ length: 50 }, () => drawFaults(again, [kind])),
      drawn,
    )
    tt.ok(
      drawn
        .flat()
        .every(
          (fault) => fault.holdMs >= 0 && nameOf(fault).includes(fault.type.split('-')[0] ?? ''),
        ),
    )
  }
  const random = new Random(8)
  const single = Array.from({ length: 200 }, () =>
    drawFaults(random, ['combined', 'pause', 'crash']),
  )
  const types = new Set(single.flat().map(({ type }) => type))
  tt.same([...types].toSorted(), ['crash', 'pause'], 'combined are those that are allowed alone')
  tt.end()
})
