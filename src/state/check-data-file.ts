import { closeSync, openSync, readSync } from "node:fs"

/** Two meta pages begin every LMDB file; the first has this number behind its page header. */
const SMALLEST_BYTES = 8192
const MAGIC = Buffer.from([0xde, 0xc0, 0xef, 0xbe])
const MAGIC_AT = 24

/**
 * Refuses what LMDB would crash on, taking the process with it: a data file that is not its own, or cut off at the start.
 * A missing or empty one is fine.
 * @throws {Error} That says what to do.
 */
export function checkDataFile(file: string): void {
  const start = readStart(file)
  if (start.length === 0) return
  if (start.length === SMALLEST_BYTES && start.subarray(MAGIC_AT, MAGIC_AT + MAGIC.length).equals(MAGIC)) return
  throw new Error("data.mdb is damaged or not a state file; move it away, or restore it from a backup")
}

function readStart(file: string): Buffer {
  let descriptor: number
  try {
    descriptor = openSync(file, "r")
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return Buffer.alloc(0)
    throw error
  }
  try {
    const start = Buffer.alloc(SMALLEST_BYTES)
    return start.subarray(0, readSync(descriptor, start))
  } finally {
    closeSync(descriptor)
  }
}
