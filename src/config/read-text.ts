import { readFileSync } from "node:fs"
import { getSystemErrorMessage } from "node:util"
import { BextError, type ErrorCode } from "../errors.ts"

/**
 * A file as text.
 * @param absent - The code when there is no such file.
 * @throws {BextError} `absent`, or `E_FILE_UNREADABLE` (no permission, a folder, not UTF-8).
 */
export function readText(file: string, absent: ErrorCode): string {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(file)
  } catch (error) {
    const { code, errno } = error as NodeJS.ErrnoException
    if (code === "ENOENT" || code === "ENOTDIR")
      throw new BextError(absent, `there is no file ${file}`, { cause: error })
    const reason = errno === undefined ? "unknown reason" : getSystemErrorMessage(errno)
    throw new BextError("E_FILE_UNREADABLE", `cannot read ${file}: ${reason}`, { cause: error })
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes)
  } catch (error) {
    throw new BextError("E_FILE_UNREADABLE", `${file} is not UTF-8 text`, { cause: error })
  }
}
