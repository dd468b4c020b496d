import { randomUUID } from "node:crypto"
import {
  closeSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs"
import { basename, dirname, join } from "node:path"
import { getSystemErrorMessage } from "node:util"
import { BextError } from "../errors.ts"
import { readText } from "./read-text.ts"

/**
 * Puts a new text into an existing file, all of it or nothing, also when the machine stops in the middle. Links are
 * followed; mode and owner stay.
 * @param before - What the file held when `after` was made from it.
 * @throws {BextError} `E_CONFIG_EDIT`: somebody else changed the file since; `E_FILE_UNREADABLE`: it cannot be written.
 */
export function replaceText(file: string, before: string, after: string): void {
  if (readText(file, "E_CONFIG_NOT_FOUND") !== before) {
    throw new BextError("E_CONFIG_EDIT", `${file} was changed by somebody else in this moment; try again`)
  }
  const target = realpathSync(file)
  const temporary = join(dirname(target), `.${basename(target)}.${randomUUID()}`)
  try {
    writeLike(target, temporary, after)
    renameSync(temporary, target)
    syncFolder(dirname(target))
  } catch (error) {
    rmSync(temporary, { force: true })
    const { errno } = error as NodeJS.ErrnoException
    const reason = errno === undefined ? "unknown reason" : getSystemErrorMessage(errno)
    throw new BextError("E_FILE_UNREADABLE", `cannot write ${file}: ${reason}`, { cause: error })
  }
}

function writeLike(model: string, file: string, text: string): void {
  const { mode, uid, gid } = statSync(model)
  const descriptor = openSync(file, "wx", 0o600)
  try {
    writeFileSync(descriptor, text)
    if (process.getuid?.() === 0) fchownSync(descriptor, uid, gid)
    fchmodSync(descriptor, mode & 0o7777)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/** Makes the new name last. */
function syncFolder(folder: string): void {
  const descriptor = openSync(folder, "r")
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}
