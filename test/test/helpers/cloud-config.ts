import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { member, textOf } from '../../src/harness/json.ts'
import { SHARED } from '../../src/harness/paths.ts'

/** Why the articles' own files cannot be used here, or false; in the form that tap's `skip` takes. */
export const ARTICLES_SKIP: string | false =
  SHARED === undefined
    ? "the articles' files (../shared, or where FLOTILLA_SHARED says) are not here"
    : false

/** One of the articles' own files, as it stands. */
export function article(name: string): string {
  if (SHARED === undefined) throw new Error(String(ARTICLES_SKIP))
  return readFileSync(join(SHARED, 'articles', name), 'utf8')
}

/**
 * What a cloud-config tells the store, as the variables that its unit gets: those of `coreos.etcd2`, on a
 * machine with this private address.
 */
export function storeVariables(text: string, privateIPv4: string): Record<string, string> {
  const document: unknown = parse(text.replaceAll('$private_ipv4', privateIPv4))
  const settings = member(member(document, 'coreos'), 'etcd2') ?? {}
  const variables = Object.entries(settings).map(([key, value]) => [
    `ETCD_${key.toUpperCase().replaceAll('-', '_')}`,
    textOf(value),
  ])
  return Object.fromEntries(variables)
}
