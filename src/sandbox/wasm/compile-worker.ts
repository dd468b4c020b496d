/** Entry of the thread that meters and compiles modules of plugins, one after the other. */
import { setFlagsFromString } from "node:v8"
import { parentPort } from "node:worker_threads"
import { toPlainError } from "../../errors.ts"
import { meter } from "../metering/meter.ts"
import { GUEST_PROFILE } from "../metering/profiles.ts"
import type { CompileReply, CompileRequest } from "./compile-thread.ts"

const port = parentPort!
port.on("message", (request: CompileRequest) => port.postMessage(reply(request)))

function reply({ bytes, pages }: CompileRequest): CompileReply {
  try {
    const { bytes: code, ...metered } = meter(bytes, { ...GUEST_PROFILE, maxMemoryPages: pages })
    // V8 would compile each function when it is first called: in the serving thread, where no fuel is counted for it.
    setFlagsFromString("--no-wasm-lazy-compilation")
    return { guest: { module: new WebAssembly.Module(code), metered }, codeBytes: code.length }
  } catch (error) {
    return { error: toPlainError(error) }
  }
}
