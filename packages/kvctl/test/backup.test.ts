import { spawn } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  writeSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { delimiter, join } from 'node:path'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { test } from 'tap'
import type { Test } from 'tap'
import { createClient } from '@flotilla/kv-client'
import type { KvClient, KvNode } from '@flotilla/kv-client'
import { crc32c } from '../src/backup/crc32c.ts'
import { decodeFields, encodeFields, numberField } from '../src/backup/protobuf.ts'
import {
  logAfter,
  metadataRecord,
  placeRecord,
  readRecords,
  RECORD,
  writeSegment,
} from '../src/backup/wal.ts'
import { run } from './helpers/command.ts'

function entry(index: number, text: string): Buffer {
  return encodeFields([
    [1, 0n],
    [2, 1n],
    [3, BigInt(index)],
    [4, Buffer.from(text)],
  ])
}

const entries = (...indexes: readonly number[]) =>
  indexes.map((index) => ({ type: RECORD.entry, data: entry(index, `e${index}`) }))

test('the checksum is CRC-32C', (t) => {
  // RFC 3720, B.4.
  t.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa)
  t.equal(crc32c(Buffer.alloc(32, 0xff)), 0x62a8ab43)
  t.equal(crc32c(Buffer.from('123456789')), 0xe3069283)
  t.equal(crc32c(Buffer.from('6789'), crc32c(Buffer.from('12345'))), 0xe3069283)
  t.end()
})

test('messages are read as they were written; cut off ones are refused', (t) => {
  const message = encodeFields([
    [1, 2n ** 64n - 1n],
    [2, Buffer.from('text')],
    [3, 0n],
  ])
  const fields = decodeFields(message)
  t.equal(numberField(fields, 1), 2n ** 64n - 1n)
  t.strictSame(fields.get(2), Buffer.from('text'))
  t.equal(numberField(fields, 9), 0n)
  t.throws(() => decodeFields(message.subarray(0, 5)), RangeError)
  t.throws(() => decodeFields(message.subarray(0, 14)), RangeError)
  t.throws(() => decodeFields(Buffer.from([0x0d, 0, 0, 0, 0])), /wire type/)
  t.end()
})

test('a log reads back, without a last record that is not whole', (t) => {
  const records = [metadataRecord(1n, 2n), placeRecord({ index: 0, term: 0 }), ...entries(1, 2, 3)]
  const segment = writeSegment(records)
  t.strictSame(readRecords([segment]), records)
  t.strictSame(readRecords([segment.subarray(0, -1)]), records.slice(0, -1))
  t.strictSame(readRecords([Buffer.concat([segment, Buffer.alloc(64)])]), records)
  const torn = Buffer.from(segment)
  torn.fill(0, torn.length - 4)
  t.strictSame(readRecords([Buffer.concat([torn, Buffer.alloc(64)])]), records.slice(0, -1))
  const follows = chained(records, entries(4))
  t.strictSame(readRecords([segment, follows]), [...records, ...entries(4)])
  t.throws(() => readRecords([segment.subarray(0, -1), follows]), {
    message: 'walpb: crc mismatch',
  })
  for (let at = 8; at < segment.length - 30; at++) {
    const damaged = Buffer.from(segment)
    damaged[at] = (damaged[at] ?? 0) ^ 0x55
    let read: unknown
    try {
      read = readRecords([damaged, follows])
    } catch (error) {
      read = error
    }
    t.match(read, { message: 'walpb: crc mismatch' }, `byte ${at}`)
  }
  t.end()
})

test('after a snapshot come the later entries, each as written last, and the last state', (t) => {
  const state = (n: number) => ({ type: RECORD.state, data: encodeFields([[1, BigInt(n)]]) })
  const log = [...entries(1, 2, 3, 4), state(1), ...entries(3), state(2)]
  const { entries: left, state: last } = logAfter(log, { index: 1, term: 1 })
  t.strictSame(left, [entry(2, 'e2'), entry(3, 'e3')])
  t.strictSame(last, state(2).data)
  t.strictSame(logAfter([], { index: 0, term: 0 }), { entries: [], state: undefined })
  t.end()
})

