import * as host from "./bext"
import { at, toUtf8 } from "./memory"

/**
 * Writes one line into the log; it is cut at 8 KiB.
 * @param level - "debug", "info", "warn" or "error".
 */
export function log(level: string, message: string): void {
  const levelBytes = toUtf8(level)
  const bytes = toUtf8(message)
  host.log(at(levelBytes), levelBytes.byteLength, at(bytes), bytes.byteLength)
}
