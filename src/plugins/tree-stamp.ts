import { createHash } from "node:crypto"
import { lstatSync, readdirSync, readlinkSync } from "node:fs"
import { join } from "node:path"

/** Files and folders of one plugin that are looked at. */
const MAX_PLACES = 2_000
const MAX_DEPTH = 32

/** What tools put beside a plugin's files: history, caches and packages, which have thousands of files. */
export const LEFT_OUT: ReadonlySet<string> = new Set([
  ".git",
  ".hg",
  ".svn",
  "node_modules",
  "__pycache__",
  ".venv",
  "venv",
  ".bundle",
])

/**
 * Differs after every change below a folder: of a file, of where a link leads, of what is there. `.git`, `node_modules`,
 * Python's virtual environments and caches are left out.
 * @returns null when there is too much to look at.
 */
export function treeStampOf(folder: string): string | null {
  const hash = createHash("sha256")
  const walk = { places: 0, note: (line: string) => void hash.update(`${line}\0`) }
  return visit(folder, "", 0, walk) ? hash.digest("hex") : null
}

interface Walk {
  places: number
  note(line: string): void
}

/** @returns false: it goes too far. */
function visit(root: string, path: string, depth: number, walk: Walk): boolean {
  if (depth > MAX_DEPTH) return false
  for (const name of namesIn(join(root, path))) {
    if (LEFT_OUT.has(name)) continue
    if (++walk.places > MAX_PLACES) return false
    const inner = join(path, name)
    walk.note(inner)
    walk.note(stampOfEntry(join(root, inner)))
    if (isFolder(join(root, inner)) && !visit(root, inner, depth + 1, walk)) return false
  }
  return true
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort()
  } catch (error) {
    return [String((error as NodeJS.ErrnoException).code)]
  }
}

/** Links are not followed: what they lead to, when it is in the folder, has a name of its own. */
function stampOfEntry(path: string): string {
  try {
    const stats = lstatSync(path, { bigint: true })
    if (stats.isSymbolicLink()) return `link ${readlinkSync(path)}`
    // A folder's times say no more than its names do.
    if (stats.isDirectory()) return `folder ${stats.mode}`
    const { dev, ino, mode, size, mtimeNs, ctimeNs } = stats
    return [dev, ino, mode, size, mtimeNs, ctimeNs].join(" ")
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code)
  }
}

function isFolder(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}
