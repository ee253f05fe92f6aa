import type { Config } from '../config.ts'
import type { DiscoveryError } from './discovery-error.ts'
import { shownUrl } from './shown-url.ts'

/** A line of the log, and who it is for: `error` says what is wrong, `info` what to do. */
export interface FailureLine {
  readonly level: 'error' | 'info'
  readonly text: string
}

/** What is said when there is no initial cluster (etcd 2.3 etcdmain/etcd.go). */
export function failureLines(
  error: DiscoveryError,
  config: Pick<Config, 'name' | 'dataDir' | 'discovery' | 'proxy'>,
): readonly FailureLine[] {
  const { name, dataDir, discovery, proxy } = config
  if (discovery?.type !== 'url')
    return [say('error', `error setting up initial cluster: ${error.message}`)]
  if (proxy.mode !== 'off') return [say('error', error.message)]
  const url = shownUrl(discovery.url)
  if (error.code === 'DUPLICATE_ID')
    return [
      say(
        'error',
        `member ${JSON.stringify(name)} has previously registered with discovery service token (${url}).`,
      ),
      say(
        'error',
        `But etcd could not find valid cluster configuration in the given data dir (${dataDir}).`,
      ),
      say('info', 'Please check the given data dir path if the previous bootstrap succeeded'),
      say('info', 'or use a new discovery token if the previous bootstrap failed.'),
    ]
  if (error.code === 'DUPLICATE_NAME')
    return [
      say(
        'error',
        `member with duplicated name has registered with discovery service token(${url}).`,
      ),
      say('error', 'please check (cURL) the discovery token for more information.'),
      say(
        'error',
        'please do not reuse the discovery token and generate a new one to bootstrap the cluster.',
      ),
    ]
  return [
    say('error', `failed to join discovery cluster (${error.message})`),
    say('info', `discovery token ${url} was used, but failed to bootstrap the cluster.`),
    say('info', 'please generate a new discovery token and try to bootstrap again.'),
  ]
}

function say(level: FailureLine['level'], text: string): FailureLine {
  return { level, text }
}
