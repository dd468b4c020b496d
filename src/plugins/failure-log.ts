import type { Logger } from "pino"
import type { BextError } from "../errors.ts"
import type { HookName } from "../hooks.ts"
import { guestStack, printableLines } from "./guest-text.ts"

const WINDOW_MS = 10_000
/** Different failures written out per plugin and window: a guest can make every message different. */
const MAX_DIFFERENT = 20

/** Writes each failure of one plugin once; the same failure again within ten seconds is counted, not written. */
export class FailureLog {
  readonly #plugin: string
  readonly #logger: Logger
  readonly #seen = new Map<string, { repeated: number; readonly hook: HookName; readonly error: BextError }>()
  #others = 0
  /** Ends the window. Never what keeps the process alive. */
  #timer: NodeJS.Timeout | null = null

  constructor(plugin: string, logger: Logger) {
    this.#plugin = plugin
    this.#logger = logger
  }

  /** @param requestId - null for hooks without a request. */
  report(hook: HookName, error: BextError, requestId: string | null): void {
    this.#timer ??= setTimeout(() => this.flush(), WINDOW_MS).unref()
    const key = `${hook} ${error.message.slice(0, 200)}`
    const seen = this.#seen.get(key)
    if (seen !== undefined) {
      seen.repeated++
      return
    }
    if (this.#seen.size >= MAX_DIFFERENT) {
      this.#others++
      return
    }
    this.#seen.set(key, { repeated: 0, hook, error })
    const fields = { plugin: this.#plugin, hook, code: error.code, request_id: requestId, stack: guestStack(error) }
    this.#logger.error(fields, printableLines(error.message))
  }

  /** Says what was counted since the last time, and starts anew. */
  flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    for (const { repeated, hook, error } of this.#seen.values()) {
      if (repeated === 0) continue
      const fields = { plugin: this.#plugin, hook, code: error.code, repeated }
      this.#logger.error(fields, `${printableLines(error.message)} (repeated ${repeated} times)`)
    }
    if (this.#others > 0) {
      this.#logger.error({ plugin: this.#plugin }, `${this.#plugin}: ${this.#others} more failures, all different`)
    }
    this.#seen.clear()
    this.#others = 0
  }
}
