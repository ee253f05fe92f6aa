import { spawnSync } from 'node:child_process'
import { assert, property, string } from 'fast-check'
import t from 'tap'
import { escapePath, escapeUnitName, unescapeUnitName, UnitNameError } from '../src/unit-name.ts'

const hasTool = spawnSync('systemd-escape', ['--version']).status === 0
const skip = hasTool ? false : 'systemd-escape is not installed'

function tool(...args: readonly string[]): string {
  return spawnSync('systemd-escape', args, { encoding: 'utf8' }).stdout.replace(/\n$/, '')
}

t.test('names are escaped as systemd.unit(5) says', (tt) => {
  tt.equal(escapeUnitName('/dev/sda-1'), '-dev-sda\\x2d1')
  tt.equal(escapeUnitName('.hidden.x'), '\\x2ehidden.x')
  tt.equal(escapeUnitName('a@b ü\\'), 'a\\x40b\\x20\\xc3\\xbc\\x5c')
  tt.equal(escapePath('//var/./lib/x-y/'), 'var-lib-x\\x2dy')
  tt.equal(escapePath('/'), '-')
  tt.throws(() => escapePath('/a/../b'), UnitNameError)
  tt.throws(() => escapePath(''), { code: 'UNIT_NAME' })
  tt.throws(() => unescapeUnitName('a\\x2'), UnitNameError)
  tt.throws(() => unescapeUnitName('a\\b'), { message: 'invalid escape in "a\\b"' })
  tt.end()
})

t.test('unescaping restores any text', (tt) => {
  assert(
    property(
      string({ unit: 'grapheme' }),
      (text) => unescapeUnitName(escapeUnitName(text)) === text,
    ),
  )
  tt.end()
})

t.test('the results are those of systemd-escape', { skip }, (tt) => {
  for (const text of ['foo', '/foo/bar', '-x', '.x', 'a b', 'ü', 'a:b_c', '\\', 'a@b']) {
    tt.equal(escapeUnitName(text), tool('--', text), text)
  }
  for (const path of ['/', '/a/b', 'a//b/', '/.x', '/a-b/./c']) {
    tt.equal(escapePath(path), tool('--path', path), path)
  }
  tt.end()
})
