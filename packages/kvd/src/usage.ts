import { FLAGS } from './flags.ts'
import { SERVER_VERSION } from './cluster.ts'

/** Text of --help. */
export function usage(): string {
  const lines = Object.entries(FLAGS)
    .filter(([, spec]) => !('hidden' in spec && spec.hidden) && !('unsupported' in spec))
    .map(([name, spec]) => {
      const initial = spec.default === '' ? '' : ` '${String(spec.default)}'`
      return `  --${name}${initial}\n        ${spec.usage}\n`
    })
  return (
    'usage: kvd [flags]\n       start the key-value store\n       kvd --version\n       show the version\n       kvd -h | --help\n       show this text\n\n' +
    'kvd serves the v2 API of etcd. It and etcd cannot be members of one cluster.\n' +
    'Each flag can be set as ETCD_NAME or KVD_NAME in the environment, too.\n\n' +
    `flags:\n${lines.join('')}`
  )
}

/** Text of --version: the original's lines, which scripts cut apart. */
export function versionText(own: string): string {
  const platform = `${process.platform}/${process.arch === 'x64' ? 'amd64' : process.arch}`
  return `etcd Version: ${SERVER_VERSION}\nGit SHA: kvd ${own}\nGo Version: none (Node ${process.version})\nGo OS/Arch: ${platform}\n`
}
