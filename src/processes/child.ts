import { type ChildProcess, fork } from "node:child_process"
import type { Socket } from "node:net"
import { fileURLToPath } from "node:url"
import type { Config } from "../config/schema.ts"
import { BextError } from "../errors.ts"
import type { Bound } from "../http/listen-on.ts"
import type { ConfigSource } from "./config-source.ts"
import type { Target } from "./dispatcher.ts"
import { fromErrorMessage } from "./error-message.ts"
import type { BusPost, FromProcess, Method, Requests, StartParams, ToProcess } from "./messages.ts"

/** Loading many plugins takes long; longer than this is broken. */
const START_TIMEOUT_MS = 5 * 60_000
/** Answers that need no work. */
const ANSWER_TIMEOUT_MS = 3_000
/** Messages that wait because a process does not read. What is more is lost, as a bus may lose. */
const MAX_UNSENT = 1_000

/** A configuration in service, and where the public listener is. A new object for each one that is accepted. */
export interface Accepted {
  readonly source: ConfigSource
  readonly config: Config
  readonly bound: Bound
}

/** What a child tells without being asked. */
export interface ChildListener {
  connectionTaken(child: Child, id: number, taken: boolean): void
  bus(child: Child, post: BusPost): void
  logLine(line: string): void
}

/** How a process ended: its exit code, or the signal that ended it. */
export interface ChildExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** One serving process as the supervisor sees it. */
export class Child implements Target {
  readonly startedAtMs = Date.now()
  /** The configuration it was given last. */
  accepted: Accepted
  state: "starting" | "serving" | "draining" = "starting"
  /** Resolves when the process has ended and everything it said has been heard. */
  readonly gone: Promise<ChildExit>
  /** Monotonic milliseconds when it began to serve; null before. */
  servingSinceMs: number | null = null
  readonly #process: ChildProcess
  readonly #listener: ChildListener
  readonly #open = new Map<number, OpenRequest>()
  #lastId = 0
  #unsent = 0
  #ended = false

  /** @param file - What the process runs. */
  constructor(file: URL, accepted: Accepted, listener: ChildListener) {
    this.accepted = accepted
    this.#listener = listener
    this.#process = fork(fileURLToPath(file), [], {
      serialization: "advanced",
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    })
    this.#process.on("message", (message: FromProcess) => this.#receive(message))
    // The process could not be started, or could not be sent something: its end says so.
    this.#process.on("error", () => {})
    this.gone = this.#untilGone()
  }

  /** 0 when the process could not even be started. */
  get pid(): number {
    return this.#process.pid ?? 0
  }

  get hasEnded(): boolean {
    return this.#ended
  }

  /** Resolves once the process takes connections. @throws {BextError} Why it cannot. */
  async start(params: StartParams): Promise<void> {
    await this.request("start", params, START_TIMEOUT_MS)
  }

  /** @throws {BextError} What the process says; `E_PROCESS_FAILED` when it ended or did not answer in time. */
  request<M extends Method>(
    method: M,
    params: Requests[M]["params"],
    timeoutMs = ANSWER_TIMEOUT_MS,
  ): Promise<Requests[M]["result"]> {
    const id = ++this.#lastId
    return new Promise((resolve, reject) => {
      if (this.#ended) {
        reject(this.#failed("has ended"))
        return
      }
      const timer = setTimeout(() => {
        this.#open.delete(id)
        reject(this.#failed(`did not answer for ${timeoutMs / 1000} s`))
      }, timeoutMs)
      // The answer of a process has the type its request says: both are this version of bext.
      this.#open.set(id, { resolve: resolve as (result: unknown) => void, reject, timer })
      this.#send({ type: "request", id, method, params })
    })
  }

  /** Hands a connection over; the socket stays open here as well. */
  hand(id: number, socket: Socket): void {
    if (this.#process.connected) this.#process.send({ type: "connection", id }, socket, { keepOpen: true }, () => {})
  }

  arrived(id: number): Promise<boolean> {
    return this.request("arrived", { connection: id })
  }

  /** @throws {BextError} `E_PROCESS_FAILED` when it does not answer in time. */
  async ping(timeoutMs?: number): Promise<void> {
    await this.request("arrived", { connection: 0 }, timeoutMs)
  }

  /** Sends what may be lost. */
  post(message: ToProcess): void {
    if (this.#unsent < MAX_UNSENT) this.#send(message)
  }

  kill(): void {
    this.#process.kill("SIGKILL")
  }

  #send(message: ToProcess): void {
    if (!this.#process.connected) return
    this.#unsent++
    this.#process.send(message, () => {
      this.#unsent--
    })
  }

  #receive(message: FromProcess): void {
    switch (message.type) {
      case "connection_taken":
        this.#listener.connectionTaken(this, message.id, message.taken)
        return
      case "bus":
        this.#listener.bus(this, message)
        return
      case "log_line":
        this.#listener.logLine(message.line)
        return
      case "result":
        this.#settle(message.id)?.resolve(message.result)
        return
      case "error":
        this.#settle(message.id)?.reject(fromErrorMessage(message.error))
    }
  }

  #settle(id: number): OpenRequest | undefined {
    const open = this.#open.get(id)
    this.#open.delete(id)
    clearTimeout(open?.timer)
    return open
  }

  async #untilGone(): Promise<ChildExit> {
    const child = this.#process
    const disconnected = new Promise<void>((resolve) => child.once("disconnect", resolve))
    const exit = await new Promise<ChildExit>((resolve) => {
      child.once("exit", (code, signal) => resolve({ code, signal }))
      child.once("error", () => {
        if (child.pid === undefined) resolve({ code: null, signal: null })
      })
    })
    // The channel ends after its last message.
    if (child.connected) await disconnected
    this.#ended = true
    for (const id of [...this.#open.keys()]) this.#settle(id)!.reject(this.#failed(`ended (${toText(exit)})`))
    return exit
  }

  #failed(what: string): BextError {
    return new BextError("E_PROCESS_FAILED", `the serving process ${this.pid} ${what}`)
  }
}

interface OpenRequest {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: Error) => void
  readonly timer: NodeJS.Timeout
}

function toText({ code, signal }: ChildExit): string {
  return signal ?? (code === null ? "it could not be started" : `exit code ${code}`)
}