function etcdDir(t: Test): string {
  const directory = t.testdir()
  const wal = join(directory, 'from', 'member', 'wal')
  const snap = join(directory, 'from', 'member', 'snap')
  mkdirSync(wal, { recursive: true })
  mkdirSync(snap, { recursive: true })
  const data = Buffer.from('a snapshot')
  const whole = encodeFields([
    [1, BigInt(crc32c(data))],
    [2, data],
  ])
  writeFileSync(join(snap, '0000000000000001-0000000000000002.snap'), whole)
  writeFileSync(join(snap, '0000000000000001-0000000000000009.snap'), whole.subarray(0, 3))
  writeFileSync(join(snap, 'db'), '')
  const first = [metadataRecord(1n, 2n), placeRecord({ index: 0, term: 0 }), ...entries(1, 2)]
  const second = [metadataRecord(1n, 2n), ...entries(3, 4)]
  writeFileSync(join(wal, '0000000000000000-0000000000000000.wal'), writeSegment(first))
  writeFileSync(join(wal, '0000000000000001-0000000000000003.wal'), chained(first, second))
  return directory
}

/** A segment that goes on with the checksum of the one before. */
function chained(before: Parameters<typeof writeSegment>[0], records: typeof before): Buffer {
  const head = writeSegment(before).length
  const all = writeSegment([...before, { type: RECORD.crc, data: Buffer.alloc(0) }, ...records])
  return all.subarray(head)
}

test('a data directory of etcd: the newest whole snapshot and what follows, under new ids', async (t) => {
  const directory = etcdDir(t)
  const from = join(directory, 'from')
  const to = join(directory, 'to')
  const backup = ['backup', '--data-dir', from, '--backup-dir', to]
  t.strictSame(await run(backup), { code: 0, stdout: '', stderr: '' })
  t.strictSame(readdirSync(join(to, 'member', 'snap')), ['0000000000000001-0000000000000002.snap'])
  const name = '0000000000000000-0000000000000000.wal'
  t.strictSame(readdirSync(join(to, 'member', 'wal')), [name])
  t.equal(statSync(join(to, 'member', 'wal')).mode & 0o777, 0o700)
  const records = readRecords([readFileSync(join(to, 'member', 'wal', name))])
  t.strictSame(records.slice(1), [
    placeRecord({ index: 0, term: 0 }),
    ...entries(3, 4),
    placeRecord({ index: 2, term: 1 }),
  ])
  t.not(numberField(decodeFields(records[0]?.data ?? Buffer.alloc(0)), 1), 1n)
  t.match(await run(backup), { code: 1, stdout: '', stderr: /EEXIST/ }, 'not twice')

  const elsewhere = [
    '--wal-dir',
    join(from, 'member', 'wal'),
    '--backup-wal-dir',
    join(directory, 'log'),
  ]
  const apart = [
    'backup',
    '--data-dir',
    from,
    '--backup-dir',
    join(directory, 'apart'),
    ...elsewhere,
  ]
  t.match(await run(apart), { code: 0 })
  t.strictSame(readdirSync(join(directory, 'log')), [name])
})

test('a backup that cannot be made says why, with the time, and exits 1', async (t) => {
  const directory = t.testdir({ empty: { member: { snap: {}, wal: {} } } })
  const stderr = /^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d /
  const to = ['--backup-dir', join(directory, 'to')]
  t.match(await run(['backup', '--data-dir', join(directory, 'none'), ...to]), {
    code: 1,
    stdout: '',
    stderr: new RegExp(`${stderr.source}open .*none/member/snap: no such file or directory\\n$`),
  })
  t.match(await run(['backup', '--data-dir', join(directory, 'empty'), ...to]), {
    code: 1,
    stderr: new RegExp(`${stderr.source}wal: file not found\\n$`),
  })
})

