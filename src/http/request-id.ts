import { randomFillSync } from "node:crypto"

const ID_BYTES = 16
const pool = Buffer.allocUnsafe(ID_BYTES * 256)
let used = pool.length

/** 32 lower-case hex digits from the system's random source, drawn 256 at a time. */
export function newRequestId(): string {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += ID_BYTES
  return pool.toString("hex", used - ID_BYTES, used)
}

/** Whether an id that a trusted proxy sent may stand in logs, headers and pages as it is. */
export function isRequestId(text: string): boolean {
  return /^[A-Za-z0-9._:+/=@-]{1,128}$/.test(text)
}
