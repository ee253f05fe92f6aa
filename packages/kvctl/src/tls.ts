import { createPrivateKey, X509Certificate } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { TlsOptions } from '@flotilla/kv-client'

/** Names of files; '' for one that is not given. */
export interface TlsFiles {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

/** Reads what https endpoints need. Rejects for what cannot be used, in the words of the original. */
export async function readTls({ ca, cert, key }: TlsFiles): Promise<TlsOptions> {
  if ((cert === '') !== (key === '')) {
    throw new Error(`KeyFile and CertFile must both be present[key: ${key}, cert: ${cert}]`)
  }
  const pem = { ca: await read(ca), cert: await read(cert), key: await read(key) }
  if (pem.ca !== undefined) certificate(pem.ca, ca)
  if (pem.cert !== undefined && pem.key !== undefined) {
    const shown = certificate(pem.cert, cert)
    if (!shown.checkPrivateKey(privateKey(pem.key, key))) {
      throw new Error(`tls: private key does not match public key: ${key} and ${cert}`)
    }
  }
  return pem
}

async function read(file: string): Promise<Buffer | undefined> {
  if (file === '') return undefined
  try {
    return await readFile(file)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT')
      throw new Error(`open ${file}: no such file or directory`, { cause: error })
    if (code === 'EACCES') throw new Error(`open ${file}: permission denied`, { cause: error })
    throw error
  }
}

/** The first one of the file, which must have one. */
function certificate(pem: Buffer, file: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch (error) {
    throw new Error(`${file} holds no certificate in PEM form`, { cause: error })
  }
}

function privateKey(pem: Buffer, file: string): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch (error) {
    throw new Error(`${file} holds no private key that can be read`, { cause: error })
  }
}
