import { readdirSync, readlinkSync } from "node:fs"
import { JailFolder } from "./jail-folder.ts"
import { openLauncher } from "./launchers.ts"

/** What this process was given, and what a program it launches has: list-descriptors.ts FOLDER [what to do without …]. */
const [folder = "", ...without] = process.argv.slice(2)

await using launcher = await openLauncher(without as Parameters<typeof openLauncher>[0])
using jails = new JailFolder()
const list = "for fd in /proc/self/fd/*; do readlink $fd; done"
const program = await jails.sh(launcher, list, { folder })
console.log(JSON.stringify({ host: targets(), program: program.trim().split("\n") }))

function targets(): string[] {
  return readdirSync("/proc/self/fd").flatMap((name) => {
    try {
      return [readlinkSync(`/proc/self/fd/${name}`)]
    } catch {
      return []
    }
  })
}