test('a data directory of kvd is copied file by file, the mark first', async (t) => {
  const header = Buffer.alloc(32, 7)
  const directory = t.testdir({
    from: {
      member: {
        'kvd.db': 'database',
        'kvd.db-wal': Buffer.concat([header, Buffer.from('log')]),
        hwm: 'mark',
      },
    },
    idle: { member: { 'kvd.db': 'database' } },
  })
  const to = join(directory, 'to')
  const backup = ['backup', '--data-dir', join(directory, 'from'), '--backup-dir', to]
  t.strictSame(await run(backup), { code: 0, stdout: '', stderr: '' })
  for (const name of ['kvd.db', 'kvd.db-wal', 'hwm']) {
    const copy = readFileSync(join(to, 'member', name))
    t.strictSame(copy, readFileSync(join(directory, 'from', 'member', name)), name)
  }
  t.match(await run(backup), { code: 1, stderr: /already holds a kvd\.db\n$/ })
  const idle = [
    'backup',
    '--data-dir',
    join(directory, 'idle'),
    '--backup-dir',
    join(directory, 'to2'),
  ]
  t.strictSame(await run(idle), { code: 0, stdout: '', stderr: '' })
  t.strictSame(readdirSync(join(directory, 'to2', 'member')), ['backup', 'kvd.db'])
  t.equal(
    readFileSync(join(to, 'member', 'backup'), 'utf8'),
    `${join(directory, 'from', 'member')}\n`,
  )
})

test('what a member holds that has diverged is not taken, unless its mark is deleted', async (t) => {
  const files = { 'kvd.db': 'database', 'kvd.db-wal': 'log', hwm: 'mark', diverged: '{"index":7}' }
  const directory = t.testdir({
    from: { member: { ...files } },
    apart: { member: {}, log: { ...files } },
  })
  for (const [name, storage, flags] of [
    ['from', 'member', []],
    ['apart', 'log', ['--wal-dir', join(directory, 'apart', 'log')]],
  ] as const) {
    const to = join(directory, `${name}-copy`)
    const file = join(directory, name, storage, 'diverged')
    const backup = ['backup', '--data-dir', join(directory, name), '--backup-dir', to, ...flags]
    const refused = await run(backup)
    t.match(refused, { code: 1, stdout: '' }, name)
    t.ok(refused.stderr.includes(` ${file}: this member holds something else than the others`))
    t.match(refused.stderr, /take the backup of another member, or delete this file/)
    t.strictSame(readdirSync(join(to, 'member')), [], 'nothing is left')
    rmSync(file)
    t.strictSame(await run(backup), { code: 0, stdout: '', stderr: '' })
    t.strictSame(readdirSync(join(to, 'member')), ['backup', 'hwm', 'kvd.db', 'kvd.db-wal'])
  }
})

for (const changing of ['kvd.db-wal', 'kvd.db']) {
  test(`a ${changing} that changes all the time ends the backup, and leaves nothing`, async (t) => {
    const directory = t.testdir({ from: { member: { 'kvd.db': 'database', 'kvd.db-wal': '' } } })
    const file = openSync(join(directory, 'from', 'member', changing), 'w')
    const header = Buffer.alloc(32, 1)
    let turns = 0
    let timer = setImmediate(rewrite)
    function rewrite(): void {
      header.writeUInt32LE(++turns, 16)
      writeSync(file, header, 0, header.length, changing === 'kvd.db' ? turns : 0)
      timer = setImmediate(rewrite)
    }
    const to = join(directory, 'to')
    const result = await run(['backup', '--data-dir', join(directory, 'from'), '--backup-dir', to])
    clearImmediate(timer)
    closeSync(file)
    t.match(result, { code: 1, stderr: /kvd\.db changes too fast to be copied\n$/ })
    t.strictSame(readdirSync(join(to, 'member')), [])
  })
}

