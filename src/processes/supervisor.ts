import { createServer, type Server } from "node:net"
import type { Logger } from "pino"
import { BextError } from "../errors.ts"
import { listenOn } from "../http/listen-on.ts"
import { type Accepted, Child, type ChildExit, type ChildListener } from "./child.ts"
import type { ConfigSource } from "./config-source.ts"
import { toConfig } from "./config-source.ts"
import { Dispatcher } from "./dispatcher.ts"
import type { Method, PreparedReport, Requests } from "./messages.ts"
import { Slot } from "./slot.ts"

/** Loading plugins anew, in all processes at once. */
const PREPARE_TIMEOUT_MS = 2 * 60_000
/** A process that says nothing for so long before a reload stands still, whatever else the machine has to do. */
const STANDSTILL_MS = 10_000
/** What a process may take to stop its plugins after the grace period. */
const STOP_MS = 15_000
/** A server that closes connections because no process takes them says so at most this often. */
const DROP_WARNING_MS = 10_000
/** How long a process that is to drain may take to say what became of the connection on its way to it. */
const LAST_CONNECTION_MS = 3_000

export interface SupervisorOptions {
  readonly source: ConfigSource
  readonly config: Accepted["config"]
  /** How many processes a configuration asks for. */
  readonly count: (config: Accepted["config"]) => number
  /** What a serving process runs. */
  readonly processFile: URL
  readonly logger: Logger
  /** Gets what the processes log while `followLog` asks for it. */
  readonly logLine: (line: string) => void
}

/** What a change of the configuration did. */
export interface Applied {
  readonly prepared: readonly PreparedReport[]
  /** Whether it needed new processes. */
  readonly replaced: boolean
}

/**
 * Starts serving processes, hands them connections, starts them again when they end, and decides which one leads. It holds
 * no plugin and opens no state, so that there is little it could fail at.
 */
