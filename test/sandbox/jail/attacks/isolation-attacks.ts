import assert from "node:assert/strict"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { after, describe, it } from "node:test"
import { setTimeout as delay } from "node:timers/promises"
import type { IsolationLevel } from "../../../../src/sandbox/sandbox.ts"
import type { Attack, Outcome } from "./orders.ts"
import { type AttackUser, INHERITED, MARKER, startAttackHost } from "./start-attack-host.ts"
import { prepareTargets, SECRET } from "./targets.ts"

const MIB = 1024 * 1024
const X86 = process.arch === "x64" ? false : "x86 alone has it"

/** What `holds` may leave out or change of proving an attack before it is tried in a jail. */
interface Proof {
  /** In place of the same arguments. Null: nothing that may be done to this machine, or nothing there to reach. */
  readonly plain?: readonly string[] | null
  /** An ordinary user may not do it anyway. */
  readonly byRoot?: boolean
  readonly attack?: Omit<Attack, "args">
}

/**
 * What no program in a jail may do, whoever runs bext. Every attack is first shown to work from an ordinary child process,
 * where that harms nothing. Each group says the levels of isolation it holds at.
 * @param user - Who starts the jails.
 * @param jailed - The user of jailed programs on the host then.
 */
export async function isolationAttacks(title: string, user: AttackUser, jailed: number): Promise<void> {
  const parts = new AsyncDisposableStack()
  after(() => parts.disposeAsync())
  const targets = parts.use(await prepareTargets(user.uid ?? process.getuid!(), jailed))
  const host = parts.use(await startAttackHost(user, targets.folder, targets.openFile))
  const { level, missing } = host.isolation
  const skip = level === "process" && `there is only level process here: ${missing.join("; ")}`

  describe(title, { skip }, () => {
    /** Succeeds from an ordinary process and fails in a jail. */
    async function holds(args: readonly string[], { plain = args, byRoot = false, attack }: Proof = {}): Promise<void> {
      if (plain !== null && (!byRoot || host.uid === 0)) {
        const { out } = await host.run("plain", { args: plain })
        assert.match(out, /^open /, `the attack does not even work without a jail: ${out}`)
      }
      targets.received.length = 0
      const { out, err, code } = await host.run("jail", { ...attack, args })
      assert.match(out, /^blocked /, `${out} ${err} (${code})`)
      assert.deepEqual(targets.received, [])
    }

    /** Works from an ordinary process and ends the jail with SIGSYS. */
    async function dies(args: readonly string[], plain: RegExp): Promise<void> {
      assert.match((await host.run("plain", { args })).out, plain)
      const outcome = await host.run("jail", { args })
      assert.equal(outcome.out, "")
      assert.ok(outcome.code === 128 + 31 || outcome.signal === "SIGSYS", JSON.stringify(outcome))
    }

    /** What a program sees of the world, without "seen". */
    async function sees(place: "plain" | "jail", args: readonly string[], attack: Omit<Attack, "args"> = {}) {
      const { out, err } = await host.run(place, { ...attack, args })
      assert.match(out, /^seen /, err)
      return out.slice("seen ".length).trim().split(" ").filter(Boolean)
    }

    describe("files (levels full and namespaces)", () => {
      it("reads no file of the host, be it open to all or its owner's alone", async () => {
        await holds(["read", targets.openFile])
        await holds(["read", targets.privateFile])
      })

      it("follows no link out of its folder", () =>
        holds(["read", "/plugin/link"], { plain: ["read", join(targets.folder, "link")] }))

      it("reads neither folder nor data of another plugin", async () => {
        await holds(["read", join(targets.otherPlugin, "secret")])
        await holds(["read", join(targets.otherData, "secret")], { attack: { dataFolder: targets.dataFolder } })
      })

      it("reaches no file of the host through /proc or by going up", async () => {
        const file = targets.openFile
        await holds(["read", `/proc/1/root${file}`], { plain: ["read", `/proc/self/root${file}`] })
        await holds(["read", `/proc/self/root${file}`])
        await holds(["read", `/proc/self/cwd/..${file}`], { plain: null })
        await holds(["dotdot", file])
      })

      it("sees no accounts, settings, keys or logs of the host", async () => {
        for (const path of ["/etc/shadow", "/etc/hostname", "/root", "/home", "/var/log", "/run", "/boot", "/sys"]) {
          await holds([path.includes("/etc") ? "read" : "list", path], { plain: null })
        }
        const { out } = await host.run("jail", { args: ["read", "/etc/passwd"] })
        assert.equal(out.includes("daemon"), false)
      })

      it("has a /dev with nothing of this machine's", async () => {
        const devices = await sees("jail", ["list", "/dev"])
        const known = [
          "null",
          "zero",
          "full",
          "random",
          "urandom",
          "tty",
          "console",
          "core",
          "fd",
          "ptmx",
          "pts",
          "shm",
        ]
        assert.deepEqual(
          devices.filter((name) => ![...known, "stdin", "stdout", "stderr"].includes(name)),
          [],
        )
      })

      it("writes nowhere but to /tmp, /dev/shm and its data", async () => {
        const attack = { dataFolder: targets.dataFolder }
        const places = await sees("jail", ["find-writable"], attack)
        assert.deepEqual(places.sort(), ["/data", "/dev/shm", "/tmp"])
        assert.deepEqual((await sees("jail", ["find-writable"])).sort(), ["/dev/shm", "/tmp"])
        const folder = targets.folder
        await holds(["write", "/plugin/new"], { plain: ["write", join(folder, "new")] })
        await holds(["write", "/plugin/attacks"], { plain: null })
        await holds(["chmod", "/plugin/attacks"], { plain: null })
        for (const path of ["/new", "/usr/new", "/etc/passwd", "/dev/new", "/proc/sys/kernel/core_pattern"]) {
          await holds(["write", path], { plain: null })
        }
      })

      it("only reads what the operator shows it, and nothing beside it", async () => {
        const { shared, openFile } = targets
        const attack = { readOnlyPaths: [shared] }
        const { out } = await host.run("jail", { ...attack, args: ["read", join(shared, "secret")] })
        assert.equal(out.trim(), `open ${SECRET}`)
        await holds(["write", join(shared, "secret")], { attack })
        await holds(["write", join(shared, "new")], { attack })
        await holds(["read", openFile], { attack })
      })

      it("keeps what it writes to its data, and nothing that it writes elsewhere", async () => {
        const attack = { dataFolder: targets.dataFolder }
        assert.match((await host.run("jail", { ...attack, args: ["write", "/data/kept"] })).out, /^open/)
        assert.match((await host.run("jail", { ...attack, args: ["read", "/data/kept"] })).out, /^open x/)
        assert.match((await host.run("jail", { args: ["write", "/tmp/kept"] })).out, /^open/)
        assert.match((await host.run("jail", { args: ["read", "/tmp/kept"] })).out, /^blocked ENOENT/)
      })
    })

    describe("processes (levels full and namespaces)", () => {
      it("sees no process of the host", async () => {
        const seen = await sees("jail", ["processes"])
        assert.ok(seen.length <= 4, seen.join(" "))
        assert.equal(seen.includes(String(targets.bystander)), false)
      })

      it("signals no process of the host", async () => {
        await holds(["signal", String(targets.bystander), "0"])
        await holds(["signal", String(host.pid), "0"])
      })

      it("kills nobody when it kills everybody it can", async () => {
        const { out } = await host.run("jail", { args: ["signal-everybody"] })
        assert.match(out, /^seen the end/)
        assert.equal(targets.bystanderLives(), true)
        assert.match((await host.run("jail", { args: ["users"] })).out, /^seen/)
      })

      it("neither traces a process of the host nor reads its memory nor gets a handle of it", async () => {
        const pid = String(targets.bystander)
        await holds(["trace", pid])
        await holds(["read-memory", pid])
        await holds(["memory-of", pid])
        await holds(["pidfd", pid])
        await holds(["trace-child"])
      })

      it("gets no hold of bubblewrap's own process in the jail, which would outlive bext for it", async () => {
        await holds(["memory-of", "1"], { plain: null })
        await holds(["trace", "1"], { plain: null })
        await holds(["list", "/proc/1/fd"], { plain: null })
        await holds(["list", "/proc/1/root"], { plain: null })
      })

      it("signals nobody through the sockets that connect it with bext", async (t) => {
        const { out } = await host.run("plain", { args: ["signal-peer"] })
        if (out.startsWith("blocked ENOPROTOOPT")) return t.skip("this kernel has no SO_PEERPIDFD")
        await holds(["signal-peer"])
      })

      it("reads the environment of no process of the host", async () => {
        await holds(["find-environment", MARKER])
      })
    })

    describe("network and sockets (levels full and namespaces)", () => {
      it("reaches no listener on the host's loopback, by TCP over IPv4 or IPv6", async () => {
        await holds(["tcp", String(targets.tcpPort)])
        await holds(["tcp6", String(targets.tcp6Port)])
      })

      it("sends nothing that a UDP listener of the host gets", async () => {
        const { udpPort, received } = targets
        await host.run("plain", { args: ["udp", String(udpPort)] })
        await until(() => received.length > 0)
        received.length = 0
        // It goes out on the jail's own loopback. The next one from outside shows that the listener would have told.
        await host.run("jail", { args: ["udp", String(udpPort)] })
        await host.run("plain", { args: ["udp", String(udpPort)] })
        await until(() => received.length > 0)
        assert.deepEqual(received, ["udp attack"])
      })

      it("reaches no unix socket, with a path or in the abstract namespace", async () => {
        await holds(["unix", targets.unixPath])
        await holds(["abstract", targets.abstractName])
      })

      it("opens no netlink, vsock, packet or raw socket, nor one of any family but unix and IP", async () => {
        await holds(["netlink"])
        await holds(["vsock"], { plain: null })
        await holds(["raw"], { byRoot: true })
        await holds(["packet"], { byRoot: true })
        await holds(["families"])
      })
    })

    describe("namespaces and mounts (levels full and namespaces)", () => {
      const kinds = ["user", "mnt", "net", "pid", "ipc", "uts", "cgroup", "user+mnt"]
      it("makes no namespace, by unshare, clone or clone3", async () => {
        for (const kind of kinds) {
          const byRoot = !kind.startsWith("user")
          await holds(["unshare", kind], { byRoot })
          await holds(["clone", kind], { byRoot })
          await holds(["clone3", kind], { byRoot })
        }
        await holds(["unshare", "time"], { plain: null })
      })

      it("mounts nothing, changes no mount and takes none away", async () => {
        await holds(["mount-in-namespace"])
        await holds(["mount", "/tmp"], { plain: null })
        for (const path of ["/", "/usr", "/plugin", "/dev"]) await holds(["remount", path], { plain: null })
        for (const path of ["/plugin", "/proc", "/tmp"]) await holds(["umount", path], { plain: null })
        await holds(["fsopen"], { byRoot: true })
        await holds(["open-tree", "/tmp"], { byRoot: true })
      })

      it("changes no root and enters no other namespace", async () => {
        await holds(["chroot", "/tmp"], { byRoot: true })
        await holds(["pivot-root", "/tmp"], { plain: null })
        for (const kind of ["mnt", "pid", "net", "user"]) await holds(["setns", `/proc/1/ns/${kind}`], { plain: null })
        await holds(["setns", "/proc/self/ns/uts"], { byRoot: true })
      })

      it("makes no device", async () => {
        await holds(["mknod", "/tmp/device", "0"], { plain: null })
        await holds(["mknod", "/dev/shm/device", String(8 << 8)], { plain: null })
      })
    })

    describe("the kernel's surface (levels full and namespaces)", () => {
      it("uses no keys, bpf, perf, userfaultfd, io_uring, personality, file handles or kernel log", async () => {
        for (const name of ["keyctl", "add-key", "userfaultfd", "io-uring", "personality", "file-handle", "kcmp"]) {
          // A kernel may forbid some of them to everybody.
          await holds([name], { plain: FORBIDDEN_HERE.has(name) ? null : [name] })
        }
        await holds(["perf"], { byRoot: true })
        await holds(["bpf"], { byRoot: true })
        await holds(["dmesg"], { byRoot: true })
      })

      it("gets no further than the filter with any call that plugins do not need", () =>
        holds(["never"], { plain: null }))

      it("changes no setting of the kernel, not even of its own namespaces", async () => {
        await holds(["find-settings"], { byRoot: true })
        await holds(["write", "/proc/sysrq-trigger"], { plain: null })
      })

      it("changes no segment descriptors", { skip: X86 }, () => holds(["modify-ldt"]))

      it("is killed when it enters the kernel as a 32-bit program", { skip: X86 }, () => dies(["int80"], /^open/))

      it("is killed when it calls x32 functions", { skip: X86 }, () => dies(["x32"], /^(open|blocked ENOSYS)/))

      it("types nothing into a terminal, also with bits that the kernel ignores", async () => {
        const { out } = await host.run("plain", { args: ["push-input"] })
        // Some kernels have it switched off.
        await holds(["push-input"], { plain: out.startsWith("blocked EIO") ? null : ["push-input"] })
        await holds(["terminal"], { plain: null })
      })
    })

    describe("privileges (levels full and namespaces)", () => {
      it("has no capability in any set, gains none, and is filtered", async () => {
        const status = new Map((await sees("jail", ["status"])).map((entry) => entry.split(":=") as [string, string]))
        for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"])
          assert.match(status.get(set)!, /^0+$/, set)
        assert.equal(status.get("NoNewPrivs"), "1")
        assert.equal(status.get("Seccomp"), "2")
      })

      it("is not root, here or on the host, and does not become it", async () => {
        assert.ok((await sees("jail", ["users"])).every((uid) => Number(uid) > 0))
        await holds(["become-root"], { byRoot: true })
        const marker = `who-${process.pid}`
        const jail = await host.begin("jail", { args: ["daemon", marker, "stay"] })
        // Bubblewrap itself may be, around it.
        const uids = processesWith(marker).filter(isAttack).flatMap(uidsOf)
        assert.ok(uids.length > 0)
        assert.ok(!uids.includes("0"), uids.join(" "))
        await host.end(jail)
      })

      it("does not become the owner of a set-uid program", {
        skip: process.getuid!() !== 0 && "needs root",
      }, async () => {
        const of = (folder: string) => ["exec", `${folder}/of-root`]
        assert.equal((await sees("plain", of(targets.folder)))[1], "0")
        const { out } = await host.run("jail", { args: of("/plugin") })
        assert.match(out, /^(seen [1-9]\d* [1-9]\d* [1-9]\d*|blocked \w+)\n$/)
      })

      it("raises neither its priority nor its limits", async () => {
        await holds(["raise-priority"], { byRoot: true })
        await holds(["realtime"], { byRoot: true })
        await holds(["raise-limit"], { plain: null })
        await holds(["spare"], { plain: null })
      })
    })

    describe("what bext has (levels full and namespaces)", () => {
      it("gets no variable of bext's environment", async () => {
        const before = await sees("plain", ["own-environment"])
        assert.ok(before.includes(`HOST_SECRET=${MARKER}`))
        const names = (await sees("jail", ["own-environment"])).map((entry) => entry.split("=")[0]!)
        const known = ["PATH", "HOME", "TMPDIR", "LANG", "PWD", "OF_THE_PLUGIN"]
        assert.deepEqual(
          names.filter((name) => !known.includes(name)),
          [],
        )
        assert.ok(names.includes("OF_THE_PLUGIN"))
      })

      it("gets no descriptor that bext has open, or was given when it was started", async () => {
        const before = (await sees("plain", ["descriptors"])).join(" ")
        for (const fd of INHERITED) assert.ok(before.includes(`${fd}=`), before)
        const found = (await sees("jail", ["descriptors"])).filter((entry) => !entry.endsWith("=/dev/null"))
        assert.deepEqual(found, [])
      })
    })

    describe("to stay when it should be gone (levels full and namespaces)", () => {
      it("leaves nothing behind when it is ended: no daemon, whatever it ignores", async () => {
        const marker = `killed-${process.pid}-${host.uid}`
        const jail = await host.begin("jail", { args: ["daemon", marker, "stay"] })
        assert.ok(processesWith(marker).length >= 2)
        const { code, signal } = await host.end(jail)
        assert.ok(code === 137 || signal === "SIGKILL", `${code} ${signal}`)
        assert.deepEqual(processesWith(marker), [])
      })

      it("leaves nothing behind when it ends by itself", async () => {
        const marker = `ended-${process.pid}-${host.uid}`
        const { out, code } = await host.run("jail", { args: ["daemon", marker, "end"] })
        assert.deepEqual([out, code], ["seen ready\n", 0])
        // Without cgroups, the end of the jail's first process is what ends the others, a moment after the news of it.
        await until(() => processesWith(marker).length === 0)
      })

      it("leaves nothing behind when bext is killed", async () => {
        const marker = `orphan-${process.pid}-${host.uid}`
        const { folder, openFile } = targets
        await using other = await startAttackHost(user, folder, openFile)
        await other.begin("jail", { args: ["daemon", marker, "stay"] })
        assert.ok(processesWith(marker).length >= 2)
        await other.kill()
        await until(() => processesWith(marker).length === 0)
      })
    })

    describe("bombs (levels full and namespaces)", () => {
      it("starts no more processes and threads than it may", async () => {
        const attack = { limits: { pids: 20 } }
        for (const name of ["fork", "threads"]) {
          assert.match((await host.run("plain", { args: [name, "100"] })).out, /^open 100/)
          const { out } = await host.run("jail", { ...attack, args: [name, "100"] })
          const [, count] = /^blocked EAGAIN after (\d+)/.exec(out) ?? assert.fail(out)
          assert.ok(Number(count) >= 10 && Number(count) < 20, out)
        }
      })

      it("limits one jail without touching the next", async () => {
        const marker = `crowd-${process.pid}-${host.uid}`
        const limits = { pids: 20 }
        const jails = await Promise.all(
          [1, 2, 3].map(() => host.begin("jail", { limits, args: ["daemon", marker, "stay"] })),
        )
        const { out } = await host.run("jail", { limits, args: ["fork", "10"] })
        assert.match(out, /^open 10/)
        for (const jail of jails) await host.end(jail)
      })

      it("takes no more memory than it may", async () => {
        const bytes = String(100 * MIB)
        assert.match((await host.run("plain", { args: ["memory", bytes] })).out, /^open/)
        const outcome = await host.run("jail", { args: ["memory", bytes], limits: { memoryBytes: 48 * MIB } })
        assert.ok(isOutOfMemory(level, outcome), JSON.stringify(outcome))
      })

      it("opens no more files than it may", async () => {
        assert.match((await host.run("plain", { args: ["open-many", "200"] })).out, /^open 200/)
        const { out } = await host.run("jail", { args: ["open-many", "200"], limits: { openFiles: 50 } })
        const [, count] = /^blocked EMFILE after (\d+)/.exec(out) ?? assert.fail(out)
        assert.ok(Number(count) <= 50, out)
      })

      it("writes no file larger than it may", async () => {
        const size = String(6 * MIB)
        assert.match((await host.run("plain", { args: ["file", join(targets.folder, "big"), size] })).out, /^open/)
        const limits = { fileBytes: 2 * MIB, tmpBytes: 32 * MIB }
        const { out } = await host.run("jail", { args: ["file", "/tmp/big", size], limits })
        assert.match(out, new RegExp(`^blocked EFBIG after ${2 * MIB}`))
      })

      it("fills /tmp and /dev/shm to their sizes and no further", async () => {
        const limits = { tmpBytes: 8 * MIB }
        const { out } = await host.run("jail", {
          args: ["many-files", "/tmp", String(40 * MIB), String(MIB)],
          limits,
        })
        assert.equal(blockedAfter(out, "ENOSPC") <= 8 * MIB, true, out)
        const shared = await host.run("jail", {
          args: ["many-files", "/dev/shm", String(40 * MIB), String(MIB)],
          limits,
        })
        assert.equal(blockedAfter(shared.out, "ENOSPC") <= 2 * MIB, true, shared.out)
      })

      it("uses no more CPU than the share it has (level full)", async (t) => {
        if (level !== "full") return t.skip(missing.join("; "))
        const { cpuMs } = await host.run("jail", { args: ["spin", "1500", "4"], limits: { cpus: 0.25 } })
        assert.ok(cpuMs > 0 && cpuMs <= 0.25 * 1500 + 250, `${cpuMs} ms of CPU`)
      })

      it("pays for files in memory, for their contents and for each one (level full)", async (t) => {
        if (level !== "full") return t.skip(missing.join("; "))
        const limits = { memoryBytes: 32 * MIB, tmpBytes: 512 * MIB, fileBytes: 64 * MIB }
        for (const args of [
          ["many-files", "/tmp", String(100 * MIB), String(8 * MIB)],
          ["memfd", String(100 * MIB), String(8 * MIB)],
          ["inodes", "/tmp", "100000"],
        ]) {
          const outcome = await host.run("jail", { args, limits })
          assert.ok(
            outcome.outOfMemory || /^blocked (ENOSPC|ENOMEM)/.test(outcome.out),
            `${args}: ${JSON.stringify(outcome)}`,
          )
        }
      })
    })
  })
}

