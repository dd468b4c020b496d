import { randomHex } from "../message/random-hex.ts"

/** 32 lower-case hex digits. */
export function newRequestId(): string {
  return randomHex(32)
}

/** Whether an id that a trusted proxy sent may stand in logs, headers and pages as it is. */
export function isRequestId(text: string): boolean {
  return /^[A-Za-z0-9._:+/=@-]{1,128}$/.test(text)
}
