import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { subscribe, unsubscribe } from "node:diagnostics_channel"
import { once } from "node:events"
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { Worker } from "node:worker_threads"
import { JailFolder } from "./jail-folder.ts"
import { IS_ROOT, NO_BUBBLEWRAP, NOT_ROOT, openLauncher } from "./launchers.ts"
import { childrenOf, processesWith, until } from "./traces.ts"

describe("a launcher", { skip: NO_BUBBLEWRAP }, () => {
  it("finds out what the machine offers by doing it, and says what is missing and what to do", async () => {
    await using all = await openLauncher()
    await using noCgroups = await openLauncher(["cgroups"])
    await using noNamespaces = await openLauncher(["namespaces", "cgroups"])
    assert.equal(all.isolation.level, all.isolation.cgroups === "none" ? "namespaces" : "full")
    assert.equal(all.isolation.missing.length, all.isolation.level === "full" ? 0 : 1)
    assert.equal(all.isolation.root, IS_ROOT)
    assert.equal(all.isolation.refused, null)
    assert.equal(noCgroups.isolation.level, "namespaces")
    assert.match(noCgroups.isolation.missing.join(), /^no control groups bound memory, processes and CPU/)
    assert.equal(noNamespaces.isolation.level, "process")
    assert.equal(noNamespaces.isolation.missing.length, 2)
  })

  it("names the package when bubblewrap is missing, and refuses to do without when it is root", async () => {
    using folder = new JailFolder()
    await using launcher = await openLauncher(["bubblewrap"])
    const { level, missing, refused } = launcher.isolation
    assert.equal(level, "process")
    assert.match(missing[0] ?? "", /install the package bubblewrap/)
    if (!IS_ROOT) return assert.equal(refused, null)
    assert.match(refused ?? "", /install the package bubblewrap/)
    await assert.rejects(folder.run(launcher, ["true"]), { message: refused ?? "" })
  })

  it("starts in the main thread alone, with which the kernel ends its jails", async () => {
    const launcher = new URL("../../../../src/sandbox/jail/launch/create-jail-launcher.ts", import.meta.url)
    const code = `import(${JSON.stringify(launcher.href)}).then(async ({ createJailLauncher }) => {
      const { parentPort } = await import("node:worker_threads")
      await createJailLauncher({ sdkFolder: null }).catch((error) => parentPort.postMessage(error.message))
    })`
    const worker = new Worker(code, { eval: true })
    const [message] = await new Promise<unknown[]>((resolve) => worker.once("message", (...said) => resolve(said)))
    assert.match(String(message), /main thread/)
    await worker.terminate()
  })

  it("leaves no file and launches nothing more when it is disposed of", async () => {
    using folder = new JailFolder()
    const before = ownFolders()
    const launcher = await openLauncher()
    assert.equal(ownFolders().length, before.length + 1)
    const running = await folder.launch(launcher, ["sleep", "60"])
    const refused = assert.rejects(folder.launch(launcher, ["sleep", "60"]), /closed/)
    await launcher[Symbol.asyncDispose]()
    assert.equal((await running.exited).code, 137)
    await refused
    await assert.rejects(folder.launch(launcher, ["true"]), /closed/)
    assert.deepEqual(ownFolders(), before)
  })
})

