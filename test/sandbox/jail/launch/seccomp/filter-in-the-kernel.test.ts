import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { constants, tmpdir } from "node:os"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { SYSTEM_CALLS, type Verdict } from "../../../../../src/sandbox/jail/launch/seccomp/system-calls.ts"
import { BUBBLEWRAP, findProgram, GO, missing, PYTHON, RUBY } from "../../../../support/programs.ts"
import { compileProgram, NO_C } from "../../attacks/compile-program.ts"
import { runIsolated } from "./run-filtered.ts"

const { EINVAL, EPERM, ENOSYS, EAFNOSUPPORT, EPROTONOSUPPORT } = constants.errno
const skip = noSeccomp() || missing(BUBBLEWRAP)

describe("the filter in this machine's kernel", { skip: skip || NO_C }, () => {
  let folder = ""
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "bext-seccomp-"))
    compileProgram(join(import.meta.dirname, "probe-calls.c"), folder, "probe-calls")
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  /** What each call came to: 0 or an errno. */
  function probe(calls: readonly (readonly [name: string, ...args: number[]])[], filtered: boolean): number[] {
    const orders = calls.map(([name, ...args]) => [numberOf(name), ...args].join(","))
    const { stdout, stderr, status } = runIsolated(folder, ["/mnt/probe-calls", ...orders], filtered)
    const results = stdout.split("\n").filter(Boolean).map(Number)
    assert.equal(results.length, calls.length, `status ${status}: ${stderr}`)
    return results
  }

  for (const [verdict, expected] of [
    ["refuse", EPERM],
    ["absent", ENOSYS],
  ] as const) {
    it(`answers every call with ${verdict === "refuse" ? "EPERM" : "ENOSYS"} that the table says ${verdict} of`, () => {
      const names = namesOf(verdict)
      const results = probe(
        names.map((name): [string] => [name]),
        true,
      )
      assert.deepEqual(
        Object.fromEntries(names.map((name, index) => [name, results[index]])),
        Object.fromEntries(names.map((name) => [name, expected])),
      )
    })
  }

  it("is what refuses them: without it, a process in the same namespaces can make these calls", () => {
    const fanotifyByName = 0x200
    const calls: [string, ...number[]][] = [
      ["clone", 0x10000000 | constants.signals.SIGCHLD],
      ["keyctl", 0, 0xffff_ffff, 1],
      ["io_uring_setup"],
      ["name_to_handle_at"],
      ["personality", 0xffff_ffff],
      // Of nobody: one that asks to be traced stops at its next signal, the end of what clone made above.
      ["ptrace", 2, 0],
      ["kcmp"],
      ["fanotify_init", fanotifyByName],
      ["socket", 16, 3, 0], // AF_NETLINK
      ["clone3"],
      ["io_setup"],
      ["unshare", 0x10000000],
    ]
    const free = probe(calls, false)
    const filtered = probe(calls, true)
    calls.forEach(([name], index) => {
      assert.ok(![EPERM, ENOSYS, EAFNOSUPPORT].includes(free[index]!), `${name} without the filter: ${free[index]}`)
      assert.ok([EPERM, ENOSYS, EAFNOSUPPORT].includes(filtered[index]!), `${name} with the filter: ${filtered[index]}`)
    })
  })

  it("looks at arguments: families and protocols of sockets, namespaces, terminals, devices, modes", () => {
    const chr = 0o020000
    const fifo = 0o010000
    const cases: [number, string, ...number[]][] = [
      [0, "socket", 1, 1, 0],
      [0, "socket", 2, 1 | 0o2000000, 0],
      [0, "socket", 10, 2, 17],
      [EPROTONOSUPPORT, "socket", 2, 1, 132], // SCTP
      [EPROTONOSUPPORT, "socket", 2, 1, 262], // MPTCP
      [EPROTONOSUPPORT, "socket", 2, 3, 1], // a raw socket
      [EAFNOSUPPORT, "socket", 17, 3, 0], // AF_PACKET
      [EAFNOSUPPORT, "socket", 38, 5, 0], // AF_ALG
      [EAFNOSUPPORT, "socket", 40, 1, 0], // AF_VSOCK
      [EAFNOSUPPORT, "socketpair", 30, 5, 0], // AF_TIPC
      [0, "clone", constants.signals.SIGCHLD],
      [EPERM, "clone", 0x40000000 | constants.signals.SIGCHLD],
      [EPERM, "ioctl", 0, 0x5412],
      [EPERM, "ioctl", 0, 0xffff_0000_5412],
      [constants.errno.ENOTTY, "ioctl", 0, 0x5413],
      [EPERM, "prctl", 35],
      [EINVAL, "mmap", 0, 1 << 21, 3, 0x40022, -1, 0],
      [EINVAL, "memfd_create", 0, 4],
      [EINVAL, "shmget", 0, 1 << 21, 0o5600],
      [0, "shmget", 0, 4096, 0o1600],
      [EPERM, "mknodat", -1, 0, chr],
      [constants.errno.EFAULT, "mknodat", -1, 0, fifo],
      [EPERM, "mknodat", -1, 0, 0o4755],
      [EPERM, "fchmod", -1, 0o4755],
      [constants.errno.EBADF, "fchmod", -1, 0o1755],
      [EPERM, "openat", -1, 0, 0o100, 0o2755],
      [constants.errno.EFAULT, "openat", -1, 0, 0, 0o6755],
    ]
    const results = probe(
      cases.map(([, name, ...args]): [string, ...number[]] => [name, ...args]),
      true,
    )
    cases.forEach(([expected, ...call], index) => {
      assert.equal(results[index], expected, call.join(" "))
    })
  })

  for (const abi of ["int80", "x32"]) {
    it(`kills a process that makes a call by ${abi}`, { skip: process.arch !== "x64" && "an ABI of x86_64" }, () => {
      // bubblewrap tells of a signal as shells do.
      assert.equal(runIsolated(folder, ["/mnt/probe-calls", abi], true).status, 128 + constants.signals.SIGSYS)
      assert.equal(runIsolated(folder, ["/mnt/probe-calls", abi], false).status, 0)
    })
  }
})

