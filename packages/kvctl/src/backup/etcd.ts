import { randomBytes } from 'node:crypto'
import { mkdir, open, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32c } from './crc32c.ts'
import { bytesField, decodeFields, numberField } from './protobuf.ts'
import { logAfter, metadataRecord, placeRecord, readRecords, RECORD, writeSegment } from './wal.ts'
import type { Place } from './wal.ts'

/** The two directories of etcd's data. */
export interface EtcdDirs {
  readonly snap: string
  readonly wal: string
}

const NOWHERE: Place = { index: 0, term: 0 }

/**
 * Copies the newest snapshot and the log after it into new directories, with new random member and
 * cluster ids, so that the copy cannot join the cluster it comes from. The server need not stop.
 */
export async function copyEtcdLog(from: EtcdDirs, to: EtcdDirs): Promise<void> {
  await mkdir(to.snap, { recursive: true, mode: 0o700 })
  const snapshot = await newestSnapshot(from.snap)
  const start = snapshot?.place ?? NOWHERE
  const { entries, state } = logAfter(readRecords(await readSegments(from.wal, start)), start)
  const records = [
    metadataRecord(randomId(), randomId()),
    placeRecord(NOWHERE),
    ...entries.map((data) => ({ type: RECORD.entry, data })),
    ...(state === undefined ? [] : [{ type: RECORD.state, data: state }]),
    placeRecord(start),
  ]
  await mkdir(to.wal, { recursive: true, mode: 0o700 })
  if (snapshot !== undefined) await writeNew(join(to.snap, snapshot.name), snapshot.bytes)
  await writeNew(join(to.wal, `${'0'.repeat(16)}-${'0'.repeat(16)}.wal`), writeSegment(records))
}

interface Snapshot {
  readonly name: string
  readonly place: Place
  readonly bytes: Buffer
}

/** The newest one that is whole; names are TERM-INDEX.snap in hexadecimal. */
async function newestSnapshot(directory: string): Promise<Snapshot | undefined> {
  for (const name of (await listFiles(directory)).toReversed()) {
    const [, term, index] = /^([0-9a-f]{16})-([0-9a-f]{16})\.snap$/.exec(name) ?? []
    if (term === undefined || index === undefined) continue
    const bytes = await readFile(join(directory, name))
    const place = { index: parseInt(index, 16), term: parseInt(term, 16) }
    if (isWhole(bytes)) return { name, place, bytes }
  }
  return undefined
}

function isWhole(bytes: Buffer): boolean {
  try {
    const fields = decodeFields(bytes)
    const data = bytesField(fields, 2)
    return data.length > 0 && Number(numberField(fields, 1)) === crc32c(data)
  } catch {
    return false
  }
}

/** The segments from the one that holds the entry after `start`; names are SEQ-INDEX.wal. */
async function readSegments(directory: string, start: Place): Promise<Buffer[]> {
  const segments = (await listFiles(directory)).flatMap((name) => {
    const [, seq, index] = /^([0-9a-f]{16})-([0-9a-f]{16})\.wal$/.exec(name) ?? []
    if (seq === undefined || index === undefined) return []
    return [{ name, seq: parseInt(seq, 16), index: parseInt(index, 16) }]
  })
  const first = segments.findLastIndex(({ index }) => index <= start.index)
  const wanted = first === -1 ? [] : segments.slice(first)
  const isComplete = wanted.every(({ seq }, n) => n === 0 || seq === (wanted[n - 1]?.seq ?? 0) + 1)
  if (wanted.length === 0 || !isComplete) throw new Error('wal: file not found')
  return Promise.all(wanted.map(({ name }) => readFile(join(directory, name))))
}

async function listFiles(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).toSorted()
  } catch (error) {
    throw new Error(`open ${directory}: no such file or directory`, { cause: error })
  }
}

async function writeNew(file: string, bytes: Buffer): Promise<void> {
  const handle = await open(file, 'wx', 0o600)
  try {
    await handle.writeFile(bytes)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function randomId(): bigint {
  return randomBytes(8).readBigUInt64BE() | 1n
}
