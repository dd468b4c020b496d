import type { Socket } from "node:net"
import type { Logger } from "pino"
import type { Config } from "../config/schema.ts"
import type { ConnectionSource } from "../http/connection-source.ts"
import type { Bus } from "../state/state.ts"
import { createLogger } from "../telemetry/log.ts"
import { LogTail } from "../telemetry/log-tail.ts"
import { projectFolder, toConfig } from "./config-source.ts"
import { toErrorMessage } from "./error-message.ts"
import { IpcBus } from "./ipc-bus.ts"
import { IpcConnections } from "./ipc-connections.ts"
import type { FromProcess, Method, Requests, StartParams, ToProcess } from "./messages.ts"
import type { PreparedSnapshot, ServerProcess } from "./server-process.ts"

/** How long plugins may take to stop after the requests are done; longer and the process ends anyway. */
const STOP_HOOKS_MS = 12_000

/** Lines of the log that wait until the supervisor reads them. */
const MAX_UNSENT_LINES = 1_000

/** Makes what this process serves; see `create-server.ts`. */
export type CreateServer = (config: Config, options: ServingOptions) => Promise<ServerProcess>

export interface ServingOptions {
  readonly folder: string
  readonly logger: Logger
  readonly leader: boolean
  readonly bus: Bus
  readonly connections: ConnectionSource
}

/** The life of a serving process below a supervisor: does what it is told, and ends when nobody is there to tell it. */
export function runServingProcess(createServer: CreateServer): void {
  // A terminal sends these to the whole process group. Only the supervisor obeys, and tells its processes.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {})
  const serving = new ServingProcess(createServer)
  process.on("message", (message: ToProcess, socket) => serving.receive(message, socket as Socket | undefined))
  // The supervisor is gone, and with it the port: what is in flight is finished.
  process.on("disconnect", () => void serving.end())
}

class ServingProcess {
  readonly #createServer: CreateServer
  readonly #log = new LogTail()
  #bus: IpcBus | null = null
  #connections: IpcConnections | null = null
  #running: ServerProcess | null = null
  #logger: Logger | null = null
  #graceMs = 0
  /** Null: nothing is prepared. */
  #prepared: Promise<PreparedSnapshot> | null = null
  #unfollow: (() => void) | null = null
  #ending = false

  constructor(createServer: CreateServer) {
    this.#createServer = createServer
  }

  receive(message: ToProcess, socket: Socket | undefined): void {
    switch (message.type) {
      case "connection": {
        const taken = this.#connections?.receive(message.id, socket) ?? false
        send({ type: "connection_taken", id: message.id, taken })
        return
      }
      case "bus":
        this.#bus?.receive(message)
        return
      case "follow_log":
        this.#follow(message.on)
        return
      case "request":
        void this.#answer(message.id, message.method, message.params)
    }
  }

  /** Drains, and ends the process. */
  async end(): Promise<void> {
    if (this.#ending) return
    this.#ending = true
    setTimeout(() => process.exit(1), this.#graceMs + STOP_HOOKS_MS).unref()
    try {
      await this.#abort()
      await this.#running?.close()
      process.exit(0)
    } catch (error) {
      this.#logger?.error({ err: error }, "the serving process could not be closed well")
      process.exit(1)
    }
  }

  async #answer<M extends Method>(id: number, method: M, params: unknown): Promise<void> {
    try {
      // The supervisor is the same version of bext: a request has the parameters its method says.
      const result = await this.#methods[method](params as Requests[M]["params"])
      send({ type: "result", id, result })
    } catch (error) {
      send({ type: "error", id, error: toErrorMessage(error) })
    }
  }

  readonly #methods: {
    readonly [M in Method]: (params: Requests[M]["params"]) => Requests[M]["result"] | Promise<Requests[M]["result"]>
  } = {
    start: (params) => this.#start(params),
    status: () => this.#server.status(),
    stack: () => this.#server.stack(),
    metrics: () => this.#server.metrics(),
    log_tail: ({ lines }) => this.#log.lines(lines),
    prepare: ({ source }) => this.#prepare(source),
    commit: async () => {
      const prepared = await this.#prepared
      this.#prepared = null
      prepared?.commit()
      return null
    },
    abort: () => this.#abort(),
    quarantine: async ({ plugin, reason }) => {
      await this.#server.quarantine(plugin, reason)
      return null
    },
    release: async ({ plugin }) => {
      await this.#server.release(plugin)
      return null
    },
    set_leader: async ({ leader }) => {
      await this.#server.setLeader(leader)
      return null
    },
    own_listener: ({ address, port }) => {
      this.#server.addOwnListener(address, port)
      return null
    },
    arrived: ({ connection }) => this.#connections?.hasArrived(connection) ?? false,
    close: () => {
      void this.end()
      return null
    },
  }

  async #start({ source, leader, address, port, ownListeners }: StartParams): Promise<null> {
    const config = toConfig(source)
    const folder = projectFolder(source)
    const logger = createLogger(config.log, undefined, this.#log)
    const bus = new IpcBus((post) => send(post), logger)
    const connections = new IpcConnections(address, port)
    this.#graceMs = config.server.grace
    this.#logger = logger
    this.#bus = bus
    this.#connections = connections
    const server = await this.#createServer(config, { folder, logger, leader, bus, connections })
    for (const own of ownListeners) server.addOwnListener(own.address, own.port)
    await server.listen()
    this.#running = server
    return null
  }

  async #prepare(source: Requests["prepare"]["params"]["source"]): Promise<Requests["prepare"]["result"]> {
    this.#prepared = this.#server.prepare(toConfig(source))
    const { snapshot, loaded, kept, removed } = await this.#prepared
    return { snapshot, loaded, kept, removed }
  }

  /** Also what is still being prepared, although nobody waits for it any more. */
  async #abort(): Promise<null> {
    const prepared = await this.#prepared?.catch(() => null)
    this.#prepared = null
    await prepared?.abort()
    return null
  }

  #follow(on: boolean): void {
    this.#unfollow?.()
    this.#unfollow = on ? this.#log.follow(createLineSender()) : null
  }

  get #server(): ServerProcess {
    if (this.#running === null) throw new Error("the serving process is not started yet")
    return this.#running
  }
}

/** Sends lines of the log to the supervisor, and how many are left out when it cannot read that fast. */
function createLineSender(): (line: string) => void {
  let unsent = 0
  let lost = 0
  const post = (line: string) => {
    unsent++
    send({ type: "log_line", line }, () => unsent--)
  }
  return (line) => {
    if (unsent >= MAX_UNSENT_LINES) {
      lost++
      return
    }
    if (lost > 0) post(JSON.stringify({ lost }))
    lost = 0
    post(line)
  }
}

/** The supervisor may be gone at any moment; its end is told by `disconnect`. */
function send(message: FromProcess, sent: () => void = () => {}): void {
  if (process.connected) process.send!(message, undefined, undefined, sent)
}
