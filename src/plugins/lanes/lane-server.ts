import type { MessagePort } from "node:worker_threads"
import { BextError, PluginError, toPlainError } from "../../errors.ts"
import type { Host } from "../../host/create-host.ts"
import type { HookCall, Json, MovableSandbox, SandboxTier, Tier } from "../../sandbox/sandbox.ts"
import type { GuestAccess } from "../guest-access.ts"
import { GuestExchange } from "../guest-exchange.ts"
import { HeaderAccess } from "../header-access.ts"
import { toContext } from "./copied-context.ts"
import {
  type FromLane,
  type LaneCall,
  type LaneRights,
  NO_USAGE,
  ownBytes,
  sharedNowMs,
  type ToLane,
} from "./lane-protocol.ts"
import { LaneFetches, LaneServices } from "./lane-services.ts"

/**
 * Serves calls of guests that came from the serving thread at the other end of the port. They take turns, a call of each.
 * @param tiers - Those there are; others are added with their first guest.
 * @returns once the other end said that it is over.
 */
export function serveLane(
  port: MessagePort,
  host: Host,
  tiers: Map<Tier, SandboxTier>,
  createTier: (tier: Tier, part: unknown) => SandboxTier,
): Promise<void> {
  const server = new LaneServer(port, host, tiers, createTier)
  return server.ended
}

/** A call that is not answered yet. */
interface Owed {
  readonly id: number
  readonly call: LaneCall
  readonly abort: AbortController
  /** As the guest's sandbox has it; null until then. */
  request: HookCall | null
}

interface Guest {
  readonly number: number
  readonly sandbox: MovableSandbox
  readonly services: LaneServices
  readonly access: GuestAccess
  /** Calls whose turn has not come. */
  readonly turns: Owed[]
}

class LaneServer {
  readonly ended: Promise<void>
  readonly #port: MessagePort
  readonly #host: Host
  readonly #tiers: Map<Tier, SandboxTier>
  readonly #createTier: (tier: Tier, part: unknown) => SandboxTier
  readonly #fetches: LaneFetches
  readonly #guests = new Map<number, Guest>()
  readonly #owed = new Map<number, Owed>()
  /** Guests with calls that wait for their turn, the next one first. */
  #line: Guest[] = []
  #running = false
  #end: () => void

  constructor(
    port: MessagePort,
    host: Host,
    tiers: Map<Tier, SandboxTier>,
    createTier: (tier: Tier, part: unknown) => SandboxTier,
  ) {
    this.#port = port
    this.#host = host
    this.#tiers = tiers
    this.#createTier = createTier
    this.#fetches = new LaneFetches((message) => this.#post(message))
    const { promise, resolve } = Promise.withResolvers<void>()
    this.ended = promise
    this.#end = resolve
    port.on("message", (message: ToLane) => this.#receive(message))
    this.#post({ type: "up" })
  }

  #receive(message: ToLane): void {
    switch (message.type) {
      case "tier":
        this.#tiers.set(message.tier, this.#createTier(message.tier, message.part))
        break
      case "open":
        this.#open(message)
        break
      case "call":
        this.#enqueue(message.guest, message.id, message.call)
        break
      case "abort":
        this.#owed.get(message.id)?.abort.abort()
        break
      case "take":
        void this.#take(message.guest)
        break
      case "close":
        void this.#close(message.guest)
        break
      case "fetched":
        this.#fetches.answered(message.id, message.response)
        break
      case "end":
        this.#port.close()
        this.#end()
    }
  }

  #open({ guest: number, copy, state, rights }: Extract<ToLane, { type: "open" }>): void {
    const trouble = (what: string, error: unknown) =>
      this.#post({ type: "trouble", message: `${rights.plugin}: ${what}: ${String(error)}` })
    const services = new LaneServices(number, rights, this.#host, this.#fetches, (words) => this.#post(words))
    let sandbox: MovableSandbox
    try {
      sandbox = this.#tiers.get(copy.tier)!.moving!.revive(copy, services)
    } catch (error) {
      // One guest that cannot be revived must not take the others along.
      trouble("it could not move", error)
      return
    }
    try {
      sandbox.putState(state)
    } catch (error) {
      trouble("its state did not survive the move", error)
    }
    this.#guests.set(number, { number, sandbox, services, access: toAccess(rights, services), turns: [] })
  }

