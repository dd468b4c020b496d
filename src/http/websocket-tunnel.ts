import { randomBytes } from "node:crypto"
import type { Socket } from "node:net"
import { FrameBoundary } from "./frame-boundary.ts"

/** How long both sides may take to close what they were told to close. */
const CLOSE_MS = 1_000
/** After this long without a byte the system asks whether the other machine is still there. */
const KEEP_ALIVE_MS = 60_000
/** The server, or this websocket's end of it, goes away. Source: RFC 6455 §7.4.1. */
const GOING_AWAY = 1001

export interface TunnelOptions {
  readonly client: Socket
  readonly upstream: Socket
  /** What the upstream sent behind its handshake. */
  readonly head: Uint8Array
  /** Milliseconds without a byte in either direction until it is closed. */
  readonly idleMs: number
  /** Called once, when both connections are closed. */
  readonly closed: () => void
}

/**
 * One open websocket: passes bytes both ways, no faster than the slower side takes them. It neither changes nor understands
 * them, except that it knows where frames end, so that it can say goodbye between two of them.
 */
export class WebsocketTunnel {
  readonly #client: Socket
  readonly #toClient: Direction
  readonly #toUpstream: Direction
  #leaving = false

  constructor({ client, upstream, head, idleMs, closed }: TunnelOptions) {
    this.#client = client
    this.#toClient = new Direction(upstream, client)
    this.#toUpstream = new Direction(client, upstream)
    upstream.setNoDelay(true)
    for (const socket of [client, upstream]) socket.setKeepAlive(true, KEEP_ALIVE_MS)
    this.#endTogether(client, upstream, closed)
    // Every byte goes through the client's socket, so its clock is enough.
    client.setTimeout(idleMs, () => this.goAway())
    if (head.length > 0) this.#toClient.relay(head)
    this.#toClient.start()
    this.#toUpstream.start()
  }

  get bytesToClient(): number {
    return this.#toClient.bytes
  }

  get bytesToUpstream(): number {
    return this.#toUpstream.bytes
  }

  /** Whether it ended as the protocol says, with a Close frame from one side at least. */
  get closedCleanly(): boolean {
    return this.#leaving || this.#toClient.frames.closed || this.#toUpstream.frames.closed
  }

  /** Tells both sides that this websocket ends (close code 1001), and soon destroys what is left. */
  goAway(): void {
    if (this.#leaving) return
    this.#leaving = true
    this.#client.setTimeout(0)
    this.#toClient.closeWith(toCloseFrame(GOING_AWAY))
    this.#toUpstream.closeWith(toMaskedCloseFrame(GOING_AWAY))
    setTimeout(() => this.destroy(), CLOSE_MS).unref()
  }

  destroy(): void {
    this.#toClient.sink.destroy()
    this.#toUpstream.sink.destroy()
  }

  #endTogether(client: Socket, upstream: Socket, closed: () => void): void {
    let open = 2
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      // Not one after the other: what is on its way in one direction may still arrive.
      socket.allowHalfOpen = true
      socket.on("error", () => socket.destroy())
      socket.once("close", () => {
        if (--open === 0) closed()
        else endSoon(other)
      })
    }
  }
}

/** Sends what is still to be sent and closes; destroys the connection when that takes too long. */
function endSoon(socket: Socket): void {
  socket.destroySoon()
  setTimeout(() => socket.destroy(), CLOSE_MS).unref()
}

/** What one side sends to the other. */
class Direction {
  readonly source: Socket
  readonly sink: Socket
  readonly frames = new FrameBoundary()
  bytes = 0
  /** To be sent behind the frame that is on its way. */
  #farewell: Uint8Array | null = null
  /** The farewell is sent: what still comes is read, for the answer to it, and goes nowhere. */
  #over = false

  constructor(source: Socket, sink: Socket) {
    this.source = source
    this.sink = sink
  }

  start(): void {
    const { source, sink } = this
    source.on("data", (chunk: Buffer) => this.relay(chunk))
    sink.on("drain", () => source.resume())
    source.once("end", () => {
      if (sink.writable) sink.end()
    })
    source.resume()
    if (sink.writableNeedDrain) source.pause()
  }

  relay(chunk: Uint8Array): void {
    if (this.#over) {
      this.#awaitAnswer(chunk)
      return
    }
    if (!this.sink.writable) return
    if (this.#farewell !== null) {
      this.#relayRest(chunk, this.#farewell)
      return
    }
    this.bytes += chunk.length
    this.frames.pass(chunk)
    if (!this.sink.write(chunk)) this.source.pause()
  }

  closeWith(farewell: Uint8Array): void {
    // It said goodbye itself, or is gone.
    if (this.frames.closed || !this.sink.writable) return
    if (this.frames.between) this.#send(farewell)
    else this.#farewell = farewell
  }

  #relayRest(chunk: Uint8Array, farewell: Uint8Array): void {
    const end = this.frames.passFrame(chunk)
    const rest = chunk.subarray(0, end)
    this.bytes += rest.length
    const taken = this.sink.write(rest)
    if (end === undefined) {
      if (!taken) this.source.pause()
      return
    }
    if (!this.frames.closed) this.#send(farewell)
    if (end < chunk.length) this.relay(chunk.subarray(end))
  }

  #send(farewell: Uint8Array): void {
    this.#over = true
    this.sink.write(farewell)
    // It may have been paused because the other side was slow.
    this.source.resume()
  }

  /** The side that was told to go agrees: its connection may end. Source: RFC 6455 §5.5.1, §7.1.1. */
  #awaitAnswer(chunk: Uint8Array): void {
    this.frames.pass(chunk)
    if (this.frames.closed && this.source.writable) this.source.end()
  }
}

/** Source: RFC 6455 §5.2 (header), §5.5.1 (the code is the payload). */
function toCloseFrame(code: number): Uint8Array {
  return Uint8Array.of(0x88, 2, code >> 8, code & 0xff)
}

/** As a client sends it. Source: RFC 6455 §5.3. */
function toMaskedCloseFrame(code: number): Uint8Array {
  const mask = randomBytes(4)
  return Uint8Array.of(0x88, 0x82, ...mask, (code >> 8) ^ mask[0]!, (code & 0xff) ^ mask[1]!)
}
