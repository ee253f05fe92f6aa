import type { Answer, Item, Request } from '../history.ts'

interface Node {
  readonly value: string
  readonly mod: number
  readonly created: number
}

/** The part of the v2 API that the load uses, written from its specification. Copies are cheap. */
export class Tree {
  readonly nodes: Map<string, Node>
  readonly posts: Map<string, readonly Item[]>
  index: number

  constructor(from?: Tree) {
    this.nodes = new Map(from?.nodes)
    this.posts = new Map(from?.posts)
    this.index = from?.index ?? 3
  }

  /** Carries a request out. */
  apply(request: Request): Answer {
    const { f, k, v = '' } = request
    switch (f) {
      case 'get':
        return this.#get(k)
      case 'list':
        return { etcdIndex: this.index, items: this.posts.get(k) ?? [] }
      case 'post':
        return this.#post(k, v)
      case 'set':
        return this.#put(k, v, false)
      case 'create':
        return this.nodes.has(k) ? this.#error(105) : this.#put(k, v, false)
      case 'update':
        return this.nodes.has(k) ? this.#put(k, v, true) : this.#error(100)
      case 'delete':
        return this.#remove(k)
      case 'cas':
        return this.refusalOf(request) ?? this.#put(k, v, true)
      case 'cad':
        return this.refusalOf(request) ?? this.#remove(k)
    }
  }

  /** Why a comparison fails; undefined when it does not. */
  refusalOf({ k, exp, at }: Request): Answer | undefined {
    const node = this.nodes.get(k)
    if (node === undefined) return this.#error(100)
    const isEqual = at === undefined ? node.value === exp : node.mod === at
    if (isEqual) return undefined
    return { ...this.#error(101), cur: at === undefined ? node.value : String(node.mod) }
  }

  #error(code: number): Answer {
    return { code, etcdIndex: this.index }
  }

  #get(k: string): Answer {
    const node = this.nodes.get(k)
    if (node === undefined) return this.#error(100)
    return { etcdIndex: this.index, v: node.value, mod: node.mod, created: node.created }
  }

  #put(k: string, value: string, keepsCreated: boolean): Answer {
    const before = this.nodes.get(k)
    this.index += 1
    const created = keepsCreated && before !== undefined ? before.created : this.index
    this.nodes.set(k, { value, mod: this.index, created })
    return { etcdIndex: this.index, mod: this.index, created, ...this.#prevOf(before) }
  }

  #remove(k: string): Answer {
    const before = this.nodes.get(k)
    if (before === undefined) return this.#error(100)
    this.index += 1
    this.nodes.delete(k)
    const { created } = before
    return { etcdIndex: this.index, mod: this.index, created, ...this.#prevOf(before) }
  }

  #prevOf(node: Node | undefined): Partial<Answer> {
    return node === undefined ? {} : { prev: node.value, prevMod: node.mod }
  }

  #post(k: string, v: string): Answer {
    this.index += 1
    const name = String(this.index).padStart(20, '0')
    const items = this.posts.get(k) ?? []
    this.posts.set(k, [...items, { name, v, mod: this.index }])
    return { etcdIndex: this.index, mod: this.index, created: this.index, name }
  }
}