export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #slots: Slot[] = []
  readonly #draining = new Set<Child>()
  readonly #dispatcher: Dispatcher
  readonly #ownListeners: { address: string; port: number }[] = []
  #listener: Server | null = null
  #accepted!: Accepted
  /** At most one process, from before it is told until it has ended or said that it leads no more. */
  #leader: Child | null = null
  #electing = false
  /** Resolves when the change under way is over. */
  #changing: Promise<void> | null = null
  #stopping = false
  #followsLog = false
  #warnedOfDropMs = Number.NEGATIVE_INFINITY

  private constructor(options: SupervisorOptions) {
    this.#options = options
    this.#dispatcher = new Dispatcher({
      limits: () => this.#accepted.config.server.limits,
      dropped: () => this.#warnOfDrop(),
    })
  }

  /**
   * Opens the port and starts all processes.
   * @throws {BextError} Why one of them cannot serve; none is left then.
   */
  static async start(options: SupervisorOptions): Promise<Supervisor> {
    const supervisor = new Supervisor(options)
    try {
      await supervisor.#start()
      return supervisor
    } catch (error) {
      await supervisor.kill()
      throw error
    }
  }

  get accepted(): Accepted {
    return this.#accepted
  }

  get leader(): Child | null {
    return this.#leader
  }

  get slots(): readonly Slot[] {
    return this.#slots
  }

  /** Processes that finish what they have. */
  get draining(): ReadonlySet<Child> {
    return this.#draining
  }

  /** Those that take connections. */
  get serving(): readonly Child[] {
    return this.#slots.map(({ child }) => child).filter((child) => child !== null)
  }

  /** A listener of this server beside the public one: guests' fetches never reach it. */
  addOwnListener(address: string, port: number): void {
    this.#ownListeners.push({ address, port })
    for (const child of this.serving) child.request("own_listener", { address, port }).catch(() => {})
  }

  /** Whether the processes send what they log. */
  followLog(on: boolean): void {
    this.#followsLog = on
    for (const child of this.serving) child.post({ type: "follow_log", on })
  }

  /**
   * Puts a configuration into service without new processes, in all or in none. One change at a time.
   * @throws {BextError} Why the old one goes on serving.
   */
  reload(source: ConfigSource): Promise<Applied> {
    return this.#change(async () => {
      const next = { source, config: toConfig(source), bound: this.#accepted.bound }
      const { children, prepared } = await this.#prepare(source)
      // From here on the new one serves: a process that ends now starts again with it.
      this.#accepted = next
      for (const child of children) child.accepted = next
      await Promise.allSettled(children.map((child) => child.request("commit", null)))
      await this.#resize()
      return { prepared, replaced: false }
    })
  }

  /**
   * Puts a configuration into service with new processes, slot after slot: the next one serves before the old one drains.
   * @throws {BextError} Why the old one goes on serving.
   */
  replace(source: ConfigSource): Promise<Applied> {
    return this.#change(async () => {
      const old = this.#accepted
      const config = toConfig(source)
      const moves = config.server.listen !== old.config.server.listen
      const listener = moves ? this.#createListener() : this.#listener!
      const bound = moves ? await listenOn(listener, config.server.listen) : old.bound
      const next = { source, config, bound }
      if (moves) this.addOwnListener(bound.address, bound.port)
      try {
        await this.#replaceSlots(next, old)
      } catch (error) {
        if (moves) listener.close()
        throw error
      }
      this.#accepted = next
      if (moves) this.#listener!.close()
      this.#listener = listener
      await this.#resize()
      return { prepared: [], replaced: true }
    })
  }

  /** Drains all processes, each at most `server.grace`. Resolves when none is left. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.#listener?.close()
    for (const slot of this.#slots) {
      slot.cancelRestart()
      slot.starting?.kill()
    }
    await Promise.all(this.serving.map((child) => this.#drain(child)))
    await Promise.all(Array.from(this.#draining, ({ gone }) => gone))
    this.#dispatcher.close()
  }

  /** Ends all processes at once. */
  async kill(): Promise<void> {
    this.#stopping = true
    this.#listener?.close()
    this.#dispatcher.close()
    for (const slot of this.#slots) slot.cancelRestart()
    const children = this.#all
    for (const child of children) child.kill()
    await Promise.all(children.map(({ gone }) => gone))
  }

  get #all(): readonly Child[] {
    const starting = this.#slots.map((slot) => slot.starting).filter((child) => child !== null)
    return [...this.serving, ...starting, ...this.#draining]
  }

  /**
   * Has all processes that serve prepare it, or none. When some end meanwhile, the others prepare it once more: refused, the
   * successors would serve what is in the plugins' folders now, and the others what was there before. Not again after
   * that, as it may be what ends them.
   */
  async #prepare(
    source: ConfigSource,
    again = true,
  ): Promise<{ children: readonly Child[]; prepared: PreparedReport[] }> {
    const children = this.serving
    try {
      // A process that stands still would keep all others from changing.
      await Promise.all(children.map((child) => child.ping(STANDSTILL_MS)))
      return { children, prepared: await askAll(children, "prepare", { source }, PREPARE_TIMEOUT_MS) }
    } catch (error) {
      await Promise.allSettled(children.map((child) => child.request("abort", null, PREPARE_TIMEOUT_MS)))
      const lost = children.filter(({ hasEnded }) => hasEnded).length
      if (!again || lost === 0 || lost === children.length || this.#stopping) throw error
      return this.#prepare(source, false)
    }
  }

  async #start(): Promise<void> {
    const { source, config } = this.#options
    const listener = this.#createListener()
    this.#listener = listener
    // Not read before the first connection, which comes after the next line.
    this.#accepted = { source, config, bound: await listenOn(listener, config.server.listen) }
    for (let count = this.#wanted; count > 0; count--) this.#slots.push(new Slot())
    const children = await Promise.all(this.#slots.map((slot) => this.#launch(slot, this.#accepted)))
    for (const [index, child] of children.entries()) this.#join(this.#slots[index]!, child)
  }

  get #wanted(): number {
    return this.#options.count(this.#accepted.config)
  }

  #createListener(): Server {
    return createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay: true }, (socket) => {
      this.#dispatcher.take(socket)
    })
  }

  /** @returns a process that is ready to take connections. @throws {BextError} Why there is none. */
  async #launch(slot: Slot, accepted: Accepted): Promise<Child> {
    const child = new Child(this.#options.processFile, accepted, this.#fromChild)
    slot.starting = child
    const leader = this.#leader === null && this.serving.length === 0
    if (leader) this.#leader = child
    void child.gone.then((exit) => this.#gone(slot, child, exit))
    const { source, bound } = accepted
    try {
      const { address, port } = bound
      await child.start({ source, leader, address, port, ownListeners: this.#ownListeners })
      return child
    } catch (error) {
      child.kill()
      await child.gone
      throw error
    }
  }

  /** @throws {BextError} `E_PROCESS_FAILED`: it has ended meanwhile. */
  #join(slot: Slot, child: Child): void {
    if (child.hasEnded) throw new BextError("E_PROCESS_FAILED", `the serving process ${child.pid} ended at once`)
    if (slot.starting === child) slot.starting = null
    slot.child = child
    child.state = "serving"
    child.servingSinceMs = performance.now()
    if (this.#followsLog) child.post({ type: "follow_log", on: true })
    this.#dispatcher.add(child)
    void this.#elect()
  }

  #gone(slot: Slot, child: Child, { code, signal }: ChildExit): void {
    this.#dispatcher.lost(child)
    this.#draining.delete(child)
    if (this.#leader === child) this.#leader = null
    const crashed = slot.child === child && child.state === "serving"
    if (slot.child === child) slot.child = null
    if (slot.starting === child) slot.starting = null
    if (this.#stopping) return
    void this.#elect()
    // Who asked it to end, or started it, goes on from there.
    if (!crashed) return
    slot.crashes++
    const livedMs = performance.now() - child.servingSinceMs!
    const restart_in_ms = slot.restartLater(livedMs, () => void this.#restart(slot))
    const fields = { pid: child.pid, exit_code: code, signal, restart_in_ms }
    this.#options.logger.error(fields, "a serving process ended; it is started again")
  }

  async #restart(slot: Slot): Promise<void> {
    try {
      const child = await this.#launch(slot, this.#accepted)
      await this.#changing
      if (!this.#isVacant(slot)) {
        child.kill()
        return
      }
      if (child.accepted === this.#accepted) {
        this.#join(slot, child)
        this.#options.logger.info({ pid: child.pid }, "a serving process was started again")
        return
      }
      // The configuration changed meanwhile.
      child.kill()
      await child.gone
      if (this.#isVacant(slot)) void this.#restart(slot)
    } catch (error) {
      if (!this.#isVacant(slot)) return
      slot.crashes++
      const restart_in_ms = slot.restartLater(0, () => void this.#restart(slot))
      const fields = { code: error instanceof BextError ? error.code : "E_INTERNAL", restart_in_ms }
      this.#options.logger.error(fields, `a serving process could not start: ${messageOf(error)}`)
    }
  }

  #isVacant(slot: Slot): boolean {
    return !this.#stopping && !slot.removed && slot.child === null
  }

  /** Lets a process that answers lead, when none does. */
  async #elect(): Promise<void> {
    if (this.#electing || this.#leader !== null || this.#stopping) return
    this.#electing = true
    const first = Promise.any(this.serving.map((child) => child.ping().then(() => child)))
    const child = await first.catch(() => null)
    this.#electing = false
    if (this.#leader !== null || this.#stopping) return
    if (child === null || child.hasEnded || child.state !== "serving") {
      if (this.serving.length > 0) setTimeout(() => void this.#elect(), 100).unref()
      return
    }
    this.#leader = child
    this.#options.logger.debug({ pid: child.pid }, "this process leads")
    // Not heard, it leads nothing; it stays the one that may until it has ended.
    child.request("set_leader", { leader: true }).catch(() => {})
  }

  /** Takes a process out of service. Resolves when it has ended. */
  async #drain(child: Child): Promise<void> {
    child.state = "draining"
    this.#draining.add(child)
    for (const slot of this.#slots) if (slot.child === child) slot.child = null
    await this.#resign(child)
    await Promise.race([this.#dispatcher.remove(child), timeout(LAST_CONNECTION_MS), child.gone])
    child.request("close", null).catch(() => {})
    const force = setTimeout(() => child.kill(), child.accepted.config.server.grace + STOP_MS)
    await child.gone
    clearTimeout(force)
  }

  /** The next one may lead only when this one has said that it does not. */
  async #resign(child: Child): Promise<void> {
    if (this.#leader !== child || this.#stopping) return
    try {
      await child.request("set_leader", { leader: false })
    } catch {
      return
    }
    if (this.#leader === child) this.#leader = null
    void this.#elect()
  }

  async #change(change: () => Promise<Applied>): Promise<Applied> {
    const over = Promise.withResolvers<void>()
    this.#changing = over.promise
    try {
      return await change()
    } finally {
      this.#changing = null
      over.resolve()
    }
  }

  async #replaceSlots(next: Accepted, old: Accepted): Promise<void> {
    const replaced: Slot[] = []
    try {
      for (const slot of this.#slots) {
        await this.#replaceSlot(slot, next)
        replaced.push(slot)
      }
    } catch (error) {
      for (const slot of this.#stopping ? [] : replaced) {
        await this.#replaceSlot(slot, old).catch((cause) => {
          this.#options.logger.error({}, `a serving process could not be put back: ${messageOf(cause)}`)
        })
      }
      throw error
    }
  }

  async #replaceSlot(slot: Slot, accepted: Accepted): Promise<void> {
    if (this.#stopping) throw new BextError("E_PROCESS_FAILED", "the server is about to end")
    const child = await this.#launch(slot, accepted)
    const old = slot.child
    slot.cancelRestart()
    this.#join(slot, child)
    if (old !== null) await this.#drain(old)
  }

  /** Makes it as many slots as wanted. A slot that waits to start a process again need not wait: something changed. */
  async #resize(): Promise<void> {
    for (const slot of this.#slots) slot.restartNow()
    const surplus = this.#slots.splice(this.#wanted)
    for (const slot of surplus) {
      slot.removed = true
      slot.cancelRestart()
      slot.starting?.kill()
    }
    const added = Array.from({ length: this.#wanted - this.#slots.length }, () => new Slot())
    this.#slots.push(...added)
    await Promise.all([
      ...surplus.map(({ child }) => child !== null && this.#drain(child)),
      ...added.map((slot) => this.#fill(slot)),
    ])
  }

  /** The change is done: a process that cannot start now is started again like one that ended. */
  async #fill(slot: Slot): Promise<void> {
    try {
      this.#join(slot, await this.#launch(slot, this.#accepted))
    } catch (error) {
      this.#options.logger.error({}, `a serving process could not start: ${messageOf(error)}`)
      slot.crashes++
      slot.restartLater(0, () => void this.#restart(slot))
    }
  }

  readonly #fromChild: ChildListener = {
    connectionTaken: (child, id, taken) => this.#dispatcher.taken(child, id, taken),
    bus: (from, post) => {
      for (const child of this.#all) if (child !== from) child.post(post)
    },
    logLine: (line) => this.#options.logLine(line),
  }

  #warnOfDrop(): void {
    const nowMs = performance.now()
    if (nowMs - this.#warnedOfDropMs < DROP_WARNING_MS) return
    this.#warnedOfDropMs = nowMs
    this.#options.logger.warn({}, "connections are closed: no serving process takes them")
  }
}

/** The answers of all, or the first failure, when all have answered. */
async function askAll<M extends Method>(
  children: readonly Child[],
  method: M,
  params: Requests[M]["params"],
  timeoutMs: number,
): Promise<Requests[M]["result"][]> {
  const results = await Promise.allSettled(children.map((child) => child.request(method, params, timeoutMs)))
  return results.map((result) => {
    if (result.status === "rejected") throw result.reason
    return result.value
  })
}

function timeout(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref())
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
