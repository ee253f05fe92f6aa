import type { SpecifierContext } from '../../src/service/specifiers.ts'

/** The machine on which the recordings were made. */
export const CONTEXT: SpecifierContext = {
  machineID: '0123456789abcdef0123456789abcdef',
  bootID: 'b00t',
  hostname: 'sdm',
  kernelRelease: '6.1',
  architecture: 'x86-64',
  user: { name: 'root', uid: 0, gid: 0, home: '/root', shell: '/bin/sh' },
  unitsDirectory: '/run/fleet/units',
  directories: {
    runtime: '/run',
    state: '/var/lib',
    cache: '/var/cache',
    logs: '/var/log',
    config: '/etc',
  },
}