describe("under the filter", { skip }, () => {
  let folder = ""
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "bext-seccomp-"))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  function runs(command: readonly string[]): void {
    const { status, stdout, stderr } = runIsolated(folder, command, true)
    assert.equal(stdout, "done\n", stderr)
    assert.equal(status, 0)
  }

  const script = (name: string) => join(import.meta.dirname, "ordinary", name)
  it("Python runs threads, processes, an event loop, a database and pipes", { skip: missing(PYTHON) }, () => {
    runs([findProgram(PYTHON)!, script("program.py")])
  })
  it("Ruby runs threads, processes and sockets", { skip: missing(RUBY) }, () => {
    runs([findProgram(RUBY)!, script("program.rb")])
  })
  it("a shell runs the usual commands", () => runs(["/bin/sh", script("program.sh")]))
  it("Node runs promises of files, worker threads and processes", () => runs([process.execPath, script("program.mjs")]))
  it("a static program of Go runs goroutines, processes and sockets", { skip: missing(GO) }, () => {
    const env = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-mod=mod" }
    execFileSync(findProgram(GO)!, ["build", "-o", join(folder, "program"), script("program.go")], { env })
    runs(["/mnt/program"])
  })
})

function noSeccomp(): string | false {
  return process.platform !== "linux" && "there is no seccomp here"
}

function namesOf(verdict: Verdict): string[] {
  const groups = SYSTEM_CALLS.filter((group) => group.verdict === verdict)
  return groups.flatMap(({ calls }) => Object.keys(calls)).filter((name) => numberOf(name) !== null)
}

function numberOf(name: string): number | null {
  const numbers = SYSTEM_CALLS.find(({ calls }) => Object.hasOwn(calls, name))?.calls[name]
  if (numbers === undefined) throw new Error(`${name} is not in the table`)
  return numbers[process.arch === "x64" ? 0 : 1]
}
