import assert from "node:assert/strict"
import { once } from "node:events"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { after, it } from "node:test"
import { openCgroups } from "../../../../../src/sandbox/jail/launch/cgroups/open-cgroups.ts"
import { findProgram, missing, PYTHON } from "../../../../support/programs.ts"
import { runInGroup } from "./run-in-group.ts"

const MIB = 2 ** 20

const groups = await openCgroups()
after(() => groups[Symbol.asyncDispose]())

const skip = groups.reason ?? missing(PYTHON)
it(`between sockets, a group has bounded memory in this machine's kernel (${groups.version})`, { skip }, async (t) => {
  const group = groups.create("test", { memoryBytes: 64 * MIB, pids: 8, cpus: 1 })
  t.after(() => group.remove())
  const program = `${findProgram(PYTHON)} ${join(import.meta.dirname, "fill-sockets.py")}`
  const child = runInGroup(group, `exec ${program}`, "pipe")
  const [output, [code, signal]] = await Promise.all([text(child.stdout!), once(child, "exit")])
  // Version 2 counts it as memory, and may end the program; version 1 takes no more of it.
  if (signal === "SIGKILL") assert.ok(group.oomKills() > 0)
  else assert.deepEqual([code, Number(output) > 0, Number(output) < 16 * MIB], [0, true, true], output)
})
