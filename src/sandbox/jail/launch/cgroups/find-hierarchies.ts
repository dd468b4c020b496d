import { readFileSync } from "node:fs"
import { join, posix } from "node:path"

/** Where this process stands in the control groups that are mounted. */
export interface Hierarchies {
  /** Null when that is not mounted. */
  readonly version2: Position | null
  /** By controller. */
  readonly version1: ReadonlyMap<string, Position>
}

/** Absolute paths. */
export interface Position {
  /** Where the hierarchy is mounted. */
  readonly top: string
  /** Folder of the process's group: `top`, or below it. */
  readonly own: string
}

/**
 * @param processFolder - Tests have their own.
 * @returns Null on a system that has no control groups.
 * Source: cgroups(7) (/proc/PID/cgroup), proc_pid_mountinfo(5).
 */
export function findHierarchies(processFolder = "/proc/self"): Hierarchies | null {
  const mounts = linesOf(join(processFolder, "mountinfo"))?.map(parseMount)
  const memberships = linesOf(join(processFolder, "cgroup"))?.map(parseMembership)
  if (mounts === undefined || memberships === undefined) return null
  let version2: Position | null = null
  const version1 = new Map<string, Position>()
  for (const { controllers, path } of memberships) {
    if (controllers.length === 0) {
      version2 = positionIn(mounts, path, ({ type }) => type === "cgroup2")
      continue
    }
    for (const controller of controllers) {
      const has = ({ type, options }: Mount) => type === "cgroup" && options.includes(controller)
      const position = positionIn(mounts, path, has)
      if (position !== null) version1.set(controller, position)
    }
  }
  return { version2, version1 }
}

interface Mount {
  /** The group that is seen at `point`. */
  readonly root: string
  readonly point: string
  readonly type: string
  readonly options: readonly string[]
}

interface Membership {
  /** None: version 2. */
  readonly controllers: readonly string[]
  readonly path: string
}

function parseMount(line: string): Mount {
  const [before = "", after = ""] = line.split(" - ")
  const [, , , root = "", point = ""] = before.split(" ")
  const [type = "", , options = ""] = after.split(" ")
  return { root: decodePath(root), point: decodePath(point), type, options: options.split(",") }
}

/** Blanks and backslashes are written as three octal digits. */
function decodePath(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}

/** `4:memory:/app` or `0::/app`; controllers may be several, a path may have colons. */
function parseMembership(line: string): Membership {
  const [, controllers = "", ...path] = line.split(":")
  return { controllers: controllers.split(",").filter(Boolean), path: path.join(":") }
}

/**
 * In a container, the mount often begins at the group of the container. A group that is not below it cannot be seen, nor can one
 * that is told from another namespace, as "/../other".
 */
function positionIn(mounts: readonly Mount[], path: string, suits: (mount: Mount) => boolean): Position | null {
  if (path.split("/").includes("..")) return null
  for (const { root, point } of mounts.filter(suits)) {
    if (path === root) return { top: point, own: point }
    const above = root === "/" ? "/" : `${root}/`
    if (path.startsWith(above)) return { top: point, own: posix.join(point, path.slice(above.length)) }
  }
  return null
}

function linesOf(file: string): string[] | undefined {
  try {
    return readFileSync(file, "utf8").split("\n").filter(Boolean)
  } catch {
    return undefined
  }
}
