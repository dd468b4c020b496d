import { readdirSync, readFileSync } from "node:fs"

/** O_CLOEXEC of Linux, as the `flags:` line of /proc/PID/fdinfo/N has it (proc_pid_fdinfo(5)). */
const O_CLOEXEC = 0o2000000

/**
 * Descriptors above 2 that every child of this process would get although nobody gives them: those that bext itself was
 * started with. Node opens none of that kind.
 */
export function inheritedDescriptors(): number[] {
  return descriptors()
    .filter((descriptor) => descriptor > 2 && !closesOnExec(descriptor))
    .sort((a, b) => a - b)
}

function descriptors(): number[] {
  try {
    return readdirSync("/proc/self/fdinfo").map(Number)
  } catch {
    // No /proc, as on macOS: what cannot be seen cannot be covered.
    return []
  }
}

function closesOnExec(descriptor: number): boolean {
  try {
    const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, "utf8"))?.[1] ?? "0"
    return (Number.parseInt(flags, 8) & O_CLOEXEC) !== 0
  } catch {
    // Closed meanwhile: the one of reading the folder.
    return true
  }
}
