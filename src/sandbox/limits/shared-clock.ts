/** Milliseconds on a monotonic clock that all threads of the process share: `performance.now()` begins anew in each. */
export function sharedClock(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
