import { statSync } from "node:fs"
import { treeStampOf } from "./tree-stamp.ts"

/** Paths that are remembered: more than any plugin has, fewer than one can ask for. */
const MAX_PATHS = 2_000

/** What a set of paths led to when each was noted: tells whether anything there has changed. With too many of them it always has. */
export class FileStamps {
  readonly #stamps = new Map<string, string>()
  readonly #trees = new Map<string, string>()
  #tooMany = false

  /** Call it before the file is read: a change while it is read counts then. */
  note(path: string): void {
    if (this.#stamps.has(path)) return
    if (this.#stamps.size === MAX_PATHS) this.#tooMany = true
    else this.#stamps.set(path, stampOf(path))
  }

  /** Everything below a folder, see `treeStampOf`. */
  noteTree(folder: string): void {
    const stamp = treeStampOf(folder)
    if (stamp === null) this.#tooMany = true
    else this.#trees.set(folder, stamp)
  }

  unchanged(): boolean {
    if (this.#tooMany) return false
    for (const [folder, stamp] of this.#trees) if (treeStampOf(folder) !== stamp) return false
    for (const [path, stamp] of this.#stamps) if (stampOf(path) !== stamp) return false
    return true
  }
}

/** Differs after every change of the file, of where a link leads, and of whether there is a file at all. */
export function stampOf(path: string): string {
  try {
    const stats = statSync(path, { bigint: true, throwIfNoEntry: false })
    // A folder's times say what else was put into it.
    if (stats === undefined || !stats.isFile()) return "no file"
    const { dev, ino, size, mtimeNs, ctimeNs } = stats
    return [dev, ino, size, mtimeNs, ctimeNs].join(" ")
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code)
  }
}
