import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { closeSync, openSync, readFileSync } from "node:fs"
import { text } from "node:stream/consumers"
import { describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { JailFolder } from "./jail-folder.ts"
import { NO_BUBBLEWRAP } from "./launchers.ts"

const RUN = fileURLToPath(new URL("run-script.ts", import.meta.url))
const LIST = "for fd in /proc/self/fd/*; do readlink $fd; done"

interface Told {
  readonly descriptors: readonly string[]
  readonly output: string
}

describe("what bext was started with", { skip: NO_BUBBLEWRAP }, () => {
  for (const without of ["cgroups", "namespaces"]) {
    it(`keeps open files from programs, without ${without}`, async () => {
      using folder = new JailFolder({ secret: "of the host" })
      const secret = openSync(`${folder.path}/secret`, "r")
      // Where the launcher has its own, right behind, and further up.
      const stdio = [
        "ignore",
        "pipe",
        "inherit",
        ...Array<number>(20).fill(secret),
        ...Array(20).fill("ignore"),
        secret,
      ]
      const host = spawn(process.execPath, [RUN, folder.path, LIST, without], { stdio: stdio as never })
      closeSync(secret)
      assert.ok(host.stdout)
      const { descriptors, output } = JSON.parse(await text(host.stdout)) as Told
      assert.equal(descriptors.filter((target) => target.endsWith("/secret")).length, 21, "the attack is real")
      const foreign = output
        .split("\n")
        .filter((target) => !/^(\/dev\/null|socket:.*|.*\/start-\d+\.\w+ \(deleted\)|\/proc\/.*|)$/.test(target))
      assert.deepEqual(foreign, [])
    })

    it(`bounds programs as bext itself is bounded, without ${without}`, async () => {
      using folder = new JailFolder()
      const bounded = 'ulimit -n 400 && ulimit -f 4096 && umask 077 && exec "$@"'
      const script = "ulimit -n; ulimit -f; umask; touch $TMPDIR/file"
      const args = ["-c", bounded, "sh", process.execPath, RUN, folder.path, script, without]
      const host = spawn("/bin/sh", args, { stdio: ["ignore", "pipe", "inherit"] })
      const { output } = JSON.parse(await text(host.stdout)) as Told
      assert.equal(output, "400\n4096\n0022\n")
    })
  }

  it("is looked for by a flag that this kernel tells", () => {
    const descriptor = openSync("/dev/null", "r")
    assert.match(readFileSync(`/proc/self/fdinfo/${descriptor}`, "utf8"), /^flags:\s+0?2\d{6}$/m)
    closeSync(descriptor)
  })
})
