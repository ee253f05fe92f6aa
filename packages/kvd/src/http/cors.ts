/** Origins that --cors allows, and the headers for them (kvd.md 13.6). */
export class Cors {
  readonly #origins: ReadonlySet<string>

  /** @param origins `*` among them allows any */
  constructor(origins: readonly string[]) {
    this.#origins = new Set(origins)
  }

  get isOff(): boolean {
    return this.#origins.size === 0
  }

  /** Headers for a request from this origin; undefined where it is not allowed. */
  headers(origin: string | undefined): readonly (readonly [string, string])[] | undefined {
    const allowed = this.#origins.has('*') ? '*' : origin
    if (allowed === undefined || !this.#origins.has(allowed)) return undefined
    return [
      ['Access-Control-Allow-Methods', 'POST, GET, OPTIONS, PUT, DELETE'],
      ['Access-Control-Allow-Origin', allowed],
      ['Access-Control-Allow-Headers', 'accept, content-type, authorization'],
    ]
  }
}
