import t from 'tap'
import type { Command } from '../../src/store/command.ts'
import {
  compareAndDelete,
  compareAndSwap,
  create,
  createInOrder,
  NOW,
  remove,
  set,
  storeOf,
  textOf,
  update,
} from '../helpers/commands.ts'

/** What is there before: /f = "1" at index 1, directory /d with /d/x = "x" at index 2. */
const BEFORE = [set('/f', { value: '1' }), set('/d/x', { value: 'x' })]
const F = '{"key":"/f","value":"1","modifiedIndex":1,"createdIndex":1}'
const D = '{"key":"/d","dir":true,"modifiedIndex":2,"createdIndex":2}'
const IN_5_S = NOW + 5000
const SOON = '"expiration":"2016-01-01T00:00:05Z","ttl":5'

/** Runs each command on a store of its own that holds `BEFORE`, and compares what came out. */
function table(
  name: string,
  cases: readonly (readonly [what: string, command: Command, outcome: string])[],
): void {
  t.test(name, async (tt) => {
    for (const [what, entry, outcome] of cases) {
      const store = storeOf(BEFORE)
      tt.equal(textOf(store.apply(entry)), outcome, what)
      const isChange = outcome.startsWith('{')
      tt.equal(store.index, isChange ? 3 : 2, `${what}: index`)
    }
  })
}

table('set', [
  [
    'a new file',
    set('/n', { value: 'v' }),
    '{"action":"set","node":{"key":"/n","value":"v","modifiedIndex":3,"createdIndex":3}}',
  ],
  [
    'no value is an empty one',
    set('/n'),
    '{"action":"set","node":{"key":"/n","value":"","modifiedIndex":3,"createdIndex":3}}',
  ],
  [
    'over a file: a new createdIndex, and the old file as prevNode',
    set('/f', { value: '2' }),
    `{"action":"set","node":{"key":"/f","value":"2","modifiedIndex":3,"createdIndex":3},"prevNode":${F}}`,
  ],
  [
    'a directory over a file',
    set('/f', { dir: true, value: 'dropped' }),
    `{"action":"set","node":{"key":"/f","dir":true,"modifiedIndex":3,"createdIndex":3},"prevNode":${F}}`,
  ],
  [
    'a new directory with a TTL',
    set('/n', { dir: true, expireAt: IN_5_S }),
    `{"action":"set","node":{"key":"/n","dir":true,${SOON},"modifiedIndex":3,"createdIndex":3}}`,
  ],
  ['over a directory', set('/d', { value: 'v' }), '102 /d @2'],
  ['a directory over a directory', set('/d', { dir: true }), '102 /d @2'],
  ['below a file', set('/f/n/m'), '104 /f @2'],
  ['the root', set('/'), '107 / @2'],
  [
    'refresh keeps the value',
    set('/f', { refresh: true, expireAt: IN_5_S }),
    `{"action":"set","node":{"key":"/f","value":"1",${SOON},"modifiedIndex":3,"createdIndex":3},"prevNode":${F}}`,
  ],
  ['refresh of nothing', set('/n/m', { refresh: true, expireAt: IN_5_S }), '100 /n @2'],
  ['refresh of a directory', set('/d', { refresh: true, expireAt: IN_5_S }), '102 /d @2'],
  ['refresh below a file', set('/f/n', { refresh: true }), '104 /f @2'],
  ['refresh of the root', set('/', { refresh: true }), '107 / @2'],
])

table('create', [
  [
    'a new file, with the directories above it',
    create('/n/m', { value: 'v' }),
    '{"action":"create","node":{"key":"/n/m","value":"v","modifiedIndex":3,"createdIndex":3}}',
  ],
  [
    'a new directory',
    create('/n', { dir: true }),
    '{"action":"create","node":{"key":"/n","dir":true,"modifiedIndex":3,"createdIndex":3}}',
  ],
  [
    'an expiration before the year 2000 means none',
    create('/n', { expireAt: Date.UTC(1999, 11, 31) }),
    '{"action":"create","node":{"key":"/n","value":"","modifiedIndex":3,"createdIndex":3}}',
  ],
  ['a file that is there', create('/f'), '105 /f @2'],
  ['a directory that is there', create('/d', { dir: true }), '105 /d @2'],
  ['below a file', create('/f/n'), '104 /f @2'],
  ['the root', create('/'), '107 / @2'],
])

table('create in order', [
  [
    'in a directory',
    createInOrder('/d', { value: 'v' }),
    '{"action":"create","node":{"key":"/d/00000000000000000003","value":"v","modifiedIndex":3,"createdIndex":3}}',
  ],
  [
    'in a directory that is made',
    createInOrder('/n'),
    '{"action":"create","node":{"key":"/n/00000000000000000003","value":"","modifiedIndex":3,"createdIndex":3}}',
  ],
  [
    'in the root, a directory with a TTL',
    createInOrder('/', { dir: true, expireAt: IN_5_S }),
    `{"action":"create","node":{"key":"/00000000000000000003","dir":true,${SOON},"modifiedIndex":3,"createdIndex":3}}`,
  ],
  ['in a file', createInOrder('/f'), '104 /f @2'],
])

