import { type IncomingMessage, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import { BextError } from "../errors.ts"
import type { UpgradeRequest, UpgradeTarget } from "../message/request-context.ts"

/**
 * A request that asks for a websocket, on a connection that Node's parser has let go of. Until it is known what becomes of
 * it, the connection is read so that a client that goes away is noticed; what it sends is thrown away, since a client has to
 * wait for the answer. An answer that opens no websocket ends the connection.
 */
export class WebsocketRequest implements UpgradeRequest {
  readonly protocol = "websocket"
  readonly outgoing: ServerResponse
  readonly #socket: Socket
  readonly #reserve: (clientAddress: string) => () => void
  /** The client sent something before it was answered. */
  #early: boolean
  #target: UpgradeTarget | null = null
  #giveBack: (() => void) | null = null

  /** @param reserve - Takes a place and returns what gives it back. */
  constructor(
    incoming: IncomingMessage,
    socket: Socket,
    head: Uint8Array,
    reserve: (clientAddress: string) => () => void,
  ) {
    this.#socket = socket
    this.#reserve = reserve
    this.#early = head.length > 0
    this.outgoing = new ServerResponse(incoming)
    this.outgoing.shouldKeepAlive = false
    this.outgoing.assignSocket(socket)
    socket.setTimeout(0)
    socket.on("error", this.#onError)
    socket.on("timeout", this.#onError)
    socket.on("drain", this.#onDrain)
    socket.on("data", this.#onData)
    this.outgoing.once("finish", () => socket.destroySoon())
  }

  reserve(clientAddress: string): void {
    this.#giveBack ??= this.#reserve(clientAddress)
  }

  connectTo(target: UpgradeTarget): void {
    this.#target = target
    // Nobody reads it yet, but it may break.
    target.socket.on("error", () => target.socket.destroy())
  }

  /**
   * Where the connection leads.
   * @throws {BextError} `E_REQUEST_INVALID`, `E_CLIENT_LEFT`, `E_UPSTREAM_UNREACHABLE`: why it cannot lead there.
   */
  get target(): UpgradeTarget {
    if (this.#target === null) throw new TypeError("a response with status 101 that leads nowhere")
    if (this.#early) throw new BextError("E_REQUEST_INVALID", "the client sent data before its handshake was answered")
    if (this.#socket.readableEnded) throw new BextError("E_CLIENT_LEFT", "the client went away")
    if (this.#target.socket.destroyed) {
      throw new BextError("E_UPSTREAM_UNREACHABLE", "the upstream went away behind its handshake")
    }
    return this.#target
  }

  /** The handshake is answered: leaves the connection, which is not read from now on, to the websocket. */
  release(): void {
    const socket = this.#socket
    this.outgoing.detachSocket(socket)
    socket.pause()
    socket.off("error", this.#onError).off("timeout", this.#onError)
    socket.off("drain", this.#onDrain).off("data", this.#onData)
    this.#target = null
  }

  /** The request, or the websocket it became, is over. */
  settle(): void {
    this.#target?.socket.destroy()
    this.#target = null
    this.#giveBack?.()
    this.#giveBack = null
  }

  readonly #onError = () => this.#socket.destroy()

  /** Node's parser used to do this. */
  readonly #onDrain = () => this.outgoing.emit("drain")

  readonly #onData = () => {
    this.#early = true
  }
}
