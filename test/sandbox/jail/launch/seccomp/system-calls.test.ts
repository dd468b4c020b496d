import assert from "node:assert/strict"
import { existsSync, readFileSync } from "node:fs"
import { describe, it } from "node:test"
import { SYSTEM_CALLS } from "../../../../../src/sandbox/jail/launch/seccomp/system-calls.ts"

const rows = SYSTEM_CALLS.flatMap(({ verdict, calls }) =>
  Object.entries(calls).map(([name, [x64, arm64]]) => ({ name, verdict, x64, arm64 })),
)

describe("the table of system calls", () => {
  it("has every call once, and every number once on each architecture", () => {
    for (const column of ["name", "x64", "arm64"] as const) {
      const values = rows.map((row) => row[column]).filter((value) => value !== null)
      const repeated = values.filter((value, index) => values.indexOf(value) !== index)
      assert.deepEqual(repeated, [], column)
    }
    for (const { name, x64, arm64 } of rows) assert.ok(x64 !== null || arm64 !== null, name)
  })

  const onX64 = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"
  it("has every call that the kernel's header has for x86_64, with its number", { skip: absent(onX64) }, () => {
    agree(numbersIn(onX64), "x64")
  })

  const onArm64 = "/usr/include/asm-generic/unistd.h"
  it("has every call that the kernel's header has for aarch64, with its number", { skip: absent(onArm64) }, () => {
    agree(numbersOf64Bit(numbersIn(onArm64)), "arm64")
  })

  it("has calls that are newer than both architectures' own numbers under one number", () => {
    // Source: Linux, scripts/syscall.tbl: from 424 on, all architectures share.
    for (const { name, x64, arm64 } of rows) {
      if (Math.max(x64 ?? 0, arm64 ?? 0) >= 424) assert.equal(x64, arm64, name)
    }
  })

  // Whatever else changes: these have been ways out of a sandbox, or look into other processes.
  it("allows nothing that makes namespaces or mounts, loads code into the kernel or enters other processes", () => {
    const never = [
      ...[
        "unshare",
        "setns",
        "mount",
        "umount2",
        "pivot_root",
        "chroot",
        "fsopen",
        "fsmount",
        "move_mount",
        "open_tree",
      ],
      ...[
        "open_tree_attr",
        "mount_setattr",
        "clone3",
        "ptrace",
        "process_vm_readv",
        "process_vm_writev",
        "pidfd_getfd",
      ],
      ...["bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "add_key"],
      ...["request_key", "keyctl", "init_module", "finit_module", "kexec_load", "kexec_file_load", "open_by_handle_at"],
      ...["name_to_handle_at", "modify_ldt", "personality", "iopl", "ioperm", "reboot", "swapon", "syslog", "acct"],
      ...["quotactl", "quotactl_fd", "fanotify_init", "kcmp", "lookup_dcookie", "nfsservctl", "vhangup", "io_setup"],
    ]
    for (const name of never) {
      const row = rows.find((row) => row.name === name)
      assert.ok(row !== undefined && ["refuse", "absent"].includes(row.verdict), name)
    }
  })
})

/** Fails for a call that only one of them has, unless the other is older than it, and for two different numbers. */
function agree(header: ReadonlyMap<string, number>, architecture: "x64" | "arm64"): void {
  const numbers = rows.map((row): [string, number | null] => [row.name, row[architecture]])
  const table = numbers.filter((entry): entry is [string, number] => entry[1] !== null)
  const common = Math.min(Math.max(...header.values()), Math.max(...table.map(([, number]) => number)))
  const inTable = table.filter(([, number]) => number <= common)
  const inHeader = [...header].filter(([name, number]) => number <= common && !NEVER_FILTERED.has(name))
  assert.deepEqual(Object.fromEntries(inTable.sort(byName)), Object.fromEntries(inHeader.sort(byName)))
}

/** The kernel lets them pass every filter: they are made by its own probes. Source: kernel/seccomp.c. */
const NEVER_FILTERED = new Set(["uretprobe", "uprobe"])

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1
}

function numbersIn(header: string): Map<string, number> {
  const defines = readFileSync(header, "utf8").matchAll(/^#define __NR(?:3264)?_(\w+)\s+(\d+)$/gm)
  return new Map([...defines].map(([, name, number]) => [name!, Number(number)]))
}

/** The generic header has the numbers of 32 bit machines too. */
function numbersOf64Bit(numbers: ReadonlyMap<string, number>): Map<string, number> {
  const only32 = new Set(["sync_file_range2", "arch_specific_syscall", "syscalls"])
  const calls = [...numbers].filter(([name, number]) => !only32.has(name) && (number < 403 || number > 423))
  return new Map(calls.map(([name, number]) => [name === "fstatat" ? "newfstatat" : name, number]))
}

function absent(header: string): string | false {
  if (existsSync(header)) return false
  const reason = `${header} is not there (Debian package linux-libc-dev)`
  // Only a machine of that architecture has it where it is looked for.
  if (process.env.CI === "true" && (process.arch === "x64" || !header.includes("x86_64"))) throw new Error(reason)
  return reason
}
