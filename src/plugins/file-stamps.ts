import { statSync } from "node:fs"

/** What a set of paths led to when each was noted: tells whether anything there has changed. */
export class FileStamps {
  readonly #stamps = new Map<string, string>()

  /** Call it before the file is read: a change while it is read counts then. */
  note(path: string): void {
    if (!this.#stamps.has(path)) this.#stamps.set(path, stampOf(path))
  }

  unchanged(): boolean {
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