test('a backup of kvd that fails half-way leaves nothing that looks like one', async (t) => {
  const directory = t.testdir({
    from: { member: { 'kvd.db': 'database', 'kvd.db-wal': 'log', hwm: 'mark' } },
    to: { member: { 'kvd.db-wal': {} } },
  })
  const to = join(directory, 'to')
  const backup = ['backup', '--data-dir', join(directory, 'from'), '--backup-dir', to]
  t.match(await run(backup), { code: 1, stdout: '', stderr: /kvd\.db-wal/ })
  t.strictSame(readdirSync(join(to, 'member')), ['kvd.db-wal'], 'which was there before')
})

// The servers themselves: a backup made while they are written to, then a server on the copy.

interface Program {
  readonly command: readonly string[]
  /** What the start on a copy needs beside the data directory. */
  readonly restore: readonly string[]
}

function findEtcd(): Program | undefined {
  const path = (process.env['PATH'] ?? '').split(delimiter)
  const found = path.map((directory) => join(directory, 'etcd')).find(existsSync)
  if (found === undefined) return undefined
  return { command: [found, '--enable-v2'], restore: ['--force-new-cluster'] }
}

function findKvd(): Program | undefined {
  const kvd =
    process.env['KVD'] ?? fileURLToPath(new URL('../../../kvd/bin/kvd.js', import.meta.url))
  const isBuilt = existsSync(join(kvd, '..', '..', 'dist', 'main.js'))
  return isBuilt ? { command: [process.execPath, kvd], restore: [] } : undefined
}

for (const [name, program] of [
  ['etcd', findEtcd()],
  ['kvd', findKvd()],
] as const) {
  const skip = program === undefined ? 'not installed or not built' : false

  test(`${name} starts on a backup made while it was written to`, { skip }, async (t) => {
    if (program === undefined) return
    const directory = t.testdir()
    const data = join(directory, 'data')
    const kv = await start(t, program.command, data, [])
    const size = 'x'.repeat(500)
    for (let n = 0; n < 100; n++) await kv.set(`/before/${n}`, size)
    const over = new AbortController()
    let written = 0
    const writing = (async () => {
      for (; !over.signal.aborted; written++) await kv.set(`/during/${written}`, size)
    })()
    const copy = join(directory, 'copy')
    const result = await run(['backup', '--data-dir', data, '--backup-dir', copy])
    over.abort()
    await writing
    t.strictSame(result, { code: 0, stdout: '', stderr: '' })
    const restored = await start(t, program.command, copy, program.restore)
    t.equal(count((await restored.get('/before', { recursive: true })).node), 100)
    const during = (await restored.get('/', { recursive: true })).node.nodes?.find(
      ({ key }) => key === '/during',
    )
    t.comment(`${count(during)} of ${written} concurrent writes are in the copy`)
    const keys = during?.nodes?.map(({ key }) => Number(key.slice('/during/'.length))) ?? []
    t.strictSame(
      keys.toSorted((a, b) => a - b),
      keys.map((_, n) => n),
      'no write is missing among them',
    )
    await restored.set('/after', 'v')
    t.equal((await restored.get('/after')).node.value, 'v')
  })
}

function count(node: KvNode | undefined): number {
  return node?.nodes?.length ?? 0
}

async function start(
  t: Test,
  [program = '', ...first]: readonly string[],
  dataDir: string,
  more: readonly string[],
): Promise<KvClient> {
  const [port, peerPort] = await Promise.all([freePort(), freePort()])
  const url = `http://127.0.0.1:${port}`
  const peerUrl = `http://127.0.0.1:${peerPort}`
  const args = [
    ...first,
    ...more,
    `--data-dir=${dataDir}`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=default=${peerUrl}`,
  ]
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text))
  const ended = new Promise((resolve) => child.on('close', resolve))
  const kv = createClient({ endpoints: [url] })
  t.teardown(async () => {
    kv.close()
    child.kill('SIGKILL')
    await ended
  })
  for (;;) {
    try {
      await kv.leader()
      return kv
    } catch {
      if (child.exitCode !== null) throw new Error(`the server ended: ${log}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

function freePort(): Promise<number> {
  const server = createServer()
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      const port = typeof address === 'object' ? (address?.port ?? 0) : 0
      server.close(() => resolve(port))
    })
  })
}
