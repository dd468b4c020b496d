import { printable } from "../config/printable.ts"

/** A guest's text for a message: in quotes, nothing invisible, at most `length` characters of it. */
export function quote(text: unknown, length = 80): string {
  return printable(JSON.stringify(String(text).slice(0, length)))
}
