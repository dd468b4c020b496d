import type { Logger } from "pino"
import { printable } from "../config/printable.ts"
import type { LogLevel } from "./services.ts"
import { TokenBucket } from "./token-bucket.ts"

const MAX_LINE_BYTES = 8192
const LINES_PER_MINUTE = 600

/**
 * The log of one guest: one line per message, at most 8 KiB, control characters shown as `\u{…}` before any printer sees
 * them, at most 600 lines a minute; how many were dropped is said with the next line that is not.
 */
export class GuestLog {
  readonly #log: Logger
  readonly #mask: (text: string) => string
  readonly #bucket = new TokenBucket(LINES_PER_MINUTE, performance.now())
  #dropped = 0

  constructor(log: Logger, plugin: string, mask: (text: string) => string) {
    this.#log = log.child({ plugin })
    this.#mask = mask
  }

  write(level: LogLevel, message: string): void {
    if (!this.#log.isLevelEnabled(level)) return
    if (!this.#bucket.take(performance.now())) {
      this.#dropped++
      return
    }
    this.tellDropped()
    // Masked before it is cut: half a secret is one too.
    this.#log[level](cut(printable(cut(this.#mask(message)))))
  }

  tellDropped(): void {
    if (this.#dropped === 0) return
    this.#log.warn({ dropped: this.#dropped }, `dropped ${this.#dropped} log lines: more than 600 a minute`)
    this.#dropped = 0
  }
}

function cut(text: string): string {
  // No character takes less than a byte or more than three per UTF-16 unit.
  if (text.length * 3 <= MAX_LINE_BYTES || Buffer.byteLength(text) <= MAX_LINE_BYTES) return text
  const bytes = Buffer.from(text.slice(0, MAX_LINE_BYTES)).subarray(0, MAX_LINE_BYTES - 4)
  return `${bytes.toString("utf8").replace(/\ufffd+$/, "")}…`
}
