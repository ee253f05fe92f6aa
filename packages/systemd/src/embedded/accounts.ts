import { readFileSync } from 'node:fs'

/** What a process needs to run as somebody else. */
export interface Account {
  readonly uid: number
  readonly gid: number
  readonly name: string
  readonly home: string
  readonly shell: string
}

function table(path: string): string[][] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
}

/** Looks a user up by name or number in the passwd file; undefined when there is none. Name services are not asked. */
export function findUser(nameOrID: string, path = '/etc/passwd'): Account | undefined {
  for (const [name = '', , uid = '', gid = '', , home = '/', shell = '/bin/sh'] of table(path)) {
    if (name !== '' && (name === nameOrID || uid === nameOrID)) {
      return { uid: Number(uid), gid: Number(gid), name, home, shell }
    }
  }
  return undefined
}

/** Looks a group up by name or number in the group file. */
export function findGroup(nameOrID: string, path = '/etc/group'): number | undefined {
  for (const [name = '', , gid = ''] of table(path)) {
    if (name !== '' && (name === nameOrID || gid === nameOrID)) return Number(gid)
  }
  return undefined
}
