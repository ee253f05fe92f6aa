/**
 * Milliseconds that have passed, for leases and TTLs. Never goes back, as the wall clock does when it is set, and does not
 * stand still while the machine sleeps, as the monotonic clock does: of two readings the clock that went further counts.
 */
export function steadyClock(
  wall: () => number = () => Date.now(),
  monotonic: () => number = () => performance.now(),
): () => number {
  let passedMs = 0
  let [lastWall, lastMonotonic] = [wall(), monotonic()]
  return () => {
    const [nowWall, nowMonotonic] = [wall(), monotonic()]
    passedMs += Math.max(0, nowWall - lastWall, nowMonotonic - lastMonotonic)
    lastWall = nowWall
    lastMonotonic = nowMonotonic
    return passedMs
  }
}
