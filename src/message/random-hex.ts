import { randomBytes } from "node:crypto"

const POOL_BYTES = 4_096

let pool = ""
let used = 0

/**
 * Random lower-case hex digits for identifiers. One call to the system's random source, and one conversion, serve
 * hundreds of requests; a part of a text costs nearly nothing.
 * @param digits - How many, at most 8192.
 */
export function randomHex(digits: number): string {
  if (used + digits > pool.length) {
    pool = randomBytes(POOL_BYTES).toString("hex")
    used = 0
  }
  used += digits
  return pool.slice(used - digits, used)
}
