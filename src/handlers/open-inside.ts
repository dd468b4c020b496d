import { constants, type Stats } from "node:fs"
import { type FileHandle, open, readlink, realpath } from "node:fs/promises"
import { sep } from "node:path"
import { BextError } from "../errors.ts"

export interface OpenFile {
  readonly handle: FileHandle
  readonly stats: Stats
}

/** Not to wait for the other end of a pipe, not to become the terminal of one. */
const FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0)

/**
 * Opens a regular file for reading if it really lies inside `root`, whatever symbolic links led there. The open file
 * itself is asked where it is, so that nobody can swap a folder between the check and the opening.
 * @param root - A real path, without a separator at its end.
 * @returns undefined when there is no such file: missing, special, or outside. The caller closes the handle.
 * @throws {BextError} `E_FILE_UNREADABLE`, `E_OVERLOADED` (out of file descriptors).
 */
export async function openInside(root: string, path: string): Promise<OpenFile | undefined> {
  const handle = await open(path, FLAGS).catch((error: NodeJS.ErrnoException) => absentOrThrow(error, path))
  if (handle === undefined) return undefined
  try {
    const stats = await handle.stat()
    if (stats.isFile() && isInside(root, await whereIs(handle, path))) return { handle, stats }
  } catch (error) {
    await handle.close()
    throw error
  }
  await handle.close()
  return undefined
}

/** What a failed file operation means for a client: absent (returned as undefined) or a failure with a code. */
export function absentOrThrow(error: NodeJS.ErrnoException, path: string): undefined {
  switch (error.code) {
    case "ENOENT":
    case "ENOTDIR":
    case "ENAMETOOLONG":
    case "ELOOP":
    case "EISDIR":
    case "ENXIO":
      return undefined
    case "EMFILE":
    case "ENFILE":
      throw new BextError("E_OVERLOADED", "out of file descriptors", { cause: error, headers: [["Retry-After", "1"]] })
    default:
      throw new BextError("E_FILE_UNREADABLE", `cannot read ${path} (${error.code})`, { cause: error })
  }
}

function isInside(root: string, path: string): boolean {
  return path.startsWith(root.endsWith(sep) ? root : root + sep)
}

async function whereIs(handle: FileHandle, path: string): Promise<string> {
  if (process.platform !== "linux") return realpath(path)
  return readlink(`/proc/self/fd/${handle.fd}`).catch(() => realpath(path))
}
