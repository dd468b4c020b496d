import assert from "node:assert/strict"
import { once } from "node:events"
import { accessSync, constants, existsSync, mkdirSync } from "node:fs"
import { join } from "node:path"
import { describe, it } from "node:test"
import { ControlGroup } from "../../../../../src/sandbox/jail/launch/cgroups/control-group.ts"
import { findHierarchies } from "../../../../../src/sandbox/jail/launch/cgroups/find-hierarchies.ts"
import { version2Layout } from "../../../../../src/sandbox/jail/launch/cgroups/version-2-layout.ts"
import { runInGroup } from "./run-in-group.ts"

/** Wherever version 2 is mounted, also without controllers beside a version 1 that has them. */
const own = findHierarchies()?.version2?.own
const skip = own === undefined ? "version 2 is not mounted" : !isWritable(own) && `${own} cannot be written`

describe("a group of version 2 without limits, in this machine's kernel", { skip, timeout: 60_000 }, () => {
  function create(): { group: ControlGroup; folder: string } {
    const folder = join(own!, `bext-test-${process.pid}`)
    mkdirSync(folder)
    return { folder, group: new ControlGroup(version2Layout(folder), () => {}) }
  }

  it("is joined by one file, and says the CPU time of what ran in it", async () => {
    const { group, folder } = create()
    const child = runInGroup(group, "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done")
    assert.deepEqual(await once(child, "exit"), [0, null])
    const used = group.cpuMs()
    assert.ok(used > 1, String(used))
    await group.remove()
    assert.ok(!existsSync(folder))
    assert.ok(group.cpuMs() >= used)
  })

  it("ends at once with all that is in it, other sessions too", async () => {
    const { group, folder } = create()
    const child = runInGroup(group, "trap '' TERM; setsid sleep 60 & echo; wait", "pipe")
    await once(child.stdout!, "data")
    group.kill()
    assert.deepEqual(await once(child, "exit"), [null, "SIGKILL"])
    await group.remove()
    assert.ok(!existsSync(folder))
  })

  it("is removed with what is in it", async () => {
    const { group, folder } = create()
    const child = runInGroup(group, "sleep 60 & echo; exec sleep 60", "pipe")
    await once(child.stdout!, "data")
    const exit = once(child, "exit")
    await group.remove()
    assert.ok(!existsSync(folder))
    assert.deepEqual(await exit, [null, "SIGKILL"])
  })
})

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK)
    return true
  } catch {
    return false
  }
}
