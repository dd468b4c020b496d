import { BextError, type ErrorCode } from "../../errors.ts"

/** Why a module was not metered. `offset` counts bytes from the start of the module. */
export class ModuleRejected extends BextError {
  override readonly name = "ModuleRejected"
  readonly offset: number

  constructor(
    code: Extract<ErrorCode, "E_WASM_INVALID" | "E_WASM_UNSUPPORTED" | "E_WASM_LIMIT">,
    what: string,
    offset: number,
  ) {
    super(code, `${what} at byte ${offset}`)
    this.offset = offset
  }
}

export function invalid(what: string, offset: number): never {
  throw new ModuleRejected("E_WASM_INVALID", what, offset)
}

export function unsupported(feature: string, offset: number): never {
  throw new ModuleRejected("E_WASM_UNSUPPORTED", `${feature} is not supported`, offset)
}

/** Refuses a module that its metering makes too large. */
export function checkMeteredSize(bytes: number, limit: number, offset: number): void {
  if (bytes <= limit) return
  const what = `counting its fuel makes ${bytes} bytes of it, over the limit of ${limit}: it has very many loops and branches`
  throw new ModuleRejected("E_WASM_LIMIT", what, offset)
}

/** Refuses a module whose `what` exceeds a limit. */
export function checkLimit(what: string, value: number, limit: number, offset: number): void {
  if (value > limit) throw new ModuleRejected("E_WASM_LIMIT", `${what}: ${value} is over the limit of ${limit}`, offset)
}
