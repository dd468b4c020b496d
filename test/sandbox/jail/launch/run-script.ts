import { readdirSync, readlinkSync } from "node:fs"
import { JailFolder } from "./jail-folder.ts"
import { openLauncher } from "./launchers.ts"

/**
 * A process that was started in another way than tests are. Tells what its descriptors are, and what a script of the shell
 * writes in a jail: run-script.ts FOLDER SCRIPT [what to do without …].
 */
const [folder = "", script = "", ...without] = process.argv.slice(2)

await using launcher = await openLauncher(without as Parameters<typeof openLauncher>[0])
using jails = new JailFolder()
const output = await jails.sh(launcher, script, { folder, limits: { openFiles: 1e6, fileBytes: 1e12 } })
console.log(JSON.stringify({ descriptors: targets(), output }))

function targets(): string[] {
  return readdirSync("/proc/self/fd").flatMap((name) => {
    try {
      return [readlinkSync(`/proc/self/fd/${name}`)]
    } catch {
      return []
    }
  })
}
