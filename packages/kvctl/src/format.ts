import type { KvNode, KvResponse } from '@flotilla/kv-client'

/** What a command prints. */
export interface Output {
  readonly stdout: string
  readonly stderr: string
}

/** One answer in the format asked for (etcd 2.3 etcdctl/command/format.go). */
export function formatResponse(response: KvResponse, format: string): Output {
  switch (format) {
    case 'simple':
      return out(simple(response))
    case 'extended':
      return out(extended(response))
    case 'json':
      return out(`${responseJson(response)}\n`)
    default:
      return { stdout: '', stderr: `Unsupported output format: ${format}\n` }
  }
}

function out(stdout: string): Output {
  return { stdout, stderr: '' }
}

function simple({ action, node, prevNode }: KvResponse): string {
  return action === 'delete'
    ? `PrevNode.Value: ${prevNode?.value ?? ''}\n`
    : `${node.value ?? ''}\n`
}

function extended({ action, node, prevNode, etcdIndex }: KvResponse): string {
  return [
    `Key: ${keyOf(node)}`,
    `Created-Index: ${node.createdIndex}`,
    `Modified-Index: ${node.modifiedIndex}`,
    ...(prevNode === undefined ? [] : [`PrevNode.Value: ${prevNode.value ?? ''}`]),
    `TTL: ${node.ttl ?? 0}`,
    `Index: ${etcdIndex}`,
    ...(action === 'delete' ? [] : ['', node.value ?? '']),
    '',
  ].join('\n')
}

/** The fields in the order of the original, `value` and `nodes` always there. */
export function responseJson({ action, node, prevNode }: KvResponse): string {
  const previous = prevNode === undefined ? 'null' : nodeJson(prevNode)
  return `{"action":${goJson(action)},"node":${nodeJson(node)},"prevNode":${previous}}`
}

function nodeJson(node: KvNode): string {
  const nodes = node.nodes === undefined ? 'null' : `[${node.nodes.map(nodeJson).join(',')}]`
  const fields = [
    `"key":${goJson(keyOf(node))}`,
    ...(node.dir === true ? ['"dir":true'] : []),
    `"value":${goJson(node.value ?? '')}`,
    `"nodes":${nodes}`,
    `"createdIndex":${node.createdIndex}`,
    `"modifiedIndex":${node.modifiedIndex}`,
    ...(node.expiration === undefined ? [] : [`"expiration":${goJson(node.expiration)}`]),
    ...(node.ttl ? [`"ttl":${node.ttl}`] : []),
  ]
  return `{${fields.join(',')}}`
}

/** The root has no key on the wire, and the original prints none. */
export function keyOf(node: KvNode): string {
  return node.key === '/' ? '' : node.key
}

/** A JSON text as Go's encoding/json writes it. */
export function goJson(text: string): string {
  return JSON.stringify(text)
    .replaceAll(/[<>&\u2028\u2029]/g, unicodeEscape)
    .replaceAll(/\\(?:\\|b|f)/g, (escape) => SHORT_ESCAPES[escape] ?? escape)
}

// Go knows no short escape for these two; a doubled backslash is matched so that it stays whole.
const SHORT_ESCAPES: Readonly<Record<string, string>> = { '\\b': '\\u0008', '\\f': '\\u000c' }

function unicodeEscape(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** The paths of a listing, depth first; a file lists itself. */
export function listing({ node }: KvResponse, markDirs: boolean): string {
  const lines = node.dir === true ? [] : [keyOf(node)]
  const walk = (child: KvNode): void => {
    lines.push(child.dir === true && markDirs ? `${child.key}/` : child.key)
    child.nodes?.forEach(walk)
  }
  node.nodes?.forEach(walk)
  return lines.map((line) => `${line}\n`).join('')
}

/** Go's `%q` for the texts a request body can hold. */
export function goQuote(text: string): string {
  return JSON.stringify(text)
    .replaceAll(/\\u00([01][0-9a-f])/g, '\\x$1')
    .replaceAll('\u007f', '\\x7f')
}
