import type { Logger } from "pino"
import type { Control } from "../admin/control.ts"
import type { Config } from "../config/schema.ts"

/** A server that listens, in one process or several. There is no code here. */
export interface RunningServer {
  readonly control: Control
  readonly logger: Logger
  /** Of the public listener. */
  readonly url: string
  /** What serves now. */
  readonly config: Config
  /** A listener beside the public one: guests' fetches never reach it. */
  addOwnListener(address: string, port: number): void
  /** Drains: at most `server.grace`, then what plugins take to stop. */
  stop(): Promise<void>
  /** Ends what is not this process, at once. */
  kill(): void
}
