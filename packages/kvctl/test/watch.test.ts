import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { test } from 'tap'
import type { Test } from 'tap'
import { event, run, serve } from './helpers/command.ts'
import type { Reply, ScriptedServer } from './helpers/command.ts'

/** Answers long polls in turn; when there is nothing more to say, it keeps them waiting. */
async function events(t: Test, replies: readonly Reply[]): Promise<ScriptedServer> {
  const left = [...replies]
  return serve(t, ({ line }) => (line.includes('wait=true') ? left.shift() : undefined))
}

const polls = ({ asked }: ScriptedServer): string[] =>
  asked.flatMap(({ line }) => (line.includes('wait=') ? [line.replace(/^.*\?/, '')] : []))

const directory =
  '{"action":"set","node":{"key":"/d","dir":true,"modifiedIndex":5,"createdIndex":5}}'

test('watch prints one event and ends; an empty answer is asked again', async (t) => {
  const server = await events(t, [{}, { body: event('set', '/a', 'one', 8) }])
  t.strictSame(await run(['--endpoints', server.url, 'watch', '/a']), {
    code: 0,
    stdout: 'one\n',
    stderr: '',
  })
  t.strictSame(polls(server), [
    'recursive=false&wait=true&waitIndex=0',
    'recursive=false&wait=true&waitIndex=0',
  ])
})

test('watch --after-index begins after it; events on directories are passed over', async (t) => {
  const server = await events(t, [{ body: directory }, { body: event('set', '/d/a', 'one', 8) }])
  const call = [
    '-o',
    'json',
    '--endpoints',
    server.url,
    'watch',
    '--recursive',
    '--after-index',
    '3',
  ]
  const { code, stdout } = await run([...call, '/d'])
  t.equal(code, 0)
  t.match(stdout, /^\[set\] \/d\/a\n\{"action":"set","node":\{"key":"\/d\/a","value":"one"/)
  t.strictSame(polls(server), [
    'recursive=true&wait=true&waitIndex=4',
    'recursive=true&wait=true&waitIndex=6',
  ])
})

test('watch --forever goes on until SIGINT, exit 0', async (t) => {
  const replies = [1, 2].map((n) => ({ body: event('set', '/a', `v${n}`, n) }))
  const server = await events(t, replies)
  const stop = new AbortController()
  const onOutput = (text: string): void => {
    if (text === 'v2\n') stop.abort()
  }
  const around = { interrupt: stop.signal, onOutput }
  const result = await run(['--endpoints', server.url, 'watch', '--forever', '/a'], around)
  t.strictSame(result, { code: 0, stdout: 'v1\nv2\n', stderr: '' })
})

test('watch ends with the error of the server', async (t) => {
  const body = '{"errorCode":401,"message":"outdated","cause":"cleared [4/1]","index":1003}'
  const server = await events(t, [{ status: 400, body }])
  t.strictSame(await run(['--endpoints', server.url, 'watch', '--after-index', '1', '/a']), {
    code: 4,
    stdout: '',
    stderr: 'Error:  401: outdated (cleared [4/1]) [1003]\n',
  })
})

test('exec-watch wants a key and a command, and a command that can be started', async (t) => {
  const server = await events(t, [{ body: directory }, { body: event('set', '/a', 'one', 8) }])
  const at = ['--endpoints', server.url, 'exec-watch']
  const missing = { code: 1, stdout: '', stderr: 'Error:  key and command to exec required\n' }
  t.strictSame(await run(at), missing)
  t.strictSame(await run([...at, '/a']), missing)
  const env = { PATH: '/nonexistent' }
  t.strictSame(await run([...at, '--after-index', '3', '/a', '--', 'no-such-command'], { env }), {
    code: 1,
    stdout: '',
    stderr: 'Ignored dir /d changeexec: "no-such-command": executable file not found in $PATH',
  })
  t.equal(polls(server)[0], 'recursive=false&wait=true&waitIndex=5', 'one too far, as the original')
})

test('exec-watch ends in order when no environment can hold the value', async (t) => {
  const table: readonly (readonly [string, string, string])[] = [
    ['with a NUL', 'a\u0000b', 'invalid argument'],
    ['of megabytes', 'x'.repeat(3_000_000), 'argument list too long'],
  ]
  for (const [name, value, reason] of table) {
    const server = await events(t, [{ body: event('set', '/a', value, 8) }])
    const result = await run(['--endpoints', server.url, 'exec-watch', '/a', '--', 'true'], {
      env: { PATH: process.env['PATH'] ?? '' },
    })
    t.strictSame(result, { code: 1, stdout: '', stderr: `fork/exec true: ${reason}` }, name)
  }
})

test('the program: exec-watch runs its command for every event, SIGINT ends it with 0', async (t) => {
  const replies = [1, 2].map((n) => ({ body: event('set', '/a', `v${n}`, n) }))
  const server = await events(t, replies)
  const program = fileURLToPath(new URL('../../bin/kvctl.js', import.meta.url))
  const command =
    'echo $ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE $ETCD_WATCH_MODIFIED_INDEX; exit 3'
  const args = [program, '--endpoints', server.url, 'exec-watch', '/a', '--', 'sh', '-c', command]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  let stdout = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    if (stdout.split('\n').length === 3) child.kill('SIGINT')
  })
  const [code] = await once(child, 'close')
  t.equal(code, 0)
  t.strictSame(stdout.split('\n').toSorted(), ['', 'set /a v1 1', 'set /a v2 2'])
})

test('the program: a value from stdin, a password from a pipe, a reader that goes away', async (t) => {
  const { url, asked } = await serve(t, ({ line }) =>
    line.includes('/v2/keys') ? { body: event('set', '/a', 'x'.repeat(200_000)) } : undefined,
  )
  const program = fileURLToPath(new URL('../../bin/kvctl.js', import.meta.url))
  const start = (...args: readonly string[]) => {
    const child = spawn(process.execPath, [program, '--endpoints', url, ...args])
    t.teardown(() => child.kill('SIGKILL'))
    return child
  }
  const set = start('set', '/a')
  set.stdin.end('é\n')
  set.stdout.resume()
  t.strictSame(await once(set, 'close'), [0, null])
  t.equal(asked.at(-1)?.body, 'value=%C3%A9%0A')

  const login = start('--username', 'root', 'rm', '/a')
  login.stdin.end('secret\nmore')
  login.stdout.resume()
  t.strictSame(await once(login, 'close'), [0, null])
  t.equal(asked.at(-1)?.authorization, `Basic ${Buffer.from('root:secret').toString('base64')}`)

  const both = start('--username', 'root', 'set', '/a')
  both.stdin.end('secret\nvalue\n')
  both.stdout.resume()
  t.strictSame(await once(both, 'close'), [0, null])
  t.equal(asked.at(-1)?.body, 'value=value%0A', 'what comes behind the password is the value')

  const cut = start('get', '/a')
  cut.stdout.destroy()
  cut.stdin.end()
  t.strictSame(await once(cut, 'exit'), [141, null], 'as after SIGPIPE')
})
