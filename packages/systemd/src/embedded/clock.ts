/** Time for units' timers; tests give a manager one that they move by hand. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number
  /** Calls back once, after `ms`; returns what cancels it. */
  after(ms: number, callback: () => void): () => void
}

/** setTimeout's longest delay; longer ones fire at once there. */
const DELAY_MS_MAX = 2_147_483_647

/** The machine's clock. Its timers keep the process alive. */
export const systemClock: Clock = {
  now: () => Date.now(),
  after(ms, callback) {
    let timer: NodeJS.Timeout
    const wait = (left: number): void => {
      timer = setTimeout(
        () => (left > DELAY_MS_MAX ? wait(left - DELAY_MS_MAX) : callback()),
        Math.min(left, DELAY_MS_MAX),
      )
    }
    wait(ms)
    return () => clearTimeout(timer)
  },
}
