import type { Logger } from "pino"
import type { Config } from "./config/schema.ts"
import { createTiers } from "./create-tiers.ts"
import { BextError, ERRORS, PluginError } from "./errors.ts"
import { createRouter } from "./handlers/route.ts"
import { createHost } from "./host/create-host.ts"
import { BodyBudget } from "./http/body-budget.ts"
import { readErrorPages } from "./http/error-pages.ts"
import { toErrorResponse } from "./http/error-response.ts"
import { OwnListeners } from "./http/own-listeners.ts"
import { createHttpServer } from "./http/server.ts"
import { createAuth } from "./middleware/auth.ts"
import { createAuthorisationGate } from "./middleware/authorisation-gate.ts"
import { createCors } from "./middleware/cors.ts"
import { createRateLimit } from "./middleware/rate-limit.ts"
import { createResponseTracing, createTimingPolicy } from "./middleware/server-timing.ts"
import { createTenantResolver } from "./middleware/tenant.ts"
import { createTracing } from "./middleware/tracing.ts"
import type { Middleware } from "./pipeline/middleware.ts"
import { Pipeline } from "./pipeline/pipeline.ts"
import { toRequestCompleteEvent } from "./pipeline/request-complete.ts"
import { Stack } from "./pipeline/stack.ts"
import { loadPlugins } from "./plugins/load-plugins.ts"
import { openLmdbStore } from "./state/lmdb-store.ts"
import { createAccessLog } from "./telemetry/access-log.ts"
import { createLogger } from "./telemetry/log.ts"

export interface ServerOptions {
  /** Absolute path of the project: plugins are looked for in its folder `plugins`. */
  readonly folder: string
  /** The default one writes to standard output as `config.log` says. */
  readonly logger?: Logger
}

export interface BextServer extends AsyncDisposable {
  /** Everything a request passes, in order. */
  readonly stack: readonly Middleware[]
  /**
   * Opens the port.
   * @returns Where it listens; `port` is the real one when the configuration says 0.
   * @throws {BextError} `E_PORT_IN_USE`, `E_CONFIG_INVALID`.
   */
  listen(): Promise<{ url: string; address: string; port: number }>
  /** Drains: answers what is in flight, at most `server.grace`, then stops the plugins and closes the state. */
  close(): Promise<void>
}

/**
 * Wires the parts of one server by name; decides nothing. Plugins are loaded and their `on_server_start` has run when the
 * promise resolves; nothing listens yet.
 * @throws {BextError} What a part says of its configuration; `E_PLUGIN_…` when a required plugin does not load.
 */
export async function createServer(config: Config, options: ServerOptions): Promise<BextServer> {
  const { folder, logger = createLogger(config.log) } = options
  const listeners = new OwnListeners()
  await using parts = new AsyncDisposableStack()

  const errorPages = readErrorPages(config.errors)
  const bodies = new BodyBudget(config.server.limits.buffered_bodies)
  const builtIns = createBuiltIns(config, (message) => logger.warn({}, message))
  const router = parts.adopt(createRouter(config), async (handler) => handler.close?.())

  const state = parts.use(openLmdbStore({ dir: config.state.dir, log: logger }))
  const host = parts.use(
    createHost({
      state,
      log: logger,
      isOwnListener: (address, port) => listeners.has(address, port),
      allowPrivate: config.fetch.allow_private,
    }),
  )
  const hasPlugins = Object.values(config.plugins).some(({ enabled }) => enabled)
  const tiers = hasPlugins ? await createTiers() : new Map()
  const plugins = parts.use(await loadPlugins({ config, configDir: folder, tiers, host, logger, leader: true, bodies }))
  await plugins.start()

  const stack = new Stack([...builtIns, ...plugins.plugins])
  const pipeline = new Pipeline({
    stack,
    handler: router,
    authorise: config.middleware.auth === undefined ? () => {} : createAuthorisationGate(config.middleware.auth),
    wantsTimings: createTimingPolicy(config.middleware.tracing),
    toErrorResponse(error, context) {
      logFailure(logger, error, context.requestId)
      return toErrorResponse(error, context, errorPages)
    },
  })
  const accessLog = config.log.access ? createAccessLog(logger) : () => {}
  const http = createHttpServer({
    config: config.server,
    logger,
    errorPages,
    bodyBudget: bodies,
    respond: (context) => pipeline.respond(context),
    complete(context, result) {
      accessLog(context, result)
      if (plugins.wantsRequestComplete) {
        plugins.requestComplete(toRequestCompleteEvent(context, result), context.hostname)
      }
    },
  })
  parts.defer(() => http.close())
  const running = parts.move()

  return {
    stack: stack.all,
    async listen() {
      const bound = await http.listen()
      listeners.add(bound.address, bound.port)
      return bound
    },
    close: () => running.disposeAsync(),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

/** Plugins' failures are logged where they happen, with what the guest said. */
function logFailure(logger: Logger, error: unknown, request_id: string): void {
  if (error instanceof PluginError) return
  if (!(error instanceof BextError)) logger.error({ err: error, request_id }, "request failed")
  else if (ERRORS[error.code].blame === "client") logger.debug({ code: error.code, request_id }, error.message)
  else logger.warn({ code: error.code, request_id, cause: String(error.cause ?? "") }, error.message)
}

function createBuiltIns(config: Config, warn: (message: string) => void): Middleware[] {
  const { cors, rate_limit, auth, tenant } = config.middleware
  return [
    ...(cors === undefined ? [] : [createCors(cors)]),
    ...(rate_limit === undefined ? [] : [createRateLimit(rate_limit)]),
    ...(auth === undefined ? [] : [createAuth(auth, { secret: auth.secret?.reveal(), warn })]),
    ...(tenant === undefined ? [] : [createTenantResolver(tenant, { tenants: config.tenants })]),
    createTracing(),
    createResponseTracing(),
  ]
}