table('update', [
  [
    'keeps createdIndex',
    update('/f', { value: '2' }),
    `{"action":"update","node":{"key":"/f","value":"2","modifiedIndex":3,"createdIndex":1},"prevNode":${F}}`,
  ],
  [
    'no value empties the file, dir is ignored',
    update('/f', { dir: true }),
    `{"action":"update","node":{"key":"/f","value":"","modifiedIndex":3,"createdIndex":1},"prevNode":${F}}`,
  ],
  [
    'a directory gets a TTL; the event shows the new index',
    update('/d', { expireAt: IN_5_S }),
    `{"action":"update","node":{"key":"/d","dir":true,${SOON},"modifiedIndex":3,"createdIndex":2},"prevNode":${D}}`,
  ],
  [
    'refresh keeps the value',
    update('/f', { refresh: true, expireAt: IN_5_S }),
    `{"action":"update","node":{"key":"/f","value":"1",${SOON},"modifiedIndex":3,"createdIndex":1},"prevNode":${F}}`,
  ],
  [
    'refresh of a directory',
    update('/d', { refresh: true, expireAt: IN_5_S }),
    `{"action":"update","node":{"key":"/d","dir":true,${SOON},"modifiedIndex":3,"createdIndex":2},"prevNode":${D}}`,
  ],
  ['a directory has no value', update('/d', { value: 'v' }), '102 /d @2'],
  ['nothing', update('/n/m'), '100 /n @2'],
  ['nothing in a directory', update('/d/n'), '100 /d/n @2'],
  ['below a file', update('/f/n'), '104 /f @2'],
  ['the root', update('/'), '107 / @2'],
])

const SWAPPED = `{"action":"compareAndSwap","node":{"key":"/f","value":"2","modifiedIndex":3,"createdIndex":1},"prevNode":${F}}`

table('compare and swap', [
  ['the right value', compareAndSwap('/f', { value: '2', prevValue: '1' }), SWAPPED],
  ['the right index', compareAndSwap('/f', { value: '2', prevIndex: '1' }), SWAPPED],
  ['both right', compareAndSwap('/f', { value: '2', prevValue: '1', prevIndex: '1' }), SWAPPED],
  ['a wrong value', compareAndSwap('/f', { prevValue: '9' }), '101 [9 != 1] @2'],
  ['a wrong index', compareAndSwap('/f', { prevIndex: '9' }), '101 [9 != 1] @2'],
  [
    'an index of 64 bits',
    compareAndSwap('/f', { prevIndex: '18446744073709551615' }),
    '101 [18446744073709551615 != 1] @2',
  ],
  [
    'the right value, a wrong index',
    compareAndSwap('/f', { prevValue: '1', prevIndex: '9' }),
    '101 [9 != 1] @2',
  ],
  [
    'a wrong value, the right index',
    compareAndSwap('/f', { prevValue: '9', prevIndex: '1' }),
    '101 [9 != 1] @2',
  ],
  [
    'both wrong',
    compareAndSwap('/f', { prevValue: '8', prevIndex: '9' }),
    '101 [8 != 1] [9 != 1] @2',
  ],
  [
    'refresh keeps the value',
    compareAndSwap('/f', { prevValue: '1', refresh: true, expireAt: IN_5_S }),
    `{"action":"compareAndSwap","node":{"key":"/f","value":"1",${SOON},"modifiedIndex":3,"createdIndex":1},"prevNode":${F}}`,
  ],
  ['a directory', compareAndSwap('/d', { prevIndex: '2' }), '102 /d @2'],
  ['nothing', compareAndSwap('/n', { prevIndex: '2' }), '100 /n @2'],
  ['below a file', compareAndSwap('/f/n', { prevIndex: '2' }), '104 /f @2'],
  ['the root', compareAndSwap('/', { prevIndex: '2' }), '107 / @2'],
])

const F_GONE = `"node":{"key":"/f","modifiedIndex":3,"createdIndex":1},"prevNode":${F}}`
const D_GONE = `"node":{"key":"/d","dir":true,"modifiedIndex":3,"createdIndex":2},"prevNode":${D}}`

table('delete', [
  ['a file', remove('/f'), `{"action":"delete",${F_GONE}`],
  ['a file, as a directory', remove('/f', { dir: true }), `{"action":"delete",${F_GONE}`],
  ['a file, with all below it', remove('/f', { recursive: true }), `{"action":"delete",${F_GONE}`],
  ['a directory as a file', remove('/d'), '102 /d @2'],
  ['a directory with children', remove('/d', { dir: true }), '108 /d @2'],
  [
    'a directory with all below it',
    remove('/d', { recursive: true }),
    `{"action":"delete",${D_GONE}`,
  ],
  ['nothing', remove('/n/m/o'), '100 /n @2'],
  ['below a file', remove('/f/n'), '104 /f @2'],
  ['the root', remove('/', { recursive: true }), '107 / @2'],
])

table('compare and delete', [
  [
    'the right value',
    compareAndDelete('/f', { prevValue: '1' }),
    `{"action":"compareAndDelete",${F_GONE}`,
  ],
  [
    'the right index',
    compareAndDelete('/f', { prevIndex: '1' }),
    `{"action":"compareAndDelete",${F_GONE}`,
  ],
  ['a wrong value', compareAndDelete('/f', { prevValue: '9' }), '101 [9 != 1] @2'],
  [
    'a directory, whatever else is said',
    compareAndDelete('/d', { prevIndex: '2', dir: true, recursive: true }),
    '102 /d @2',
  ],
  ['nothing', compareAndDelete('/n', { prevIndex: '2' }), '100 /n @2'],
  ['the root: no cause', compareAndDelete('/', { prevIndex: '2' }), '102  @2'],
])

t.test(
  'an empty directory is deleted with dir, one with only hidden children is not',
  async (tt) => {
    const store = storeOf([set('/e', { dir: true }), set('/h/_x')])
    tt.equal(textOf(store.apply(remove('/h', { dir: true }))), '108 /h @2')
    tt.equal(
      textOf(store.apply(remove('/e', { dir: true }))),
      '{"action":"delete","node":{"key":"/e","dir":true,"modifiedIndex":3,"createdIndex":1},"prevNode":{"key":"/e","dir":true,"modifiedIndex":1,"createdIndex":1}}',
    )
    tt.equal(store.index, 3)
  },
)