  #enqueue(number: number, id: number, call: LaneCall): void {
    const guest = this.#guests.get(number)
    if (guest === undefined) {
      const error = toPlainError(new BextError("E_GUEST_EXITED", "the plugin is not in its lane"))
      const nothing = { usage: NO_USAGE, fuelUsed: 0, result: undefined, changes: null }
      this.#post({ type: "answer", guest: number, id, ...nothing, error })
      return
    }
    const owed = { id, call, abort: new AbortController(), request: null }
    this.#owed.set(id, owed)
    guest.turns.push(owed)
    if (guest.turns.length === 1) this.#line.push(guest)
    if (this.#running) return
    this.#running = true
    setImmediate(() => this.#next())
  }

  /** Runs one call. Messages and timers have their turn before the next one. */
  #next(): void {
    const guest = this.#line.shift()
    const owed = guest?.turns.shift()
    if (guest !== undefined && owed !== undefined) {
      if (guest.turns.length > 0) this.#line.push(guest)
      this.#run(guest, owed)
    }
    this.#running = this.#line.length > 0
    if (this.#running) setImmediate(() => this.#next())
  }

  #run(guest: Guest, owed: Owed): void {
    const { call, abort } = owed
    if (abort.signal.aborted) {
      this.#answer(guest, owed, null, undefined, new PluginError("E_LIMIT_TIME", guest.access.plugin, "given up"))
      return
    }
    const { exchange: data } = call
    const exchange =
      data === null ? null : new GuestExchange(guest.access, toContext(data, guest.access.plugin), data.side, null)
    let result: Json | undefined | Promise<Json | undefined>
    try {
      result = this.#call(guest, owed, exchange)
    } catch (error) {
      this.#answer(guest, owed, exchange, undefined, error)
      return
    }
    if (!(result instanceof Promise)) {
      this.#answer(guest, owed, exchange, result, null)
      return
    }
    this.#post({ type: "waits", guest: guest.number, id: owed.id })
    result.then(
      (value) => this.#answer(guest, owed, exchange, value, null),
      (error: unknown) => this.#answer(guest, owed, exchange, undefined, error),
    )
  }

  #call(guest: Guest, owed: Owed, exchange: GuestExchange | null) {
    const { call, abort } = owed
    const { hook, params, tenant, limits, leader } = call
    const enter = () => {
      const waitedMs = sharedNowMs() - call.startedMs
      if (waitedMs >= limits.wallMs) {
        const what = `${hook} waited ${Math.round(waitedMs)} ms for its lane, of ${limits.wallMs} ms it has`
        // None of the guest's time: whoever filled the lane used it up.
        throw new PluginError("E_LANE_FULL", guest.access.plugin, what)
      }
      owed.request = { hook, params, tenant, limits, leader, exchange, signal: abort.signal, waitedMs }
      return guest.sandbox.call(owed.request)
    }
    const waiting = guest.services.prepare(tenant)
    return waiting === undefined ? enter() : waiting.then(enter)
  }

  #answer(guest: Guest, owed: Owed, exchange: GuestExchange | null, result: Json | undefined, error: unknown): void {
    this.#owed.delete(owed.id)
    guest.services.send()
    const { busyMs, entries, generation, memoryBytes, instances, evictions } = guest.sandbox
    const usage = { busyMs, entries, generation, memoryBytes, instances, evictions }
    const changes = error === null ? (exchange?.takeChanges() ?? null) : null
    if (error !== null) exchange?.close()
    const about = { guest: guest.number, id: owed.id, usage, fuelUsed: owed.request?.fuelUsed ?? 0 }
    if (error !== null) {
      this.#post({ type: "answer", ...about, result: undefined, changes, error: toPlainError(error) })
      return
    }
    const own = changes && {
      ...changes,
      body: ownBytes(changes.body),
      answer: changes.answer && { ...changes.answer, body: ownBytes(changes.answer.body) },
    }
    this.#post({ type: "answer", ...about, result, changes: own, error: null })
  }

  async #take(number: number): Promise<void> {
    const guest = this.#guests.get(number)
    if (guest === undefined || !guest.sandbox.idle) {
      this.#post({ type: "state", guest: number, state: null })
      return
    }
    const state = guest.sandbox.takeState()
    try {
      await guest.services.flush()
    } catch (error) {
      // Nothing was lost: it goes on here, and what it wrote is written when the store works again.
      guest.sandbox.putState(state)
      this.#post({ type: "trouble", message: `${guest.access.plugin} stays in its lane: ${String(error)}` })
      this.#post({ type: "state", guest: number, state: null })
      return
    }
    await this.#close(number)
    this.#post({ type: "state", guest: number, state })
  }

  async #close(number: number): Promise<void> {
    const guest = this.#guests.get(number)
    if (guest === undefined) return
    this.#guests.delete(number)
    this.#line = this.#line.filter((other) => other !== guest)
    await guest.sandbox[Symbol.asyncDispose]()
    for (const owed of guest.turns.splice(0)) {
      this.#answer(guest, owed, null, undefined, new PluginError("E_GUEST_EXITED", guest.access.plugin, "unloaded"))
    }
    guest.services.send()
  }

  #post(message: FromLane): void {
    this.#port.postMessage(message)
  }
}

function toAccess({ permissions, access }: LaneRights, services: LaneServices): GuestAccess {
  const warnHidden = (header: string) => services.hidden(header)
  return { ...access, headers: new HeaderAccess(access.plugin, permissions, access.headers, warnHidden) }
}
