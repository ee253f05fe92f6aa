import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DataDirError } from '../data-dir.ts'

/** What a proxy remembers of its cluster: `DATA/proxy/cluster`, as the original writes it. */
export class ClusterFile {
  readonly path: string

  constructor(dataDir: string) {
    const directory = join(dataDir, 'proxy')
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 })
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new DataDirError(`cannot write the data directory ${dataDir}: ${reason}`, {
        cause: error,
      })
    }
    this.path = join(directory, 'cluster')
  }

  /** Peer URLs of an earlier life; undefined when there was none. @throws DataDirError naming the file */
  read(): readonly string[] | undefined {
    if (!existsSync(this.path)) return undefined
    let document: unknown
    try {
      document = JSON.parse(readFileSync(this.path, 'utf8'))
    } catch (error) {
      throw new DataDirError(`cannot read ${this.path}`, { cause: error })
    }
    const urls =
      typeof document === 'object' && document !== null && 'PeerURLs' in document
        ? document.PeerURLs
        : undefined
    if (!Array.isArray(urls)) throw new DataDirError(`${this.path} has no PeerURLs`)
    return urls.filter((url): url is string => typeof url === 'string')
  }

  /** Whole or not at all. */
  write(peerURLs: readonly string[]): void {
    const text = JSON.stringify({ PeerURLs: peerURLs })
    writeFileSync(`${this.path}.bak`, text, { mode: 0o600, flush: true })
    renameSync(`${this.path}.bak`, this.path)
  }
}
