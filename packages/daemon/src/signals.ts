/** The parts of `process` that signals need; tests pass an emitter of their own. */
export interface SignalSource {
  on(signal: NodeJS.Signals, listener: () => void): unknown
  off(signal: NodeJS.Signals, listener: () => void): unknown
}

export interface Termination {
  /** Resolves with the first SIGTERM or SIGINT. */
  readonly received: Promise<NodeJS.Signals>
  /** Stops listening. */
  close(): void
}

/**
 * Waits for SIGTERM or SIGINT. A second signal calls `onSecond`, which ends the process at once.
 */
export function awaitTermination(source: SignalSource, onSecond: () => void): Termination {
  let isStopping = false
  const { promise, resolve } = withResolvers<NodeJS.Signals>()
  const handlers = (['SIGTERM', 'SIGINT'] as const).map((signal) => {
    const listener = (): void => {
      if (isStopping) onSecond()
      isStopping = true
      resolve(signal)
    }
    source.on(signal, listener)
    return () => source.off(signal, listener)
  })
  return {
    received: promise,
    close: () => {
      for (const remove of handlers) remove()
    },
  }
}

/** Resolves to true when `work` ends within `ms`, to false when it does not. */
export async function endsWithin(work: Promise<unknown>, ms: number): Promise<boolean> {
  const { promise, resolve } = withResolvers<boolean>()
  const timer = setTimeout(() => resolve(false), ms)
  try {
    return await Promise.race([work.then(() => true), promise])
  } finally {
    clearTimeout(timer)
  }
}

function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let settle: (value: T) => void = () => undefined
  const promise = new Promise<T>((resolve) => {
    settle = resolve
  })
  return { promise, resolve: (value) => settle(value) }
}
