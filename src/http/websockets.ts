import type { Socket } from "node:net"
import type { Config } from "../config/schema.ts"
import { BextError } from "../errors.ts"
import { createClientPrefix } from "../message/client-prefix.ts"
import type { UpgradeTarget } from "../message/request-context.ts"
import { WebsocketTunnel } from "./websocket-tunnel.ts"

/** Source: RFC 6177: what one site gets at least. */
const IPV6_PREFIX = 64
/** A server at its limit says so at most this often. */
const WARNING_MS = 10_000

/** Numbers since the process began, those of open websockets included. */
export interface WebsocketNumbers {
  readonly open: number
  readonly opened: number
  readonly bytesFromClients: number
  readonly bytesToClients: number
}

/** All websockets of a process. They belong to no snapshot: what they may do was decided when they were opened. */
export class Websockets {
  readonly #limits: Config["server"]["limits"]
  readonly #warn: (message: string) => void
  readonly #prefixOf = createClientPrefix(IPV6_PREFIX)
  readonly #open = new Set<WebsocketTunnel>()
  /** Client → places it has. */
  readonly #places = new Map<string, number>()
  #taken = 0
  #opened = 0
  #bytesFromClients = 0
  #bytesToClients = 0
  #warnedMs = Number.NEGATIVE_INFINITY

  constructor(limits: Config["server"]["limits"], warn: (message: string) => void) {
    this.#limits = limits
    this.#warn = warn
  }

  get size(): number {
    return this.#open.size
  }

  get numbers(): WebsocketNumbers {
    let bytesFromClients = this.#bytesFromClients
    let bytesToClients = this.#bytesToClients
    for (const tunnel of this.#open) {
      bytesFromClients += tunnel.bytesToUpstream
      bytesToClients += tunnel.bytesToClient
    }
    return { open: this.#open.size, opened: this.#opened, bytesFromClients, bytesToClients }
  }

  /**
   * Takes a place for a client, from the beginning of its handshake on.
   * @returns Gives the place back; to be called once.
   * @throws {BextError} `E_WEBSOCKET_LIMIT`.
   */
  reserve(address: string): () => void {
    const { websockets, websockets_per_client } = this.#limits
    const client = this.#prefixOf(address)
    const places = this.#places.get(client) ?? 0
    if (places >= websockets_per_client) throw full("this client has as many websockets as one may have")
    if (this.#taken >= websockets) {
      this.#warnOfLimit()
      throw full("as many websockets are open as may be")
    }
    this.#taken++
    this.#places.set(client, places + 1)
    return () => {
      this.#taken--
      const left = this.#places.get(client)! - 1
      if (left === 0) this.#places.delete(client)
      else this.#places.set(client, left)
    }
  }

  /** Connects a client whose handshake was answered with its target. `closed` is called once. */
  open(client: Socket, target: UpgradeTarget, closed: (tunnel: WebsocketTunnel) => void): void {
    const tunnel = new WebsocketTunnel({
      client,
      upstream: target.socket,
      head: target.head,
      idleMs: this.#limits.websocket_idle_timeout,
      closed: () => {
        this.#open.delete(tunnel)
        this.#bytesFromClients += tunnel.bytesToUpstream
        this.#bytesToClients += tunnel.bytesToClient
        closed(tunnel)
      },
    })
    this.#open.add(tunnel)
    this.#opened++
  }

  /** Tells everybody that the server goes away; shortly afterwards no websocket is open. */
  goAway(): void {
    for (const tunnel of this.#open) tunnel.goAway()
  }

  #warnOfLimit(): void {
    const nowMs = performance.now()
    if (nowMs - this.#warnedMs < WARNING_MS) return
    this.#warnedMs = nowMs
    this.#warn("websockets are refused: server.limits.websockets is reached")
  }
}

function full(what: string): BextError {
  return new BextError("E_WEBSOCKET_LIMIT", what, { headers: [["Retry-After", "1"]] })
}
