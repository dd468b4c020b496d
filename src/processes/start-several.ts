import type { Config } from "../config/schema.ts"
import { createLogger } from "../telemetry/log.ts"
import { LogTail } from "../telemetry/log-tail.ts"
import type { ConfigSource } from "./config-source.ts"
import type { RunningServer } from "./running-server.ts"
import { Supervisor } from "./supervisor.ts"
import { SupervisorControl } from "./supervisor-control.ts"

export interface StartSeveralOptions {
  readonly source: ConfigSource
  readonly config: Config
  readonly version: string
  /** How many processes a configuration asks for. */
  readonly count: (config: Config) => number
  /** What a serving process runs. */
  readonly processFile: URL
  readonly changedProcessFields: (old: Config, next: Config) => readonly string[]
  /** Called after each reload, with what serves now. */
  readonly reloaded: (config: Config) => void
}

/** A supervisor in this process and the server in others. @throws {BextError} Why one of them cannot serve. */
export async function startSeveral(options: StartSeveralOptions): Promise<RunningServer> {
  const { source, config, version, count, processFile, changedProcessFields, reloaded } = options
  const logTail = new LogTail()
  const logger = createLogger(config.log, undefined, logTail)
  const supervisor = await Supervisor.start({
    source,
    config,
    count,
    processFile,
    logger,
    logLine: (line) => control.logLine(line),
  })
  const control = new SupervisorControl({
    source,
    supervisor,
    version,
    logger,
    logTail,
    changedProcessFields,
    reloaded(next) {
      logger.level = next.log.level
      reloaded(next)
    },
  })
  return {
    control,
    url: supervisor.accepted.bound.url,
    logger,
    get config() {
      return supervisor.accepted.config
    },
    addOwnListener: (address, port) => supervisor.addOwnListener(address, port),
    stop: () => supervisor.stop(),
    kill: () => void supervisor.kill(),
  }
}
