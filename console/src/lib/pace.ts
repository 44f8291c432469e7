/**
 * How often a model is asked for while there is no live stream, as in the original: every 2 s; every 5 s once its progress has
 * moved by less than 1 % in a minute; never again when its run is over.
 */

const QUICK = 2_000
const SLOW = 5_000
const MINUTE = 60_000

export class Pace {
  /** What the progress was, and when that was first seen. */
  private mark: { progress: number; at: number } | undefined

  /** Milliseconds until the next question; none when there is nothing more to learn. `now` in milliseconds. */
  next(progress: number, isOver: boolean, now: number): number | null {
    if (isOver) return null
    if (!this.mark || Math.abs(progress - this.mark.progress) >= 1) this.mark = { progress, at: now }
    return now - this.mark.at >= MINUTE ? SLOW : QUICK
  }
}
