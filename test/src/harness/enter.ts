/** The environment of commands in a machine; nothing of the host's shows through. */
const ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  LANG: 'C.UTF-8',
}

/** The nsenter command line that puts what follows it into a machine, on a clean environment. */
export function enterCommand(
  leader: number,
  environment: Readonly<Record<string, string>> = {},
): string[] {
  const variables = Object.entries({ ...ENVIRONMENT, ...environment })
  const assignments = variables.map(([name, value]) => `${name}=${value}`)
  return ['nsenter', '--target', String(leader), '--all', 'env', '-i', ...assignments]
}
