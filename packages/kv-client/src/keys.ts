/** Percent escapes of a query or form value, as Go's `url.QueryEscape`. Lone surrogates become U+FFFD. */
export function escapeQuery(text: string): string {
  return encode(text).replaceAll('%20', '+')
}

/** A form or query string; names sorted, as Go's `url.Values.Encode` (what `--debug` shows). */
export function encodeForm(fields: Readonly<Record<string, string | undefined>>): string {
  return Object.entries(fields)
    .flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${escapeQuery(value)}`]))
    .toSorted()
    .join('&')
}

/** Where etcd and kvd serve keys. */
export const KEYS_PREFIX = '/v2/keys'

/**
 * The path of a key below a prefix: made absolute and clean (`a//b/../c` is `/a/c`; `..` never leaves
 * the root), a trailing slash kept, because auth patterns look at the path as it was sent.
 */
export function keyPath(key: string, prefix = KEYS_PREFIX): string {
  const clean = cleanKey(key)
  const slash = key.endsWith('/') && clean !== '/' ? '/' : ''
  return `${prefix}${escapePath(clean)}${slash}`
}

/** A key as the store names it: absolute, clean, without a trailing slash. */
export function cleanKey(key: string): string {
  const parts: string[] = []
  for (const part of key.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  return `/${parts.join('/')}`
}

// Go's net/url leaves these as they are in a path; the curl lines of --debug show them so.
const PATH_PLAIN = /%(?:24|26|2B|2C|2F|3A|3B|3D|40)/g

function escapePath(path: string): string {
  return encode(path).replace(PATH_PLAIN, (escape) => decodeURIComponent(escape))
}

function encode(text: string): string {
  const wellFormed = /\p{Surrogate}/u.test(text) ? Buffer.from(text).toString() : text
  return encodeURIComponent(wellFormed).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}
