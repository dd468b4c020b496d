import { randomFillSync } from "node:crypto"

const pool = Buffer.allocUnsafe(4_096)
let used = pool.length

/**
 * Random lower-case hex digits for identifiers, from the system's random source; one call to it serves hundreds.
 * @param digits - How many: even, at most 8192.
 */
export function randomHex(digits: number): string {
  const bytes = digits / 2
  if (used + bytes > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += bytes
  return pool.toString("hex", used - bytes, used)
}
