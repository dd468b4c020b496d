import { type FSWatcher, readdirSync, statSync, watch } from "node:fs"
import { dirname, join } from "node:path"
import { stampOf } from "../plugins/file-stamps.ts"
import { LEFT_OUT } from "../plugins/tree-stamp.ts"

/** Editors write a file in several steps, and many files at once: they count as one change. */
const SETTLE_MS = 100
/** What the system does not report (network file systems, folders that are not there yet) is found by looking. */
const LOOK_MS = 1_000
/** Files and folders; a path that leads to the root of a disk by mistake must not cost more. */
const MAX_PLACES = 4_000
const MAX_DEPTH = 16

/** Tells what changed below some files and folders, whether by writing, renaming, deleting or creating. */
export class FileWatcher implements Disposable {
  readonly #changed: (files: readonly string[]) => void
  readonly #watchers = new Map<string, FSWatcher>()
  readonly #looking: NodeJS.Timeout
  #paths: readonly string[] = []
  #stamps: ReadonlyMap<string, string> = new Map()
  #settling: NodeJS.Timeout | undefined

  /** @param changed - Gets absolute paths, at least one. */
  constructor(changed: (files: readonly string[]) => void) {
    this.#changed = changed
    this.#looking = setInterval(() => this.#look(), LOOK_MS)
  }

  /**
   * Watches these and no others. What changed before this call is not reported.
   * @param paths - Absolute; a folder stands for all in it but what `LEFT_OUT` names and what begins with a dot. They may be missing.
   */
  watch(paths: readonly string[]): void {
    const known = new Set(this.#paths)
    this.#paths = paths
    const before = this.#stamps
    const found = scan(paths)
    // What was watched already may have changed since the last look; that is not forgotten.
    const isNew = (file: string) =>
      !paths.some((path) => known.has(path) && (file === path || file.startsWith(`${path}/`)))
    this.#stamps = new Map(
      [...found.files].map(([file, stamp]) => [file, isNew(file) ? stamp : (before.get(file) ?? "new")]),
    )
    this.#follow(found.folders)
    this.#soon()
  }

  [Symbol.dispose](): void {
    clearInterval(this.#looking)
    clearTimeout(this.#settling)
    this.#follow(new Set())
  }

  #soon(): void {
    clearTimeout(this.#settling)
    this.#settling = setTimeout(() => this.#look(), SETTLE_MS)
  }

  #look(): void {
    const { files, folders } = scan(this.#paths)
    const before = this.#stamps
    this.#stamps = files
    this.#follow(folders)
    const changed = [...new Set([...files.keys(), ...before.keys()])].filter(
      (file) => files.get(file) !== before.get(file),
    )
    if (changed.length > 0) this.#changed(changed)
  }

  #follow(folders: ReadonlySet<string>): void {
    for (const [folder, watcher] of this.#watchers) if (!folders.has(folder)) this.#drop(folder, watcher)
    for (const folder of folders) {
      if (this.#watchers.has(folder)) continue
      try {
        const watcher = watch(folder, () => this.#soon())
        watcher.on("error", () => this.#drop(folder, watcher))
        this.#watchers.set(folder, watcher)
      } catch {
        // Gone meanwhile, or the system has no more watches: looking finds the change.
      }
    }
  }

  #drop(folder: string, watcher: FSWatcher): void {
    if (this.#watchers.get(folder) === watcher) this.#watchers.delete(folder)
    watcher.close()
  }
}

interface Found {
  readonly files: Map<string, string>
  /** Those whose contents matter. */
  readonly folders: Set<string>
}

function scan(paths: readonly string[]): Found {
  const found: Found = { files: new Map(), folders: new Set() }
  for (const path of paths) visit(path, found, 0)
  return found
}

function visit(path: string, found: Found, depth: number): void {
  if (found.files.size + found.folders.size >= MAX_PLACES || depth > MAX_DEPTH) return
  if (!isFolder(path)) {
    found.files.set(path, stampOf(path))
    if (depth === 0) found.folders.add(dirname(path))
    return
  }
  found.folders.add(path)
  // A folder that is moved away is noticed from the one around it.
  if (depth === 0) found.folders.add(dirname(path))
  for (const name of namesIn(path)) visit(join(path, name), found, depth + 1)
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => !name.startsWith(".") && !LEFT_OUT.has(name))
  } catch {
    return []
  }
}

function isFolder(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
  } catch {
    return false
  }
}
