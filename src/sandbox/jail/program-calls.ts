import { type ErrorCode, PluginError } from "../../errors.ts"
import type { Json } from "../sandbox.ts"
import type { JailCall } from "./jail-call.ts"
import type { ProcessSetup } from "./jail-process.ts"
import { errorToJson, runGuestCall } from "./messages/guest-calls.ts"
import { toResultLine } from "./messages/write-line.ts"
import { WrittenBody } from "./messages/written-body.ts"
import type { GuestCall } from "./protocol.ts"

/** Calls of one program that may be unanswered. */
const MAX_CALLS = 256
/**
 * Bytes, or characters, of answers that the program has not read: what it asked for all at once, and then leaves, would pile up
 * as often as it may ask. One more line may come on top.
 */
const MAX_UNREAD = 16 * 1024 * 1024

/** What a program asks of the host. */
export class ProgramCalls {
  readonly #setup: ProcessSetup
  readonly #callOf: (id: number) => JailCall | undefined
  readonly #write: (line: string) => void
  readonly #unread: () => number
  readonly #gone = new AbortController()
  #atWork = 0

  /**
   * @param callOf - The call of the host with that id, while it is in flight.
   * @param unread - Of what was written, bytes or characters that the program has not read.
   */
  constructor(
    setup: ProcessSetup,
    callOf: (id: number) => JailCall | undefined,
    write: (line: string) => void,
    unread: () => number,
  ) {
    this.#setup = setup
    this.#callOf = callOf
    this.#write = write
    this.#unread = unread
  }

  serve(guestCall: GuestCall): void {
    const call = guestCall.call === null ? null : (this.#callOf(guestCall.call) ?? null)
    let result: Json | Promise<Json>
    try {
      if (this.#atWork >= MAX_CALLS) throw this.#error("E_OVERLOADED", `${MAX_CALLS} calls are unanswered`)
      if (guestCall.call !== null && (call === null || call.done)) {
        throw this.#error("E_PERMISSION", `${guestCall.method}: call ${guestCall.call} is over`)
      }
      result = this.#run(guestCall, call)
    } catch (error) {
      this.#refuse(guestCall, call, error)
      return
    }
    if (result instanceof Promise) this.#answerLater(guestCall, call, result)
    else this.#reply(guestCall, { value: result })
  }

  /** The program has ended. */
  end(): void {
    this.#gone.abort()
  }

  #run(guestCall: GuestCall, call: JailCall | null): Json | Promise<Json> {
    const { name: plugin, services, limits } = this.#setup
    if (call !== null) call.written ??= new WrittenBody(plugin, limits.messageBytes)
    return runGuestCall(guestCall, {
      plugin,
      services,
      limits,
      tenant: call?.request.tenant ?? null,
      exchange: call?.request.exchange ?? null,
      written: call?.written ?? null,
      signal: call?.signal ?? this.#gone.signal,
    })
  }

  async #answerLater(guestCall: GuestCall, call: JailCall | null, result: Promise<Json>): Promise<void> {
    this.#atWork++
    try {
      const value = await result
      if (this.#unread() >= MAX_UNREAD) throw this.#error("E_OVERLOADED", "it does not read what it asked for")
      this.#reply(guestCall, { value })
    } catch (error) {
      this.#refuse(guestCall, call, error)
    } finally {
      this.#atWork--
    }
  }

  #refuse(guestCall: GuestCall, call: JailCall | null, error: unknown): void {
    const { code, message } = errorToJson(error)
    if (call !== null) call.refused = (call.refused ?? new Set()).add(code)
    this.#reply(guestCall, { error: { code, message } })
  }

  #reply({ id }: GuestCall, params: Json): void {
    if (id !== null) this.#write(toResultLine(id, params, this.#setup.limits))
  }

  #error(code: ErrorCode, what: string): PluginError {
    return new PluginError(code, this.#setup.name, what)
  }
}
