import type { Logger } from "pino"
import type { ReloadOutcome, ReloadReport } from "../admin/control.ts"
import { BextError } from "../errors.ts"
import { type ConfigSource, readAgain } from "./config-source.ts"

export interface ReloadDriverOptions {
  /** What serves at first. */
  readonly source: ConfigSource
  /** Puts it into service everywhere or nowhere. @throws {BextError} Why not. */
  readonly apply: (source: ConfigSource) => Promise<Omit<ReloadReport, "durationMs">>
  readonly logger: Logger
}

/** Runs reloads one after the other: however many are asked for while one is under way, one follows it. */
export class ReloadDriver {
  readonly #options: ReloadDriverOptions
  #running: Promise<unknown> | null = null
  #next: Promise<ReloadReport> | null = null
  #last: ReloadOutcome | null = null

  constructor(options: ReloadDriverOptions) {
    this.#options = options
  }

  get last(): ReloadOutcome | null {
    return this.#last
  }

  /** @throws {BextError} Why the old configuration goes on serving. */
  reload(by: string): Promise<ReloadReport> {
    // Who comes while one waits shares it: it has not read anything yet.
    this.#next ??= this.#after(this.#running, by)
    return this.#next
  }

  async #after(running: Promise<unknown> | null, by: string): Promise<ReloadReport> {
    await running?.catch(() => {})
    const run = this.#run(by)
    this.#running = run
    this.#next = null
    return run
  }

  async #run(by: string): Promise<ReloadReport> {
    const { source, apply, logger } = this.#options
    const startedAtMs = performance.now()
    try {
      const applied = await apply(readAgain(source))
      const report = { ...applied, durationMs: Math.round(performance.now() - startedAtMs) }
      this.#last = { atMs: Date.now(), by, ok: true, report }
      logger.info({ by, ...report }, "the configuration was reloaded")
      return report
    } catch (error) {
      const code = error instanceof BextError ? error.code : "E_INTERNAL"
      const message = error instanceof Error ? error.message : String(error)
      this.#last = { atMs: Date.now(), by, ok: false, code, message }
      logger.error({ by, code }, `nothing was reloaded, the old configuration goes on serving: ${message}`)
      throw error
    }
  }
}
