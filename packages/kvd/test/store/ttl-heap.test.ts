import t from 'tap'
import { createNode, type Node, type Space } from '../../src/store/node.ts'
import { TtlHeap } from '../../src/store/ttl-heap.ts'
import { Random, seedFrom } from '../helpers/random.ts'

const seed = seedFrom('FLOTILLA_HEAP_SEED')

function nodeOf(key: string, expireAt: number, space: Space = 'keys'): Node {
  return createNode({ key, space, parent: undefined, value: '', index: 1, expireAt })
}

/** By time, then space, then key. */
function sorted(nodes: readonly Node[]): readonly Node[] {
  const placeOf = ({ expireAt, space, key }: Node): string =>
    `${String(expireAt).padStart(20, '0')} ${space} ${key}`
  return nodes.toSorted((left, right) => (placeOf(left) < placeOf(right) ? -1 : 1))
}

t.test(`the heap gives what a sorted list gives (seed ${seed})`, async (tt) => {
  const random = new Random(seed)
  for (let round = 0; round < 300; round += 1) {
    const heap = new TtlHeap()
    let model: Node[] = []
    let serial = 0
    const steps = random.int(1, 120)
    for (let step = 0; step < steps; step += 1) {
      const isAdding = model.length === 0 || random.chance(0.6)
      if (isAdding) {
        serial += 1
        const space = random.pick(['keys', 'auth', 'cluster'] as const)
        // Few moments, so that ties are frequent.
        const node = nodeOf(`/${random.int(0, 9)}-${serial}`, random.int(1, 8), space)
        heap.push(node)
        model.push(node)
      } else {
        const gone = random.chance(0.5) ? heap.peek() : random.pick(model)
        if (gone === undefined) throw new Error('an empty heap holds nodes')
        heap.remove(gone)
        model = model.filter((node) => node !== gone)
      }
      if (heap.peek() !== sorted(model)[0] || heap.size !== model.length)
        tt.fail(`round ${round}, step ${step}: ${heap.peek()?.key} of ${heap.size}`)
    }
    const drained: Node[] = []
    for (let next = heap.peek(); next !== undefined; next = heap.peek()) {
      drained.push(next)
      heap.remove(next)
    }
    tt.strictSame(
      drained.map(({ key }) => key),
      sorted(model).map(({ key }) => key),
    )
  }
})

t.test('a node that is not in is not missed', async (tt) => {
  const heap = new TtlHeap()
  const inside = nodeOf('/in', 5)
  const outside = nodeOf('/out', 1)
  heap.push(inside)
  heap.remove(outside)
  tt.equal(heap.peek(), inside)
  heap.remove(inside)
  heap.remove(inside)
  tt.equal(heap.size, 0)
  tt.equal(heap.peek(), undefined)
  heap.push(inside)
  tt.equal(heap.peek(), inside, 'and may come back')
})
