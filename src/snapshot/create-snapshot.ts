import type { Logger } from "pino"
import type { Config } from "../config/schema.ts"
import { BextError, ERRORS, PluginError } from "../errors.ts"
import { createRouter } from "../handlers/route.ts"
import type { OwnedHost } from "../host/create-host.ts"
import type { BodyBudget } from "../http/body-budget.ts"
import { readErrorPages } from "../http/error-pages.ts"
import { toErrorResponse } from "../http/error-response.ts"
import { createAuthorisationGate } from "../middleware/authorisation-gate.ts"
import { createOriginMatcher } from "../middleware/origin-matcher.ts"
import type { RateCounters } from "../middleware/rate-counters.ts"
import { createTimingPolicy } from "../middleware/server-timing.ts"
import type { SessionRevocations } from "../middleware/session-revocations.ts"
import { Pipeline } from "../pipeline/pipeline.ts"
import { Stack } from "../pipeline/stack.ts"
import type { Lanes } from "../plugins/lanes/lanes.ts"
import type { Leading } from "../plugins/leader-plugin.ts"
import type { Tiers } from "../plugins/load-plugin.ts"
import { loadPlugins } from "../plugins/load-plugins.ts"
import type { Quarantines } from "../plugins/quarantine.ts"
import { assignQueues } from "../plugins/queue-consumers.ts"
import type { Role } from "../plugins/role.ts"
import { createAccessLog } from "../telemetry/access-log.ts"
import type { TracerLease, Tracers } from "../telemetry/tracers.ts"
import { createBuiltIns } from "./built-ins.ts"
import type { SharedUpstreams } from "./shared-upstreams.ts"
import { Snapshot } from "./snapshot.ts"

/** What lives as long as the process and serves every snapshot. */
export interface ProcessParts {
  /** Absolute path of the project. */
  readonly folder: string
  readonly logger: Logger
  readonly host: OwnedHost
  readonly role: Readonly<Role>
  readonly quarantines: Quarantines
  readonly lanes: Lanes
  readonly bodies: BodyBudget
  readonly upstreams: SharedUpstreams
  readonly rateCounters: RateCounters
  readonly revocations: SessionRevocations
  readonly tracers: Tracers
  /** See `ServerOptions`. */
  readonly grantLocalFolders?: boolean
  readonly tiers: Tiers
  /** See `LoadPluginsOptions`. */
  readonly leading?: Leading | undefined
}

/**
 * Makes everything a configuration asks for, beside `previous`, whose parts are used again where nothing changed. New
 * plugins have started when the promise resolves.
 * @throws {BextError} What a part says; nothing is left behind and `previous` is as it was.
 */
export async function createSnapshot(
  config: Config,
  number: number,
  shared: ProcessParts,
  previous?: Snapshot,
): Promise<Snapshot> {
  const { folder, logger, role, quarantines, lanes, bodies, tiers, leading, grantLocalFolders = false } = shared
  await using parts = new AsyncDisposableStack()
  const errorPages = readErrorPages(config.errors)
  const builtIns = createBuiltIns(config, previous?.builtIns, { ...shared, warn: warnTo(logger) })
  const upstreams = parts.adopt(shared.upstreams.lease(), (lease) => lease.release())
  const tracing = await leaseTracer(config, shared.tracers)
  parts.defer(async () => tracing?.release())
  const router = createRouter(config, upstreams.create, createWebsocketOrigins(config))
  const host = shared.host.allowing(config.fetch.allow_private)
  const common = { logger, role, quarantines, lanes, bodies, grantLocalFolders, leading }
  const loading = { config, configDir: folder, tiers, host, ...common }
  const plugins = await loadPlugins(loading, previous?.plugins)
  // A server that cannot start stops; one that cannot change goes on. No function in here may have `previous` in it: all
  // functions share one scope, those that the new snapshot keeps as well, and each snapshot would keep the one before it.
  const end = previous === undefined ? "stop" : "release"
  parts.defer(() => plugins[end]())
  assignQueues(plugins.plugins)
  await plugins.start()
  const stack = new Stack([...builtIns.list, ...plugins.plugins])
  const pipeline = new Pipeline({
    stack,
    handler: builtIns.wrap(router),
    authorise: config.middleware.auth === undefined ? () => {} : createAuthorisationGate(config.middleware.auth),
    wantsTimings: createTimingPolicy(config.middleware.tracing),
    toErrorResponse(error, context) {
      logFailure(logger, error, context.requestId)
      context.trace?.failed(error instanceof BextError ? error.code : "E_INTERNAL")
      return toErrorResponse(error, context, errorPages)
    },
  })
  const accessLog = config.log.access ? createAccessLog(logger) : () => {}
  const tracer = tracing?.tracer ?? null
  const release = async () => {
    await router.close?.()
    await upstreams.release()
    await tracing?.release()
  }
  const made = { number, config, errorPages, builtIns, plugins, stack, pipeline, accessLog, tracer, release }
  parts.move()
  return new Snapshot(made)
}

async function leaseTracer({ middleware }: Config, tracers: Tracers): Promise<TracerLease | null> {
  const { otlp } = middleware.tracing
  return otlp === undefined ? null : tracers.lease(otlp)
}

/** Not "*": that is for pages that come without the visitor's cookies, which a websocket brings along. */
function createWebsocketOrigins({ middleware }: Config): (origin: string) => boolean {
  return createOriginMatcher(middleware.cors?.origins.filter((origin) => origin !== "*") ?? [])
}

/** What is made here may serve many snapshots, so it must not have anything of this one. */
function warnTo(logger: Logger): (message: string) => void {
  return (message) => logger.warn({}, message)
}

/** Plugins' failures are logged where they happen, with what the guest said. */
function logFailure(logger: Logger, error: unknown, request_id: string): void {
  if (error instanceof PluginError) return
  if (!(error instanceof BextError)) logger.error({ err: error, request_id }, "request failed")
  else if (ERRORS[error.code].blame === "client") logger.debug({ code: error.code, request_id }, error.message)
  else logger.warn({ code: error.code, request_id, cause: String(error.cause ?? "") }, error.message)
}
