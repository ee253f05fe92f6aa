import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { markDiverged, readMark, removeMark } from '../../src/divergence-mark.ts'
import { Daemon } from '../helpers/daemon.ts'
import { LogLines } from '../helpers/log-lines.ts'
import { freePorts } from '../helpers/store-process.ts'

t.test('a mark says where it was found, and is one whatever it says', async (tt) => {
  for (const [text, index] of [
    ['{"index":7,"own":"a","right":"b"}\n', 7],
    ['{"index":"7"}', undefined],
    ['{}', undefined],
    ['null', undefined],
    ['{"ind', undefined],
    ['', undefined],
  ] as const) {
    const directory = tt.testdir({ diverged: text })
    tt.same(readMark(directory), { file: join(directory, 'diverged'), index }, text)
  }
  const odd = tt.testdir({ diverged: {} })
  tt.same(readMark(odd), { file: join(odd, 'diverged'), index: undefined }, 'a directory')
  tt.equal(readMark(tt.testdir({})), undefined)
})

t.test('a mark is left for its owner, and removed with a warning', async (tt) => {
  const directory = tt.testdir({})
  const file = join(directory, 'diverged')
  const log = new LogLines()
  markDiverged(directory, { index: 7, own: 'a', right: 'b' }, log.logger)
  tt.equal(readFileSync(file, 'utf8'), '{"index":7,"own":"a","right":"b"}\n')
  tt.equal(statSync(file).mode & 0o777, 0o600)
  tt.same(log.lines, [])
  removeMark(directory, log.logger)
  removeMark(directory, log.logger)
  tt.equal(existsSync(file), false)
  tt.same(log.lines, [
    `<4>etcdserver: what diverged from the others is right from now on, mark removed file=${file} index=7`,
  ])
})

t.test('a disk that refuses either is named in the log, and that is all', async (tt) => {
  const directory = tt.testdir({ diverged: {} })
  const file = join(directory, 'diverged')
  const log = new LogLines()
  markDiverged(directory, { index: 7, own: 'a', right: 'b' }, log.logger)
  removeMark(directory, log.logger)
  const [marking = '', removing = ''] = log.lines
  tt.equal(log.lines.length, 2)
  tt.ok(marking.startsWith(`<3>etcdserver: a new start will not know of it file=${file} reason=`))
  tt.ok(
    removing.startsWith(`<3>etcdserver: a new start will not serve this copy file=${file} reason=`),
  )
})

t.test('a diverged member serves nobody until the operator goes on with it alone', async (tt) => {
  const dataDir = join(tt.testdir({}), 'data')
  const file = join(dataDir, 'member', 'diverged')
  const { client, peer } = await freePorts()
  const [clientURL, peerURL] = [`http://127.0.0.1:${client}`, `http://127.0.0.1:${peer}`]
  const usual = [
    ['--name', 'a', '--data-dir', dataDir, '--initial-cluster', `a=${peerURL}`],
    ['--listen-peer-urls', peerURL, '--initial-advertise-peer-urls', peerURL],
    ['--listen-client-urls', clientURL, '--advertise-client-urls', clientURL],
  ].flat()
  const start = async (flags: readonly string[]): Promise<Daemon> => {
    const daemon = new Daemon(tt, [...usual, ...flags])
    await daemon.said('listening for client requests')
    return daemon
  }
  const url = `${clientURL}/v2/keys/a`
  const put = async (): Promise<Response> =>
    await fetch(url, { method: 'PUT', body: new URLSearchParams({ value: '1' }) })
  const first = await start([])
  tt.equal((await put()).status, 201)
  tt.equal(await first.end('SIGTERM'), 0)
  writeFileSync(file, '{"index":7,"own":"a","right":"b"}\n')

  const marked = await start([])
  tt.match(marked.log, `with an empty data-dir file=${file} index=7\n`)
  const refused = await put()
  tt.equal(refused.status, 503)
  tt.equal(refused.headers.get('x-kvd-diverged'), 'true')
  tt.match(await refused.json(), { errorCode: 300 })
  const { headers } = await fetch(`${clientURL}/version`)
  tt.equal(headers.get('x-kvd-diverged'), null)
  tt.equal(await marked.end('SIGTERM'), 0)
  tt.equal(existsSync(file), true)

  const forced = await start(['--force-new-cluster'])
  await forced.said(`mark removed file=${file} index=7\n`)
  tt.match(forced.log, ' WARN ')
  tt.match(await (await fetch(url)).json(), { node: { value: '1' } })
  tt.equal(existsSync(file), false)
  tt.equal(await forced.end('SIGTERM'), 0)

  const again = await start([])
  tt.equal((await put()).status, 200)
  tt.notMatch(again.log, 'nobody is served')
})
