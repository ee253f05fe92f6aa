import t from 'tap'
import { packEvents, unpackEvents } from '../../src/storage/records.ts'
import { createStats } from '../../src/store/stats.ts'
import type { StoreEvent } from '../../src/store/event.ts'
import { Store } from '../../src/store/store.ts'
import { SnapshotParser, SnapshotWriter } from '../../src/transport/snapshot-codec.ts'
import { applied, set } from '../helpers/commands.ts'

const VALUE_BYTES_MAX = 10 * 1024 * 1024

/** An event with a value and the one before it, as long as a client may make them. */
function longest(character: string): StoreEvent {
  const store = new Store({ historySize: 2 })
  const value = character.repeat(VALUE_BYTES_MAX / Buffer.byteLength(character))
  applied(store, set('/long', { value }))
  return applied(store, set('/long', { value }))
}

t.test('the longest events fit, whatever their characters take', (tt) => {
  // JSON thrice makes nine bytes of it, more than of any other.
  const event = longest('\u0001')
  const place = { index: 2, term: 1, chain: 0 }
  const writer = new SnapshotWriter()
  const parser = new SnapshotParser()
  const title = { from: 'a1', to: 'b2', term: 1, incarnation: 1, place }
  const head = { ...title, storeIndex: event.index, count: 1, stats: createStats() }
  const frames = [
    writer.frame({ kind: 'head', title: head }),
    writer.frame({ kind: 'events', row: { last: event.index, body: packEvents([event]) } }),
    writer.end(),
  ].flatMap((frame) => [...parser.push(frame)])
  const [body = ''] = frames.flatMap((frame) => (frame.kind === 'events' ? [frame.row.body] : []))
  tt.ok(unpackEvents(body)[0]?.json === event.json)
  tt.equal(parser.isWhole, true)
  tt.end()
})
