/** Entry of the thread that meters and compiles modules of plugins, one after the other. */
import { setFlagsFromString } from "node:v8"
import { parentPort } from "node:worker_threads"
import { BextError, toPlainError } from "../../errors.ts"
import { DEFAULT_MODULE_LIMITS } from "../metering/limits.ts"
import { meter } from "../metering/meter.ts"
import { GUEST_PROFILE } from "../metering/profiles.ts"
import type { CompileReply, CompileRequest } from "./compile-thread.ts"

/**
 * Largest metered module. Compilers' output grows by half when it is metered, one made of loops tenfold, and what V8 makes of that
 * takes gigabytes.
 */
const MAX_CODE_BYTES = 2 * DEFAULT_MODULE_LIMITS.moduleBytes

const port = parentPort!
port.on("message", (request: CompileRequest) => port.postMessage(reply(request)))

function reply({ bytes, pages }: CompileRequest): CompileReply {
  try {
    const { bytes: code, ...metered } = meter(bytes, { ...GUEST_PROFILE, maxMemoryPages: pages })
    if (code.length > MAX_CODE_BYTES) throw tooMuchToCount(code.length)
    // V8 would compile each function when it is first called: in the serving thread, where no fuel is counted for it.
    setFlagsFromString("--no-wasm-lazy-compilation")
    return { guest: { module: new WebAssembly.Module(code), metered }, codeBytes: code.length }
  } catch (error) {
    return { error: toPlainError(error) }
  }
}

function tooMuchToCount(bytes: number): BextError {
  const what = `counting its fuel makes ${bytes} bytes of it, over the limit of ${MAX_CODE_BYTES}: it has very many loops and branches`
  return new BextError("E_WASM_LIMIT", what)
}
