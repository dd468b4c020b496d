import { PluginError } from "../../../errors.ts"
import type { ModuleShape } from "../../metering/module-shape.ts"
import type { Exchange, HookCall } from "../../sandbox.ts"
import type { Binding, Entry, Guest, ImportedFunction } from "../abi.ts"
import { bindWasi, GuestExit, type Wasi } from "../wasi/bind-wasi.ts"
import { WASI_MODULE } from "../wasi/types.ts"
import type { FieldList } from "./answer.ts"
import { handlerFunctions } from "./functions.ts"
import { Handling } from "./handling.ts"
import { decodeSlot, encodeSlot, putBody, putHeader, putTrailer } from "./slot.ts"
import { HTTP_HANDLER_MODULE } from "./types.ts"

const ON_REQUEST: Entry = { exportName: "handle_request", args: [] }

/** One instance of a module that speaks the http-wasm ABI. */
export class HttpWasmBinding implements Binding {
  readonly imports: Readonly<Record<string, Readonly<Record<string, ImportedFunction>>>>
  readonly #guest: Guest
  readonly #handling: Handling
  readonly #wasi: Wasi | null
  #initialise: (() => void) | undefined
  #start: (() => void) | undefined

  /** @param shape - Of a checked module. */
  constructor(guest: Guest, shape?: ModuleShape) {
    this.#guest = guest
    this.#handling = new Handling(guest)
    const needsWasi = shape === undefined || shape.imports.some(({ module }) => module === WASI_MODULE)
    this.#wasi = needsWasi ? bindWasi(guest) : null
    this.imports = {
      [HTTP_HANDLER_MODULE]: handlerFunctions(guest, this.#handling),
      [WASI_MODULE]: this.#wasi?.functions ?? {},
    }
  }

  attach(exports: WebAssembly.Exports): void {
    this.#initialise = exports._initialize as (() => void) | undefined
    this.#start = exports._start as (() => void) | undefined
  }

  initialise(): void {
    if (this.#initialise !== undefined) this.#initialise()
    else this.#main()
  }

  enter({ hook, exchange }: HookCall): Entry | null {
    if (hook === "on_request") return ON_REQUEST
    // Without it, handle_request has answered itself, or failed: then this is no response that it asked for.
    if (exchange!.slot === null) return null
    const { context, headers, trailers, body } = decodeSlot(exchange!.slot)
    if (body !== null) putBody(exchange!, body)
    for (const field of headers) putHeader(exchange!, field)
    for (const field of trailers) putTrailer(exchange!, field)
    return { exportName: "handle_response", args: [context, exchange!.failed ? 1 : 0] }
  }

  leave({ hook, exchange }: HookCall, result: number | bigint | undefined): undefined {
    if (hook === "on_request") this.#leaveRequest(exchange!, result as bigint)
    else if (this.#handling.newBody !== null) exchange!.setBody("response", this.#handling.newBody.bytes())
  }

  over(): void {
    this.#handling.reset()
    this.#wasi?.over()
  }

  /** Toolchains without libraries: `main` registers the handler and returns, or ends the program in good order. */
  #main(): void {
    try {
      this.#start?.()
    } catch (error) {
      if (!(error instanceof GuestExit) || error.exitCode !== 0) throw error
    }
  }

  #leaveRequest(exchange: Exchange, result: bigint): void {
    const next = Number(BigInt.asUintN(32, result))
    const { answer, newBody } = this.#handling
    if (next === 0) {
      exchange.respond(
        answer.status,
        toPairs(answer.headers),
        answer.body?.bytes() ?? new Uint8Array(0),
        toPairs(answer.trailers),
      )
      return
    }
    if (next !== 1) {
      const what = `handle_request returned ${next} as "next", expected 0 or 1`
      throw new PluginError("E_GUEST_RESULT_INVALID", this.#guest.name, what)
    }
    if (newBody !== null) exchange.setBody("request", newBody.bytes())
    const context = Number(BigInt.asIntN(32, result >> 32n))
    const body = (this.#guest.services.granted("response_body") && answer.body?.bytes()) || null
    exchange.slot = encodeSlot({ context, headers: answer.headers.fields, trailers: answer.trailers.fields, body })
  }
}

function toPairs({ fields }: FieldList): [string, string][] {
  return fields.map(([name, value]) => [name, value])
}
