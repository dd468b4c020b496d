import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { closeSync, openSync, readFileSync } from "node:fs"
import { text } from "node:stream/consumers"
import { describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { JailFolder } from "./jail-folder.ts"
import { NO_BUBBLEWRAP } from "./launchers.ts"

const LIST = fileURLToPath(new URL("list-descriptors.ts", import.meta.url))

describe("descriptors that bext was started with", { skip: NO_BUBBLEWRAP }, () => {
  for (const without of ["cgroups", "namespaces"]) {
    it(`are nothing to a program without ${without}`, async () => {
      using folder = new JailFolder({ secret: "of the host" })
      const secret = openSync(`${folder.path}/secret`, "r")
      // Where the launcher has its own, right behind, and further up.
      const stdio = ["ignore", "pipe", "inherit", ...Array<number>(8).fill(secret), ...Array(20).fill("ignore"), secret]
      const host = spawn(process.execPath, [LIST, folder.path, without], { stdio: stdio as never })
      closeSync(secret)
      assert.ok(host.stdout)
      const { host: given, program } = JSON.parse(await text(host.stdout)) as Record<"host" | "program", string[]>
      assert.equal(given?.filter((target) => target.endsWith("/secret")).length, 9, "the attack is real")
      assert.deepEqual(
        program?.filter((target) => !/^(\/dev\/null|socket:|\/proc\/)/.test(target)),
        [],
      )
    })
  }

  it("are looked for by a flag that this kernel tells", () => {
    const descriptor = openSync("/dev/null", "r")
    assert.match(readFileSync(`/proc/self/fdinfo/${descriptor}`, "utf8"), /^flags:\s+0?2\d{6}$/m)
    closeSync(descriptor)
  })
})
