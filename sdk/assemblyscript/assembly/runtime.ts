// What the compiler calls instead of functions of "env", which bext does not have: see "use" in asconfig.json.
import { fail, random } from "./bext"
import { log as writeLine } from "./log"
import { at, toUtf8 } from "./memory"

/** Failed assertions, `throw`, indices out of bounds: one line in the log, and the end of the call. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const text = `${message == null ? "abort" : message} (${file == null ? "?" : file}:${line}:${column})`
  const bytes = toUtf8(text)
  fail(at(bytes), bytes.byteLength)
  writeLine("error", text)
  unreachable()
}

/** Starts `Math.random`. */
export function seed(): f64 {
  const bytes = new ArrayBuffer(8)
  random(at(bytes), 8)
  return <f64>(load<u64>(at(bytes)) >> 11)
}

export function trace(
  message: string,
  n: i32 = 0,
  a0: f64 = 0,
  a1: f64 = 0,
  a2: f64 = 0,
  a3: f64 = 0,
  a4: f64 = 0,
): void {
  const values = [a0, a1, a2, a3, a4].slice(0, n)
  writeLine("debug", n > 0 ? `${message} ${values.join(", ")}` : message)
}

/** What is printed is a line of the log. */
export namespace console {
  export function log(message: string = ""): void {
    writeLine("info", message)
  }
  export function debug(message: string = ""): void {
    writeLine("debug", message)
  }
  export function info(message: string = ""): void {
    writeLine("info", message)
  }
  export function warn(message: string = ""): void {
    writeLine("warn", message)
  }
  export function error(message: string = ""): void {
    writeLine("error", message)
  }
}
