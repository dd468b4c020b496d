/** Launches a jail on version 2 that takes too much memory, and says in one line of JSON how it was isolated and how it ended. */
import { chmodSync, mkdtempSync } from "node:fs"
import { createJailLauncher } from "../../../../../../src/sandbox/jail/launch/create-jail-launcher.ts"

await using launcher = await createJailLauncher({ sdkFolder: null })
const MIB = 2 ** 20
const limits = { memoryBytes: 32 * MIB, cpus: 1, pids: 16, openFiles: 64, fileBytes: MIB, tmpBytes: MIB }
const folder = mkdtempSync("/tmp/plugin-")
chmodSync(folder, 0o755)
const command = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"]
const jail = await launcher.launch({
  name: "hog",
  command,
  folder,
  dataFolder: null,
  readOnlyPaths: [],
  env: {},
  limits,
})
jail.stdout.resume()
jail.stderr.pipe(process.stderr)
const exit = await jail.exited
console.log(`found ${JSON.stringify({ isolation: launcher.isolation, exit, cpuMs: jail.cpuMs() })}`)
