import type { UnitOption } from '@flotilla/systemd'
import { ApiError } from './http.ts'
import { metadataPath } from './paths.ts'

/** The members of a PUT body that matter. */
export interface UnitBody {
  readonly name: string
  readonly options: readonly UnitOption[]
  readonly desiredState: string
}

/** Reads the body of a PUT of a unit. Throws ApiError 400. */
export function decodeUnit(text: string): UnitBody {
  const refuse = (what: string): ApiError => new ApiError(400, `unable to decode body: ${what}`)
  const fields = membersOf(parseJSON(text, refuse))
  if (fields === undefined) throw refuse('json: cannot unmarshal into a unit')
  const options = fields.get('options') ?? []
  if (!Array.isArray(options)) throw refuse('json: options must be an array')
  return {
    name: textOf(fields, 'name', refuse),
    desiredState: textOf(fields, 'desiredstate', refuse),
    options: options.map((option) => decodeOption(option, refuse)),
  }
}

type Refuse = (what: string) => ApiError

function decodeOption(value: unknown, refuse: Refuse): UnitOption {
  const fields = membersOf(value)
  if (fields === undefined) throw refuse('json: an option must be an object')
  return {
    section: textOf(fields, 'section', refuse),
    name: textOf(fields, 'name', refuse),
    value: textOf(fields, 'value', refuse),
  }
}

/** One metadata key to set; an empty value hides the key. */
export interface MetadataChange {
  readonly machineID: string
  readonly key: string
  readonly value: string
}

/** Reads the body of a PATCH of machines: all operations are checked before one is carried out. Throws ApiError 400. */
export function decodeMetadataPatch(text: string): MetadataChange[] {
  const refuse = (what: string): ApiError => new ApiError(400, what)
  const operations = parseJSON(text, refuse)
  if (!Array.isArray(operations)) throw refuse('json: cannot unmarshal into a list of operations')
  return operations.map((operation) => decodeOperation(operation, refuse))
}

const OPERATIONS = new Set(['add', 'remove', 'replace'])

function decodeOperation(value: unknown, refuse: Refuse): MetadataChange {
  const fields = membersOf(value)
  if (fields === undefined) throw refuse('json: an operation must be an object')
  const operation = textOf(fields, 'op', refuse)
  const given = valueMember(fields.get('value'), refuse)
  if (!OPERATIONS.has(operation)) throw refuse('invalid op: expect add, remove, or replace')
  const target = metadataPath(textOf(fields, 'path', refuse))
  if (target === undefined) throw refuse('machine metadata path invalid')
  if (operation === 'remove') return { ...target, value: '' }
  if (given === '') throw refuse('invalid value: add and replace require a value')
  return { ...target, value: given }
}

/** The value is an object in fleet 1.0, whatever its documentation says; the message names the Go type. */
function valueMember(value: unknown, refuse: Refuse): string {
  if (value === undefined || value === null) return ''
  const fields = membersOf(value)
  if (fields !== undefined) return textOf(fields, 'value', refuse)
  const kind = Array.isArray(value) ? 'array' : GO_KINDS.get(typeof value)
  throw refuse(
    `json: cannot unmarshal ${kind} into Go struct field machineMetadataOp.Value of type struct { Value string "json:\\"value\\"" }`,
  )
}

const GO_KINDS = new Map<string, string>([
  ['string', 'string'],
  ['number', 'number'],
  ['boolean', 'bool'],
])

function parseJSON(text: string, refuse: Refuse): unknown {
  if (text.trim() === '') throw refuse('EOF')
  try {
    return JSON.parse(text)
  } catch (error) {
    throw refuse(error instanceof Error ? error.message : String(error))
  }
}

/** Members by lower-case name, as Go's decoder matches them. */
function membersOf(value: unknown): Map<string, unknown> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  return new Map(Object.entries(value).map(([name, member]) => [name.toLowerCase(), member]))
}

function textOf(fields: ReadonlyMap<string, unknown>, name: string, refuse: Refuse): string {
  const value = fields.get(name) ?? ''
  if (typeof value !== 'string') throw refuse(`json: ${name} must be a string`)
  return value
}
