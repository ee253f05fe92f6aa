import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { mangleUnitName, parseUnitFile, unitFileOf, type UnitFile } from '@flotilla/fleet-registry'
import { parseUnitName } from '@flotilla/systemd'
import type { Client } from './client/types.ts'
import { errorText } from './context.ts'

/** What an argument of submit, load or start stands for. */
export interface UnitArgument {
  readonly name: string
  /** The file of exactly that name, beside the argument's directory. */
  readonly path: string
  /** For an instance: name and file of its template. */
  readonly template: { readonly name: string; readonly path: string } | undefined
}

/** A problem with getting a unit's content; the message is the original's. */
export class SourceError extends Error {
  override readonly name = 'SourceError'
}

/** Reads an argument such as `dir/web@1`. */
export function unitArgument(argument: string): UnitArgument {
  const name = mangleUnitName(argument)
  const directory = argument.includes('/') ? dirname(argument) : ''
  const parts = parseUnitName(name)
  const template = parts === undefined || parts.instance === '' ? '' : parts.template
  return {
    name,
    path: join(directory, name),
    template: template === '' ? undefined : { name: template, path: join(directory, template) },
  }
}

/** A local file as a unit; `undefined` when there is none. Throws SourceError when it cannot be parsed. */
export async function readLocalUnit(path: string): Promise<UnitFile | undefined> {
  let text: Buffer
  try {
    text = await readFile(path)
  } catch (error) {
    if (error instanceof Error && 'code' in error && MISSING.has(String(error.code)))
      return undefined
    throw new SourceError(`failed getting Unit(${path}) from file: ${errorText(error)}`)
  }
  try {
    return parseUnitFile(text)
  } catch (error) {
    throw new SourceError(`failed getting Unit(${path}) from file: ${errorText(error)}`)
  }
}

const MISSING = new Set(['ENOENT', 'ENOTDIR'])

/**
 * Content for a unit that the registry does not have, in the original's order: the local file, the template in the
 * registry, the template beside the file. Throws SourceError.
 */
export async function findContent(client: Client, unit: UnitArgument): Promise<UnitFile> {
  const local = await readLocalUnit(unit.path)
  if (local !== undefined) return local
  if (unit.template === undefined) {
    throw new SourceError(`unable to find Unit(${unit.name}) in Registry or on filesystem`)
  }
  const { name, path } = unit.template
  const registered = await client.unit(name)
  if (registered !== undefined) return unitFileOf(registered.options)
  const file = await readLocalUnit(path)
  if (file !== undefined) return file
  throw new SourceError(
    `failed getting Unit(${unit.name}) from template: unable to find template Unit(${name}) in Registry or on filesystem`,
  )
}
