import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

let collect: (() => void) | null = null

/**
 * Frees what this thread does not use any more, at once. It stops the thread for milliseconds. For memory that V8 does not
 * know how large it is: that of WebAssembly instances does not make it collect by itself, and may be gigabytes.
 */
export function collectGarbage(): void {
  collect ??= openCollector()
  collect()
}

function openCollector(): () => void {
  // Contexts that are made while the flag is set have the function.
  setFlagsFromString("--expose-gc")
  try {
    return runInNewContext("gc") as () => void
  } finally {
    setFlagsFromString("--no-expose-gc")
  }
}
