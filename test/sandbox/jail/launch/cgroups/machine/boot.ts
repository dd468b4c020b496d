import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { text } from "node:stream/consumers"
import { findProgram, type TestProgram } from "../../../../../support/programs.ts"
import { Initramfs } from "./initramfs.ts"

export const QEMU: TestProgram = {
  command: "qemu-system-x86_64",
  debianPackages: ["qemu-system-x86"],
  usedBy: "control groups of version 2 in a virtual machine",
}

const ROOT = resolve(import.meta.dirname, "../../../../../..")

/** Of this machine. */
const PROGRAMS = [
  ...[
    "/bin/sh",
    "/bin/cat",
    "/bin/chown",
    "/bin/cp",
    "/bin/dd",
    "/bin/mkdir",
    "/bin/mount",
    "/bin/sleep",
    "/bin/true",
    "/bin/umount",
  ],
  ...["/usr/bin/setsid", "/usr/bin/setpriv", "/usr/bin/unshare", "/sbin/switch_root", "/usr/bin/bwrap"],
  process.execPath,
]

/**
 * Boots a kernel with this checkout in it, emulated, and runs `scenarios.sh` as its first process.
 * @returns What it wrote to its console until it switched itself off.
 */
export async function boot(kernel: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "bext-machine-"))
  try {
    const initramfs = join(folder, "initramfs")
    writeFileSync(initramfs, makeInitramfs())
    const machine = [
      "-accel",
      "tcg",
      "-cpu",
      "max",
      "-smp",
      "2",
      "-m",
      "1536",
      "-nodefaults",
      "-nographic",
      "-no-reboot",
    ]
    const parts = ["-serial", "stdio", "-kernel", kernel, "-initrd", initramfs]
    const qemu = spawn(findProgram(QEMU)!, [...machine, ...parts, "-append", "console=ttyS0 quiet panic=-1"], {
      stdio: ["ignore", "pipe", "inherit"],
      timeout: 600_000,
      killSignal: "SIGKILL",
    })
    return await text(qemu.stdout)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function makeInitramfs(): Uint8Array {
  const initramfs = new Initramfs()
  for (const program of PROGRAMS) initramfs.program(program)
  for (const folder of ["/proc", "/sys", "/dev", "/tmp", "/root"]) initramfs.folder(folder)
  initramfs.sources(join(ROOT, "src"))
  initramfs.sources(join(ROOT, "test/sandbox/jail/launch"))
  initramfs.file(join(ROOT, "package.json"), readFileSync(join(ROOT, "package.json")))
  initramfs.file("/environment", `NODE=${process.execPath}\nTESTS=${join(ROOT, "test/sandbox/jail/launch/cgroups")}\n`)
  initramfs.file("/init", readFileSync(join(import.meta.dirname, "init.sh")))
  initramfs.file("/scenarios", readFileSync(join(import.meta.dirname, "scenarios.sh")))
  return initramfs.toBytes()
}
