import type { Guest } from "../abi.ts"

export const NANOSECONDS_PER_MS = 1_000_000n

const REALTIME = 0
const MONOTONIC = 1

/** @returns the time of a clock in nanoseconds, whole milliseconds; null for CPU clocks and those that do not exist. */
export function clockNanoseconds(guest: Guest, id: number): bigint | null {
  if (id === MONOTONIC) return BigInt(guest.clockMs) * NANOSECONDS_PER_MS
  if (id === REALTIME) return BigInt(Date.now()) * NANOSECONDS_PER_MS
  return null
}