describe("the shell that starts programs", { skip: NO_BUBBLEWRAP }, () => {
  it("takes its programs with it when it is killed, and another takes its place", async () => {
    using folder = new JailFolder()
    await using launcher = await openLauncher()
    const mark = `shell-${process.pid}`
    const jail = await folder.launch(launcher, ["sh", "-c", "echo; sleep 60", mark])
    await once(jail.stdout, "data")
    const [shell] = childrenOf(process.pid)
    process.kill(Number(shell), "SIGKILL")
    assert.deepEqual(await jail.exited, { code: null, signal: "SIGKILL", outOfMemory: false })
    assert.ok(await until(() => processesWith(mark).length === 0))
    assert.equal(await folder.sh(launcher, "echo again"), "again\n")
    const [next] = childrenOf(process.pid)
    assert.notEqual(next, shell)
  })

  it("does not keep bext's process from ending", async () => {
    using folder = new JailFolder()
    const run = fileURLToPath(new URL("leave-launcher.ts", import.meta.url))
    const host = spawn(process.execPath, [run, folder.path], { stdio: ["ignore", "pipe", "inherit"] })
    const [said, [code]] = await Promise.all([text(host.stdout), once(host, "exit")])
    assert.deepEqual([said, code], ["ran\n", 0])
    // What it left is removed by the next.
    await using _ = await openLauncher()
    assert.deepEqual(
      readdirSync(tmpdir()).filter((name) => name.startsWith(`bext-jail-${host.pid}-`)),
      [],
    )
  })
})

