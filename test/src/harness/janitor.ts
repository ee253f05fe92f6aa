import { spawn } from 'node:child_process'

/** What has to be gone when its owner is, whichever way the owner ends. */
export interface Leavings {
  /** A directory with all that is in it. */
  readonly directory: string
  /** Cgroups, each with those below it; they empty themselves when their processes have died. */
  readonly groups?: readonly string[]
}

/**
 * Starts a process that outlives this one and clears up after it, also after a SIGKILL: its standard
 * input ends with us. Gives the function that lets it begin now; it rejects when things stay.
 */
export function startJanitor({ directory, groups = [] }: Leavings): () => Promise<void> {
  const script = `
    cat >/dev/null
    directory=$1; shift; tries=0
    while [ $tries -lt 300 ]; do
      tries=$((tries+1)); left=
      rm -rf "$directory" || left=1
      for group; do
        [ -d "$group" ] && find "$group" -depth -type d -exec rmdir {} +
        [ -d "$group" ] && left=1
      done
      [ "$left" ] || exit 0
      sleep 0.1
    done
    exit 1`
  const janitor = spawn('sh', ['-c', script, 'janitor', directory, ...groups], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  const ended = new Promise<void>((resolve, reject) => {
    janitor.on('error', reject)
    janitor.on('close', (code) => {
      if (code === 0) resolve()
      else reject(new Error(`could not clear up ${[directory, ...groups].join(' ')}`))
    })
  })
  return () => {
    janitor.stdin.end()
    return ended
  }
}