/** Those that some kernels and containers keep from everybody. */
const FORBIDDEN_HERE = forbiddenHere()

function forbiddenHere(): ReadonlySet<string> {
  const found = new Set<string>()
  if (sysctl("kernel/io_uring_disabled") !== "0") found.add("io-uring")
  return found
}

function sysctl(name: string): string {
  try {
    return readFileSync(`/proc/sys/${name}`, "utf8").trim()
  } catch {
    return ""
  }
}

/** At level full the kernel ends the program; below, it gets no more. */
function isOutOfMemory(level: IsolationLevel, { out, outOfMemory }: Outcome): boolean {
  return level === "full" ? outOfMemory && out === "" : /^blocked ENOMEM/.test(out)
}

function blockedAfter(out: string, code: string): number {
  const [, count] = new RegExp(`^blocked ${code} after (\\d+)`).exec(out) ?? assert.fail(out)
  return Number(count)
}

/** Pids of the host's processes with this argument, zombies excluded. */
export function processesWith(argument: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(argument)
    } catch {
      return false
    }
  })
}

function isAttack(pid: string): boolean {
  return readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith("/plugin/attacks\0")
}

function uidsOf(pid: string): string[] {
  const [, uids] = /^Uid:\s+(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))!
  return uids!.split("\t")
}

/** Waits for what must come, and fails when it does not within 20 s. */
export async function until(reached: () => boolean): Promise<void> {
  const giveUpAtMs = performance.now() + 20_000
  while (!reached()) {
    if (performance.now() > giveUpAtMs) assert.fail("it did not happen")
    await delay(10)
  }
}
