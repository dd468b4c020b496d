import type { Logger } from "pino"
import type { Config } from "./config/schema.ts"
import { createTiers } from "./create-tiers.ts"
import { createHost } from "./host/create-host.ts"
import { BodyBudget } from "./http/body-budget.ts"
import type { ConnectionSource } from "./http/connection-source.ts"
import { OwnListeners } from "./http/own-listeners.ts"
import { createHttpServer } from "./http/server.ts"
import { RateCounters } from "./middleware/rate-counters.ts"
import { SessionRevocations } from "./middleware/session-revocations.ts"
import { EventRelays } from "./plugins/event-relay.ts"
import { Lanes } from "./plugins/lanes/lanes.ts"
import { QuarantineBook } from "./plugins/quarantine.ts"
import { QueueConsumers } from "./plugins/queue-consumers.ts"
import { ProcessRole } from "./plugins/role.ts"
import type { ServerProcess } from "./processes/server-process.ts"
import { logIsolation } from "./snapshot/describe-isolation.ts"
import { toProcessStatus } from "./snapshot/process-status.ts"
import { SharedUpstreams } from "./snapshot/shared-upstreams.ts"
import { Snapshots } from "./snapshot/snapshots.ts"
import { openLmdbState } from "./state/open-lmdb-state.ts"
import type { Bus } from "./state/state.ts"
import { EventLoopDelay } from "./telemetry/event-loop-delay.ts"
import { createLogger } from "./telemetry/log.ts"
import { queueMetrics } from "./telemetry/queue-metrics.ts"
import { RequestCounters } from "./telemetry/request-counters.ts"
import { serverMetrics } from "./telemetry/server-metrics.ts"
import { traceMetrics } from "./telemetry/trace-metrics.ts"
import { Tracers } from "./telemetry/tracers.ts"
import { websocketMetrics } from "./telemetry/websocket-metrics.ts"

export interface ServerOptions {
  /** Absolute path of the project: plugins are looked for in its folder `plugins`. */
  readonly folder: string
  /** The default one writes to standard output as `config.log` says. */
  readonly logger?: Logger
  /** What `ctx.leader` says from the start. Default true: this process is the whole server. */
  readonly leader?: boolean
  /** Reaches the other processes of this server. Default: there are none. */
  readonly bus?: Bus
  /** Development: plugin folders inside the project have everything they ask for; what that is gets logged. */
  readonly grantLocalFolders?: boolean
  /** Where connections come from when another process listens. */
  readonly connections?: ConnectionSource
}

/**
 * Wires the parts of one serving process by name; decides nothing. What lives as long as the process is made here; what
 * belongs to one configuration is a snapshot. Plugins are loaded and their `on_server_start` has run when the promise
 * resolves; nothing listens yet.
 * @throws {BextError} What a part says of its configuration; `E_PLUGIN_…` when a required plugin does not load.
 */
export async function createServer(config: Config, options: ServerOptions): Promise<ServerProcess> {
  const { folder, logger = createLogger(config.log), connections, grantLocalFolders = false } = options
  const role = new ProcessRole(options.leader ?? true)
  const listeners = new OwnListeners()
  const bodies = new BodyBudget(config.server.limits.buffered_bodies)
  const upstreams = new SharedUpstreams()
  await using parts = new AsyncDisposableStack()
  const eventLoop = parts.use(new EventLoopDelay())
  const { keyValues: state, queues } = parts.use(openLmdbState({ dir: config.state.dir, log: logger }))
  const isOwnListener = (address: string, port: number) => listeners.has(address, port)
  const host = parts.use(
    createHost({ state, queues, log: logger, isOwnListener, allowPrivate: config.fetch.allow_private }),
  )
  const quarantines = parts.use(await QuarantineBook.open(state))
  const revocations = parts.use(await SessionRevocations.open(state))
  const rateCounters = parts.use(new RateCounters(options.bus))
  const entry = new URL("./lane-thread.ts", import.meta.url)
  const lanes = parts.use(new Lanes({ entry, stateDir: config.state.dir, logger }))
  const tiers = parts.use(createTiers(config.sandbox, (isolation) => logIsolation(logger, isolation)))
  let listens = false
  const tracers = new Tracers((message) => logger.warn(message))
  const shared = {
    folder,
    logger,
    host,
    role,
    quarantines,
    revocations,
    rateCounters,
    bodies,
    upstreams,
    tracers,
    tiers,
    lanes,
    grantLocalFolders,
    // Nothing is handed out before the server listens.
    leading: options.bus && { relays: new EventRelays(options.bus), changed: () => listens && consume() },
  }
  const consumers = parts.use(new QueueConsumers({ store: queues, logger }))
  const snapshots = parts.use(await Snapshots.open(config, shared))
  const requests = new RequestCounters()
  const http = createHttpServer({
    config: config.server,
    logger,
    get errorPages() {
      return snapshots.current.errorPages
    },
    bodyBudget: bodies,
    connections,
    respond: (context) => snapshots.respond(context),
    complete(context, result) {
      requests.record(context.clientMethod, result)
      snapshots.complete(context, result)
    },
    upgraded: (context) => snapshots.upgraded(context),
  })
  const consume = () => consumers.follow(snapshots.current.plugins.plugins, snapshots.current.config)
  parts.defer(async () => void (await Promise.all([http.close(), consumers.stop(config.server.grace)])))
  const running = parts.move()
  const status = () => toProcessStatus({ snapshots, http, role, eventLoop })

  return {
    async listen() {
      const bound = await http.listen()
      listeners.add(bound.address, bound.port)
      listens = true
      consume()
      return bound
    },
    status,
    stack: () => snapshots.current.stack,
    metrics: () => [
      ...serverMetrics({ status: status(), requests, series: host.metrics.snapshot() }),
      ...queueMetrics(consumers.metrics()),
      ...websocketMetrics(http.websockets),
      ...traceMetrics(tracers.counts),
    ],
    async prepare(next) {
      const prepared = await snapshots.prepare(next)
      const commit = () => {
        prepared.commit()
        consume()
      }
      return { ...prepared, commit }
    },
    quarantine: (plugin, reason) => quarantines.quarantine(plugin, reason),
    release: (plugin) => quarantines.release(plugin),
    setLeader: (leader) => role.change(leader),
    addOwnListener: (address, port) => listeners.add(address, port),
    close: () => running.disposeAsync(),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}
