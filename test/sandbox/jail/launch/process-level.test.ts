import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { JailFolder } from "./jail-folder.ts"
import { IS_ROOT, NOT_ROOT, openLauncher } from "./launchers.ts"
import { cgroupsOf, descendantsOf, openDescriptors, processesWith, until } from "./traces.ts"

const PATH = "/usr/local/bin:/usr/bin:/bin"
const HOLD = fileURLToPath(new URL("hold-jails.ts", import.meta.url))

/** A child that leaves the session, as a daemon does. */
const DAEMON = `
import os, sys, time
left, leaving = os.pipe()
if os.fork() == 0:
    os.setsid()
    os.close(leaving)
    while True: time.sleep(1)
os.close(leaving)
os.read(left, 1)
print("started", flush=True)
`
const FOREVER = "while True: time.sleep(1)\n"

for (const without of [["namespaces"], ["namespaces", "cgroups"]] as const) {
  describe(`a program at level process, without ${without.join(" and ")}`, {
    skip: process.platform !== "linux",
  }, () => {
    it("has an environment of its own and its folder as the current one", async () => {
      process.env.BEXT_TEST_SECRET = "of the host"
      using folder = new JailFolder()
      await using launcher = await openLauncher(without, folder.path)
      assert.equal(launcher.isolation.level, "process")
      const { stdout } = await folder.run(launcher, ["/usr/bin/env"], { env: { THRESHOLD: "80" } })
      const plain = await folder.run(launcher, ["/usr/bin/env"])
      delete process.env.BEXT_TEST_SECRET
      const [, home = ""] = /^HOME=(.*)$/m.exec(stdout) ?? []
      assert.deepEqual(stdout.trim().split("\n").sort(), [
        `HOME=${home}`,
        "LANG=C.UTF-8",
        `PATH=${PATH}`,
        `PWD=${folder.path}`,
        "PYTHONDONTWRITEBYTECODE=1",
        `PYTHONPATH=${folder.path}`,
        "THRESHOLD=80",
        `TMPDIR=${home}`,
      ])
      const names = plain.stdout
        .trim()
        .split("\n")
        .map((line) => line.split("=")[0])
      assert.deepEqual(names.sort(), ["HOME", "LANG", "PATH", "PWD", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "TMPDIR"])
      assert.equal(await folder.sh(launcher, "pwd"), `${folder.path}\n`)
      assert.match(home, /bext-jail-/)
      assert.equal(existsSync(home), false, "temporary files are gone with the program")
    })

    it("leaves none of its temporary files, and takes nothing else with them", async () => {
      using folder = new JailFolder({ kept: "" })
      await using launcher = await openLauncher(without)
      const script = `mkdir -m 0 $TMPDIR/closed; mkdir $TMPDIR/a; ln -s ${folder.path} $TMPDIR/a/link; echo $TMPDIR`
      const home = (await folder.sh(launcher, script)).trim()
      assert.equal(existsSync(home), false)
      assert.deepEqual(readdirSync(folder.path), ["kept"])
    })

    it("finds what the jail calls /plugin and /data where that is", async () => {
      using folder = new JailFolder({ main: '#!/bin/sh\necho "$1" "$2"; cat "$1"; echo 1 > "$BEXT_DATA/made"' })
      writeFileSync(join(folder.path, "file"), "content\n")
      const dataFolder = `${folder.path}-data`
      await using launcher = await openLauncher(without)
      const { stdout } = await folder.run(launcher, ["/plugin/main", "/plugin/file", "/data"], { dataFolder })
      assert.equal(stdout, `${folder.path}/file ${dataFolder}\ncontent\n`)
      assert.deepEqual(readdirSync(dataFolder), ["made"])
      assert.equal(statSync(dataFolder).mode & 0o777, 0o700)
      rmSync(dataFolder, { recursive: true })
    })

    it("may have a path that would be taken for a variable", async () => {
      using folder = new JailFolder()
      mkdirSync(join(folder.path, "a=b"))
      folder.write("a=b/main", "#!/bin/sh\necho $1")
      await using launcher = await openLauncher(without)
      assert.equal((await folder.run(launcher, ["/plugin/a=b/main", "ran"])).stdout, "ran\n")
    })

    it("is never root, and has limits", async () => {
      using folder = new JailFolder()
      await using launcher = await openLauncher(without)
      const script = "id -u; umask; ulimit -n; ulimit -f; ulimit -c; ulimit -d"
      const limits = { openFiles: 40, fileBytes: 2 ** 20, memoryBytes: 2 ** 26 }
      const uid = IS_ROOT ? "65534" : String(process.getuid?.())
      const data = launcher.isolation.cgroups === "none" ? "65536" : "unlimited"
      assert.equal(await folder.sh(launcher, script, { limits }), `${uid}\n0022\n40\n2048\n0\n${data}\n`)
    })

    it("ends with what it started and still has it for a parent, also what left its session", async () => {
      using folder = new JailFolder()
      await using launcher = await openLauncher(without)
      const mark = `process-killed-${process.pid}`
      const descriptors = openDescriptors().length
      const before = descendantsOf(process.pid)
      const jail = await folder.launch(launcher, ["python3", "-c", DAEMON + FOREVER, mark])
      await once(jail.stdout, "data")
      assert.equal(processesWith(mark).length, 2)
      assert.ok(jail.memoryBytes() > 2 ** 20)
      jail.kill()
      assert.equal((await jail.exited).signal, "SIGKILL")
      assert.ok(await until(() => processesWith(mark).length === 0))
      assert.deepEqual(descendantsOf(process.pid), before)
      assert.equal(openDescriptors().length, descriptors)
    })

    it("takes a daemon with it only where there is a cgroup", async () => {
      using folder = new JailFolder()
      await using launcher = await openLauncher(without)
      const mark = `process-daemon-${process.pid}`
      const jail = await folder.launch(launcher, ["python3", "-c", DAEMON, mark])
      jail.stdout.resume()
      // Over, though the daemon has its streams.
      assert.equal((await jail.exited).code, 0)
      const left = processesWith(mark)
      for (const pid of left) process.kill(pid, "SIGKILL")
      assert.equal(left.length, launcher.isolation.cgroups === "none" ? 1 : 0)
    })
  })
}

describe("a program at level process whose bext was killed", { skip: process.platform !== "linux" }, () => {
  it("sees the end of its input, and is ended when bext is there again", { skip: NOT_ROOT }, async (t) => {
    using folder = new JailFolder()
    await using launcher = await openLauncher(["namespaces"])
    if (launcher.isolation.cgroups === "none") return t.skip(launcher.isolation.missing.join("; "))
    const mark = `process-orphaned-${process.pid}`
    const host = spawn(process.execPath, [HOLD, folder.path, DAEMON + FOREVER, mark, "namespaces"], {
      stdio: ["ignore", "pipe", "inherit"],
    })
    await once(host.stdout, "data")
    const pid = host.pid ?? 0
    host.kill("SIGKILL")
    await once(host, "exit")
    assert.equal(processesWith(mark).length, 4)
    await using _ = await openLauncher(["namespaces"])
    assert.ok(await until(() => processesWith(mark).length === 0))
    assert.deepEqual(cgroupsOf(pid), [])
  })
})

it("temporary folders of launchers are gone with them", () => {
  const left = readdirSync(tmpdir()).filter((name) => name.startsWith(`bext-jail-${process.pid}-`))
  assert.deepEqual(left, [])
})
