import type { Logger } from "pino"
import type { Control, ReloadReport, ServerStatus } from "../admin/control.ts"
import { toPublicConfig } from "../admin/public-config.ts"
import type { Config } from "../config/schema.ts"
import { BextError } from "../errors.ts"
import type { Json } from "../sandbox/sandbox.ts"
import type { LogTail } from "../telemetry/log-tail.ts"
import type { MetricFamily } from "../telemetry/metric-family.ts"
import { type ConfigSource, toConfig } from "./config-source.ts"
import { ReloadDriver } from "./reload-driver.ts"
import type { ServerProcess } from "./server-process.ts"

export interface SingleControlOptions {
  readonly source: ConfigSource
  readonly config: Config
  readonly server: ServerProcess
  readonly url: string
  readonly version: string
  readonly logger: Logger
  readonly logTail: LogTail
  /** How many processes a configuration asks for. */
  readonly count: (config: Config) => number
}

/** The whole server when it is one process. */
export class SingleControl implements Control {
  readonly #options: SingleControlOptions
  readonly #reloads: ReloadDriver
  readonly #startedAtMs = Date.now()
  #config: Config

  constructor(options: SingleControlOptions) {
    const { source, config, logger } = options
    this.#options = options
    this.#config = config
    this.#reloads = new ReloadDriver({ source, logger, apply: (next) => this.#apply(toConfig(next)) })
  }

  /** The configuration that serves. */
  get accepted(): Config {
    return this.#config
  }

  async status(): Promise<ServerStatus> {
    const { version, url, source, server } = this.#options
    return {
      version,
      startedAtMs: this.#startedAtMs,
      url,
      configFile: source.kind === "file" ? source.file : null,
      lastReload: this.#reloads.last,
      processes: [server.status()],
      stack: server.stack(),
    }
  }

  config(): Json {
    return toPublicConfig(this.#config)
  }

  async metrics(): Promise<readonly MetricFamily[]> {
    return this.#options.server.metrics()
  }

  reload(by: string): Promise<ReloadReport> {
    return this.#reloads.reload(by)
  }

  quarantine(plugin: string, reason: string): Promise<void> {
    return this.#options.server.quarantine(plugin, reason)
  }

  release(plugin: string): Promise<void> {
    return this.#options.server.release(plugin)
  }

  async logTail(lines: number): Promise<readonly string[]> {
    return this.#options.logTail.lines(lines)
  }

  followLog(listener: (line: string) => void): () => void {
    return this.#options.logTail.follow(listener)
  }

  async #apply(next: Config): Promise<Omit<ReloadReport, "durationMs">> {
    const { server, count } = this.#options
    if (count(next) > 1) {
      throw new BextError("E_RELOAD_NEEDS_RESTART", "server.processes: one process cannot become several")
    }
    // What a snapshot cannot change, `prepare` refuses.
    const prepared = await server.prepare(next)
    prepared.commit()
    this.#config = next
    const { snapshot, loaded, kept, removed } = prepared
    return { snapshot, loaded, kept, removed, replaced: false }
  }
}
