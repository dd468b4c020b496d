import { readFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { join, posix } from "node:path"

/**
 * CPUs this process may use: those it may be scheduled on, and no more than the CPU quotas of its cgroups allow, rounded
 * up. Node looks at version 2 alone and not beside a mounted version 1, so the files are read here.
 * @param root - Where the file system begins; tests have their own.
 * Source: Linux kernel, Documentation/scheduler/sched-bwc.rst (version 1) and admin-guide/cgroup-v2.rst (`cpu.max`).
 */
export function cpuCount(root = "/"): number {
  return Math.max(1, Math.min(availableParallelism(), Math.ceil(cgroupCpus(root))))
}

/** Quota divided by period, the smallest on the way up. */
function cgroupCpus(root: string): number {
  const memberships = lines(join(root, "proc/self/cgroup"))
  const mounts = lines(join(root, "proc/self/mountinfo")).map(parseMount)
  let cpus = Number.POSITIVE_INFINITY
  for (const membership of memberships) {
    const [, id, controllers, path] = /^(\d+):([^:]*):(.*)$/.exec(membership) ?? []
    if (path === undefined) continue
    const isVersion2 = id === "0" && controllers === ""
    if (!isVersion2 && !controllers!.split(",").includes("cpu")) continue
    const mount = mounts.find(({ type, options }) =>
      isVersion2 ? type === "cgroup2" : type === "cgroup" && options.includes("cpu"),
    )
    if (mount === undefined) continue
    const quota = isVersion2 ? quotaOfVersion2 : quotaOfVersion1
    for (const folder of upwards(mount, path)) cpus = Math.min(cpus, quota(join(root, folder)))
  }
  return cpus
}

interface Mount {
  readonly root: string
  readonly point: string
  readonly type: string
  readonly options: readonly string[]
}

/** Source: proc_pid_mountinfo(5). */
function parseMount(line: string): Mount {
  const [before = "", after = ""] = line.split(" - ")
  const [, , , root = "", point = ""] = before.split(" ")
  const [type = "", , options = ""] = after.split(" ")
  return { root, point, type, options: options.split(",") }
}

/** The group's folder and those above it, up to where the hierarchy is mounted: in a container that is often its own group. */
function* upwards({ root, point }: Mount, path: string): Generator<string> {
  const inside = path === root || root === "/" || path.startsWith(`${root}/`)
  let below = inside ? posix.relative(root, path) : ""
  while (below !== "" && !below.startsWith("..")) {
    yield posix.join(point, below)
    below = posix.dirname(below) === "." ? "" : posix.dirname(below)
  }
  yield point
}

function quotaOfVersion2(folder: string): number {
  const [quota, period] = (lines(join(folder, "cpu.max"))[0] ?? "").split(" ").map(Number)
  return toCpus(quota, period)
}

function quotaOfVersion1(folder: string): number {
  const [quota] = lines(join(folder, "cpu.cfs_quota_us")).map(Number)
  const [period] = lines(join(folder, "cpu.cfs_period_us")).map(Number)
  return toCpus(quota, period)
}

/** No quota is "max" in version 2, -1 in version 1, and no file in the root group. */
function toCpus(quota: number | undefined, period: number | undefined): number {
  return quota !== undefined && period !== undefined && quota > 0 && period > 0
    ? quota / period
    : Number.POSITIVE_INFINITY
}

/** None when the file is not there: another system than Linux, or a controller that is off. */
function lines(file: string): string[] {
  try {
    return readFileSync(file, "utf8").split("\n").filter(Boolean)
  } catch {
    return []
  }
}
