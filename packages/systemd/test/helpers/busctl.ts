import { isVariant, type Value } from '../../src/dbus/marshal.ts'

/** Arguments of `busctl call` for a value: the type's fields, with counts before arrays. */
function busctlArguments(value: Value): string[] {
  if (value instanceof Uint8Array) return [String(value.length), ...[...value].map(String)]
  if (isVariant(value)) return [value.signature, ...argumentsOf(value.signature, value.value)]
  return [scalar(value)]
}

/** The arguments that stand for a value of one type. */
export function argumentsOf(signature: string, value: Value): string[] {
  if (!Array.isArray(value)) return busctlArguments(value)
  const items: readonly Value[] = value
  if (signature.startsWith('a{')) {
    const inner = signature.slice(3, -1)
    return [
      String(items.length),
      ...items.flatMap((entry) => {
        const [key = '', each = '']: readonly Value[] = Array.isArray(entry) ? entry : []
        return [scalar(key), ...argumentsOf(inner, each)]
      }),
    ]
  }
  if (signature.startsWith('a')) {
    return [String(items.length), ...items.flatMap((item) => argumentsOf(signature.slice(1), item))]
  }
  return fieldsOf(signature).flatMap((field, index) => argumentsOf(field, items[index] ?? ''))
}

function scalar(value: Value): string {
  return typeof value === 'object' ? '' : String(value)
}

/** The complete types inside a struct. */
function fieldsOf(signature: string): string[] {
  const fields: string[] = []
  let rest = signature.slice(1, -1)
  while (rest !== '') {
    let end = 0
    while (rest.charAt(end) === 'a') end += 1
    const open = rest.charAt(end)
    for (let depth = 0; ;) {
      const char = rest.charAt(end)
      end += 1
      if ('({'.includes(char)) depth += 1
      if (')}'.includes(char)) depth -= 1
      if (depth === 0 || !'({'.includes(open)) break
    }
    fields.push(rest.slice(0, end))
    rest = rest.slice(end)
  }
  return fields
}

/** A value as `busctl --json=short` prints it. */
export function busctlJson(signature: string, value: Value): unknown {
  if (value instanceof Uint8Array) return [...value]
  if (isVariant(value))
    return { type: value.signature, data: busctlJson(value.signature, value.value) }
  if (typeof value === 'bigint') return Number(value)
  if (!Array.isArray(value)) return value
  const items: readonly Value[] = value
  if (signature.startsWith('a{')) {
    return Object.fromEntries(
      items.map((entry) => {
        const [key = '', each = '']: readonly Value[] = Array.isArray(entry) ? entry : []
        return [scalar(key), busctlJson(signature.slice(3, -1), each)]
      }),
    )
  }
  if (signature.startsWith('a')) return items.map((item) => busctlJson(signature.slice(1), item))
  return fieldsOf(signature).map((field, index) => busctlJson(field, items[index] ?? ''))
}
