import type { Config } from "../config/schema.ts"
import { createLogger } from "../telemetry/log.ts"
import { LogTail } from "../telemetry/log-tail.ts"
import { type ConfigSource, projectFolder } from "./config-source.ts"
import type { RunningServer } from "./running-server.ts"
import type { ServerProcess } from "./server-process.ts"
import { SingleControl } from "./single-control.ts"

export interface StartAloneOptions {
  readonly source: ConfigSource
  readonly config: Config
  readonly version: string
  readonly createServer: (config: Config, options: AloneOptions) => Promise<ServerProcess>
  /** How many processes a configuration asks for. */
  readonly count: (config: Config) => number
}

export interface AloneOptions {
  readonly folder: string
  readonly logger: ReturnType<typeof createLogger>
}

/** The whole server in this process. @throws {BextError} Why it cannot serve. */
export async function startAlone(options: StartAloneOptions): Promise<RunningServer> {
  const { source, config, version, createServer, count } = options
  const logTail = new LogTail()
  const logger = createLogger(config.log, undefined, logTail)
  await using parts = new AsyncDisposableStack()
  const server = parts.use(await createServer(config, { folder: projectFolder(source), logger }))
  const { url } = await server.listen()
  const control = new SingleControl({ source, config, server, url, version, logger, logTail, count })
  const running = parts.move()
  return {
    control,
    url,
    logger,
    get config() {
      return control.accepted
    },
    addOwnListener: (address, port) => server.addOwnListener(address, port),
    stop: () => running.disposeAsync(),
    kill() {},
  }
}
