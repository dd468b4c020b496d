/** Where a plugin runs, and why. */
export interface LaneStatus {
  readonly now: "inline" | "worker"
  readonly wanted: "auto" | "inline" | "worker"
  /** CPU share it may use of the thread over one second, 0 to 1. */
  readonly share: number
  /** What it used over the last full second, 0 to 1. */
  readonly used: number
  /** Why it is where it is, e.g. "used 43 % of the thread, 10 % allowed"; null when it never moved. */
  readonly reason: string | null
  /** Epoch milliseconds of the last move. */
  readonly movedAtMs: number | null
  /** Calls that wait for the lane. */
  readonly waiting: number
}
