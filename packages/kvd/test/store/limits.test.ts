import t from 'tap'
import { TEXT_LENGTH_MAX } from '../../src/store/text.ts'
import { NOW, set, storeOf } from '../helpers/commands.ts'

t.test('what is as long as a text can be is too long for an answer', async (tt) => {
  // As JSON each character has six.
  const value = '\u0001'.repeat(Math.ceil(TEXT_LENGTH_MAX / 6))
  const store = storeOf([set('/long', { value })])
  const whole = { space: 'keys', recursive: false, sorted: false, nowMs: NOW } as const
  tt.throws(() => store.read({ ...whole, key: '/long' }), RangeError)
})
