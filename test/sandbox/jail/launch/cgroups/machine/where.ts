/** Says, in one line of JSON, what control groups this process finds, and which it is in then. */
import { readFileSync } from "node:fs"
import { openCgroups } from "../../../../../../src/sandbox/jail/launch/cgroups/open-cgroups.ts"

await using cgroups = await openCgroups()
const { version, reason } = cgroups
const own = readFileSync("/proc/self/cgroup", "utf8").trim()
console.log(`found ${JSON.stringify({ version, reason, own })}`)
