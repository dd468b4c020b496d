import { closeSync, constants, openSync, writeSync } from "node:fs"
import { codeOf } from "./code-of.ts"

/**
 * Writes to a file of a group, in one system call as the kernel wants it, and never makes one.
 * @throws {Error} When it is not there, or the kernel refuses.
 */
export function writeFile(path: string, text: string): void {
  const descriptor = openSync(path, constants.O_WRONLY)
  try {
    writeSync(descriptor, text)
  } finally {
    closeSync(descriptor)
  }
}

/** Writes to a file that not every kernel has. @returns Whether it is there. @throws {Error} When the kernel refuses. */
export function writeIfThere(path: string, text: string): boolean {
  try {
    writeFile(path, text)
    return true
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false
    throw error
  }
}
