// The start file of the benches: what it takes, and what it says to anything else.
import { fileURLToPath } from 'node:url'
import { test } from 'tap'
import { run } from '../src/harness/process.ts'

const MAIN = fileURLToPath(new URL('../src/bench/main.js', import.meta.url))

test('npm run bench explains itself', async (t) => {
  const none = await run([process.execPath, MAIN])
  t.equal(none.code, 2)
  t.match(none.stderr, /^usage: npm run bench -- kvd/)
  const unknown = await run([process.execPath, MAIN, 'nonesuch'])
  t.equal(unknown.code, 2)
  for (const suite of ['kvd', 'cluster', 'catchup', 'failover']) {
    const help = await run([process.execPath, MAIN, suite, '--help'])
    t.equal(help.code, 0)
    t.ok(help.stdout.startsWith(`usage: npm run bench -- ${suite} `))
    const wrong = await run([process.execPath, MAIN, suite, '--nonesuch'])
    t.equal(wrong.code, 2)
    t.match(wrong.stderr, /^bench: /)
  }
})
