import { printable } from "../../config/printable.ts"

const MAX_SHOWN = 64

/** A name that a module has, for a message: it is a stranger's. On one line, and short. */
export function showName(name: string): string {
  return /^[\w.-]{1,64}$/.test(name) ? name : printable(JSON.stringify(name.slice(0, MAX_SHOWN)))
}
