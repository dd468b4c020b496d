import type { Socket } from "node:net"

/** Where connections come from when another process listens and hands them over. There is no code here. */
export interface ConnectionSource {
  /** The address and the port the other process listens on. */
  readonly address: string
  readonly port: number
  /**
   * Connections go to `accept` from now on, one call for each, nothing of them read yet.
   * @param accept - Returns false when it cannot take one more. The connection is untouched then and goes elsewhere.
   */
  start(accept: (socket: Socket) => boolean): void
  /** What is handed over from now on goes elsewhere. */
  stop(): void
}
