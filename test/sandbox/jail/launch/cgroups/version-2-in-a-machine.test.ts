import assert from "node:assert/strict"
import { before, describe, it } from "node:test"
import { findProgram } from "../../../../support/programs.ts"
import { boot, QEMU } from "./machine/boot.ts"

/**
 * Version 2 with all controllers, whatever this machine has. Not part of `npm test`: it takes a minute or two, and a kernel for
 * x86_64 from somewhere, for instance Debian's: `apt-get download linux-image-cloud-amd64` and what that depends on,
 * `dpkg-deb -x`, then its /boot/vmlinuz-….
 */
const kernel = process.env.BEXT_TEST_KERNEL
const skip =
  kernel === undefined
    ? "BEXT_TEST_KERNEL does not say which kernel to boot"
    : findProgram(QEMU) === undefined && "qemu-system-x86_64 is not installed (Debian package qemu-system-x86)"

describe("control groups of version 2 in the kernel of a virtual machine", { skip, timeout: 600_000 }, () => {
  let console = ""
  before(async () => {
    console = (await boot(kernel!)).replaceAll("\r", "")
  })

  /** What was written in it. Fails when it did not end well. */
  function scenario(name: string): string {
    const [, output, status] = new RegExp(`begin ${name}\\n([^]*?)^end ${name} (\\d+)$`, "m").exec(console) ?? []
    assert.equal(status, "0", output ?? console)
    return output!
  }
  function found(name: string) {
    return JSON.parse(/^found (.*)$/m.exec(scenario(name))![1]!)
  }

  for (const name of ["root of the tree", "service", "delegated to a user", "container"]) {
    it(`do all that is asked of them in place: ${name}`, () => {
      assert.match(scenario(name), /^# pass [1-9]\d*$/m)
      assert.match(scenario(name), /machine's kernel \(v2\)/)
      assert.match(scenario(name), /^# skipped 0$/m)
    })
  }

  it("turn controllers on above bext's group, and move bext into a group of its own below it", () => {
    assert.deepEqual(found("below a service"), { version: "v2", reason: null, own: "0::/outer/inner/bext-host" })
  })
  it("are opened by two processes of one group at once", () => {
    const lines = [...scenario("two at once").matchAll(/found (\{.*\})/g)].map(([, json]) => JSON.parse(json!))
    const both = { version: "v2", reason: null, own: "0::/pair/bext-host" }
    assert.deepEqual(lines, [both, both])
  })
  it("are not used by a user who may not, with the reason", () => {
    const { version, reason, own } = found("not delegated to a user")
    assert.deepEqual([version, own], ["none", "0::/others"])
    const advice = "run it as root, or where version 2 is delegated to it (systemd: Delegate=memory pids cpu)"
    assert.equal(reason, `bext may not make or change control groups in /sys/fs/cgroup/others: ${advice}`)
  })
  it("are not used where only some limits could be set, with what is missing", () => {
    const { reason } = found("delegated without pids and cpu")
    assert.equal(reason, "control groups of version 2 do not offer pids, cpu in /sys/fs/cgroup/half/inner")
  })
  it("are not used in a container that may not write to them, with the reason", () => {
    const { reason } = found("container that may not write")
    assert.equal(reason, "the control groups in /sys/fs/cgroup are read only")
  })
  it("hold jails: isolation is full, and one without memory left ends as such", () => {
    const { isolation, exit } = found("jails")
    assert.deepEqual([isolation.level, isolation.cgroups, isolation.missing], ["full", "v2", []])
    assert.equal(exit.outOfMemory, true)
  })
})
