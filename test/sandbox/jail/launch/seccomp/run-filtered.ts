import { type SpawnSyncReturns, spawnSync } from "node:child_process"
import { closeSync, openSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { seccompFilter } from "../../../../../src/sandbox/jail/launch/seccomp/seccomp-filter.ts"
import { BUBBLEWRAP, findProgram } from "../../../../support/programs.ts"

const NAMESPACES = ["--unshare-all", "--unshare-user", "--die-with-parent", "--cap-drop", "ALL", "--clearenv"]
/** What is run is in this checkout, which may be below /tmp. */
const CHECKOUT = join(import.meta.dirname, "../../../../..")
const FILES = [
  ...["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/dev/shm"],
  ...["--ro-bind", CHECKOUT, CHECKOUT],
]

/**
 * Runs a program in namespaces of its own, under this machine's filter or without one.
 * @param folder - A temporary one, which the program sees as /mnt.
 */
export function runIsolated(folder: string, command: readonly string[], filtered: boolean): SpawnSyncReturns<string> {
  const filter = join(folder, "filter")
  writeFileSync(filter, seccompFilter(process.arch))
  const descriptor = openSync(filter, "r")
  const args = [...NAMESPACES, ...FILES, "--bind", folder, "/mnt", "--chdir", "/mnt"]
  try {
    return spawnSync(findProgram(BUBBLEWRAP)!, [...args, ...(filtered ? ["--seccomp", "3"] : []), "--", ...command], {
      stdio: ["ignore", "pipe", "pipe", descriptor],
      encoding: "utf8",
      timeout: 60_000,
      killSignal: "SIGKILL",
    })
  } finally {
    closeSync(descriptor)
  }
}
