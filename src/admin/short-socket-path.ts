import { closeSync, constants, openSync } from "node:fs"
import { basename, dirname } from "node:path"
import { BextError } from "../errors.ts"

/** Bytes of a socket's path without its end (`sun_path`): Linux unix(7); elsewhere a little less. */
const MAX_BYTES = process.platform === "linux" ? 107 : 103

/** A name for a socket that the system takes, for as long as it is not disposed. */
export interface ShortSocketPath extends Disposable {
  readonly path: string
}

/**
 * The path of a socket, or on Linux a short name for one that is too long: through the open folder it is in. Valid in
 * this process alone.
 * @throws {BextError} `E_ADMIN_SOCKET`: too long, and there is no short name.
 */
export function shortSocketPath(path: string): ShortSocketPath {
  if (Buffer.byteLength(path) <= MAX_BYTES) return { path, [Symbol.dispose]() {} }
  if (process.platform !== "linux" || Buffer.byteLength(basename(path)) > MAX_BYTES - "/proc/self/fd/12345/".length) {
    throw new BextError("E_ADMIN_SOCKET", `the path ${path} is over ${MAX_BYTES} bytes; sockets need a shorter one`)
  }
  const folder = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY)
  return {
    path: `/proc/self/fd/${folder}/${basename(path)}`,
    [Symbol.dispose]: () => closeSync(folder),
  }
}
