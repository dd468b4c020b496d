import type { Socket } from "node:net"
import type { ConnectionSource } from "../http/connection-source.ts"

/** Connections that the supervisor accepted and hands over. */
export class IpcConnections implements ConnectionSource {
  readonly address: string
  readonly port: number
  #accept: ((socket: Socket) => boolean) | null = null
  #lastId = 0

  constructor(address: string, port: number) {
    this.address = address
    this.port = port
  }

  start(accept: (socket: Socket) => boolean): void {
    this.#accept = accept
  }

  stop(): void {
    this.#accept = null
  }

  /** @returns whether it is served here. If not, only this process's hold on it ends. */
  receive(id: number, socket: Socket | undefined): boolean {
    this.#lastId = id
    if (socket === undefined) return false
    if (this.#accept?.(socket) === true) return true
    socket.destroy()
    return false
  }

  /** Whether the connection was received, taken or not. Their numbers rise. */
  hasArrived(id: number): boolean {
    return this.#lastId >= id
  }
}