describe("temporary files of a launcher", { skip: NO_BUBBLEWRAP }, () => {
  it("are written again when a cleaner of old files has taken them", async () => {
    using folder = new JailFolder()
    await using launcher = await openLauncher()
    const [own = ""] = ownFolders()
    rmSync(join(tmpdir(), own, "passwd"))
    assert.match(await folder.sh(launcher, "cat /etc/passwd"), /^plugin:/m)
    rmSync(join(tmpdir(), own), { recursive: true })
    assert.match(await folder.sh(launcher, "cat /etc/passwd"), /^plugin:/m)
  })

  it("are not taken from a folder that somebody else has made in their place", { skip: NOT_ROOT }, async () => {
    using folder = new JailFolder()
    await using launcher = await openLauncher()
    const [own = ""] = ownFolders()
    const path = join(tmpdir(), own)
    rmSync(path, { recursive: true })
    mkdirSync(path)
    chownSync(path, 65534, 65534)
    await assert.rejects(folder.run(launcher, ["true"]), /is not bext's any more/)
    rmSync(path, { recursive: true })
  })

  it("are not where programs cannot read them, which is said", { skip: NOT_ROOT }, async () => {
    using folder = new JailFolder()
    chmodSync(folder.path, 0o700)
    const before = process.env.TMPDIR
    process.env.TMPDIR = folder.path
    await assert.rejects(openLauncher(), /TMPDIR.* run chmod o\+x/)
    if (before === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = before
    assert.deepEqual(readdirSync(folder.path), [])
  })
})

describe("a launch as root", () => {
  it("mounts by root what lies behind folders that keep programs out, which stay closed in the jail", {
    skip: NOT_ROOT || NO_BUBBLEWRAP,
  }, async () => {
    using outer = new JailFolder()
    const home = join(outer.path, "home")
    for (const name of ["site", "data", "sdk", "shown"]) mkdirSync(join(home, name), { recursive: true })
    writeFileSync(join(home, "site", "file"), "of the plugin")
    writeFileSync(join(home, "shown", "file"), "of the operator")
    writeFileSync(join(home, "secret"), "of nobody else", { mode: 0o644 })
    chmodSync(home, 0o700)
    await using launcher = await openLauncher([], join(home, "sdk"))
    const script = `cat /plugin/file ${home}/shown/file; echo x > /data/mine && ls /data; cat ${home}/secret || ls ${home}; id -u; grep -E "^(CapEff|CapBnd|NoNewPrivs|Seccomp):" /proc/self/status`
    const { stdout, stderr } = await outer.run(launcher, ["sh", "-c", script], {
      folder: join(home, "site"),
      dataFolder: join(home, "data"),
      readOnlyPaths: [join(home, "shown")],
    })
    const lines = stdout.trim().split(/\s+/).join(" ")
    assert.match(lines, /^of the pluginof the operatormine shown 65534 /, stderr)
    assert.match(lines, /CapBnd: 0+ CapEff: 0+|CapEff: 0+ CapBnd: 0+/)
    assert.match(lines, /NoNewPrivs: 1 Seccomp: 2/)
  })
})

describe("a launch fails and says what to do", { skip: NO_BUBBLEWRAP }, () => {
  const fails = (title: string, expected: RegExp, command: readonly string[], prepare = (_: JailFolder) => {}) =>
    it(title, async () => {
      using folder = new JailFolder({ "main.py": "#!/usr/bin/python3\n" })
      prepare(folder)
      await using launcher = await openLauncher()
      await assert.rejects(folder.run(launcher, command), (error: Error) => {
        assert.match(error.message.replaceAll(folder.path, "FOLDER"), expected)
        return true
      })
    })

  fails("when there is no such entry", /^there is no \/plugin\/none\.py, which is FOLDER\/none\.py$/, [
    "/plugin/none.py",
  ])
  fails(
    "when the entry is not executable",
    /run chmod \+x FOLDER\/main\.py, or name an interpreter/,
    ["./main.py"],
    (folder) => chmodSync(join(folder.path, "main.py"), 0o644),
  )
  fails("when the entry is a folder", /^\/plugin\/src is not a file$/, ["/plugin/src"], (folder) =>
    mkdirSync(join(folder.path, "src")),
  )
  fails(
    "when an interpreter is not where it is looked for",
    /^perl7 is in none of .*\/usr\/local\/bin:\/usr\/bin:\/bin/,
    ["perl7", "main.pl"],
  )
  fails("when the entry is outside of the jail", /^\/var\/lib .*read-only paths/, ["/var/lib"])
  fails(
    "when the entry leads outside",
    /^\/plugin\/link leads to \/etc\/hostname, not in the jail/,
    ["/plugin/link"],
    (folder) => symlinkSync("/etc/hostname", join(folder.path, "link")),
  )
  fails(
    "when the first line names a program that is not there",
    /^the first line of .*: there is no \/usr\/bin\/perl7$/,
    ["/plugin/script"],
    (folder) => folder.write("script", "#!/usr/bin/perl7 -w\n"),
  )
  fails(
    "when the first line has env look for one that is not there",
    /perl7 is in none of/,
    ["/plugin/script"],
    (folder) => folder.write("script", "#!/usr/bin/env perl7\n"),
  )
  fails("when the first line ends in CR LF", /CR LF/, ["/plugin/script"], (folder) =>
    folder.write("script", "#!/bin/sh\r\necho\r\n"),
  )
  fails("when there is no program", /no program/, [])

  it("when a folder on the way to the plugin keeps programs out that nothing isolates", {
    skip: NOT_ROOT,
  }, async () => {
    using outer = new JailFolder()
    const home = join(outer.path, "home")
    mkdirSync(join(home, "site"), { recursive: true })
    chmodSync(home, 0o700)
    await using launcher = await openLauncher(["namespaces"])
    await assert.rejects(outer.run(launcher, ["true"], { folder: join(home, "site") }), (error: Error) => {
      assert.match(error.message, /cannot be read by uid 65534/)
      assert.ok(error.message.includes(`run chmod o+x ${home},`), error.message)
      return true
    })
    chmodSync(home, 0o711)
    chmodSync(join(home, "site"), 0o711)
    await assert.rejects(outer.run(launcher, ["true"], { folder: join(home, "site") }), (error: Error) =>
      error.message.includes(`run chmod o+rx ${join(home, "site")},`),
    )
    const dataFolder = join(home, "data", "here")
    await outer.run(launcher, ["true"], { dataFolder })
    chmodSync(home, 0o700)
    await assert.rejects(outer.run(launcher, ["true"], { dataFolder }), /the plugin's data folder, .*chmod o\+x/)
  })

  it("when bext itself is where such programs cannot read its Python module", { skip: NOT_ROOT }, async () => {
    using folder = new JailFolder()
    using bext = new JailFolder()
    mkdirSync(join(bext.path, "python"))
    chmodSync(bext.path, 0o700)
    await using launcher = await openLauncher(["namespaces"], join(bext.path, "python"))
    await assert.rejects(folder.run(launcher, ["true"]), (error: Error) => {
      assert.ok(error.message.startsWith("bext's Python module"), error.message)
      assert.ok(error.message.includes(`chmod o+x ${bext.path},`), error.message)
      return true
    })
  })

  it("when a read-only path would hide what the jail is made of, shows the kernel, or is not there", async () => {
    using folder = new JailFolder()
    await using launcher = await openLauncher()
    const launch = (path: string) => folder.run(launcher, ["true"], { readOnlyPaths: [path] })
    for (const path of ["/", "/usr", "/etc", "/tmp", "/plugin", "/data", "/bext"]) {
      await assert.rejects(launch(path), /would hide/, path)
    }
    for (const path of ["/proc/sys", "/sys/fs/cgroup", "/dev/shm"])
      await assert.rejects(launch(path), /never see/, path)
    symlinkSync("/proc/sys", join(folder.path, "link"))
    await assert.rejects(launch(join(folder.path, "link")), /never see/)
    await assert.rejects(launch("/srv/none"), /does not exist/)
    for (const path of ["/srv/../etc", "srv", "/srv/"]) await assert.rejects(launch(path), /not absolute, or has/, path)
  })
})

describe("a launch", { skip: NO_BUBBLEWRAP }, () => {
  it("copies nothing of bext in namespaces, and once a turn of the event loop elsewhere", async () => {
    using folder = new JailFolder()
    for (const [without, spawned] of [
      [[], 0],
      [["namespaces"], 12],
    ] as const) {
      await using launcher = await openLauncher([...without])
      await folder.run(launcher, ["true"])
      const perTurn = await spawnsPerTurn(async () => {
        await Promise.all(Array.from({ length: 12 }, () => folder.run(launcher, ["true"])))
      })
      assert.equal(
        perTurn.reduce((sum, count) => sum + count, 0),
        spawned,
      )
      assert.ok(perTurn.every((count) => count <= 1))
    }
  })

  it("is not of the terminal's group of processes, which Ctrl-C ends", async () => {
    using folder = new JailFolder()
    await using launcher = await openLauncher()
    const mark = `session-${process.pid}`
    const jail = await folder.launch(launcher, ["sh", "-c", "echo; read -r _", mark])
    await once(jail.stdout, "data")
    const groups = processesWith(mark).map(groupOf)
    assert.equal(groups.length, 3)
    assert.ok(!groups.includes(groupOf(process.pid)))
    jail.kill()
    await jail.exited
  })

  it("answers with what the program wrote, also when it ends at once", async () => {
    using folder = new JailFolder()
    await using launcher = await openLauncher()
    for (let round = 0; round < 10; round++) {
      const outcome = await folder.run(launcher, ["sh", "-c", "echo out; echo err >&2; exit 7"])
      assert.deepEqual(outcome, { code: 7, signal: null, outOfMemory: false, stdout: "out\n", stderr: "err\n" })
    }
  })
})

async function spawnsPerTurn(work: () => Promise<void>): Promise<number[]> {
  const perTurn = [0]
  let counting = true
  const turn = () => {
    perTurn.push(0)
    if (counting) setImmediate(turn)
  }
  const count = () => {
    perTurn[perTurn.length - 1]! += 1
  }
  setImmediate(turn)
  subscribe("child_process", count)
  await work()
  counting = false
  unsubscribe("child_process", count)
  return perTurn
}

/** Source: proc_pid_stat(5), field 5. */
function groupOf(pid: number): string | undefined {
  return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ")[2]
}

function ownFolders(): string[] {
  return readdirSync(tmpdir()).filter(
    (name) => name.startsWith(`bext-jail-${process.pid}-`) && existsSync(join(tmpdir(), name)),
  )
}
