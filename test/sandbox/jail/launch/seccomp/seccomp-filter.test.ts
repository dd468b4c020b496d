import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { seccompFilter } from "../../../../../src/sandbox/jail/launch/seccomp/seccomp-filter.ts"
import { SYSTEM_CALLS } from "../../../../../src/sandbox/jail/launch/seccomp/system-calls.ts"
import { toFilter } from "./run-filter.ts"

const ALLOW = 0x7fff_0000
const KILL_PROCESS = 0x8000_0000
const EPERM = 0x0005_0001
const EINVAL = 0x0005_0016
const ENOSYS = 0x0005_0026
const EPROTONOSUPPORT = 0x0005_005d
const EAFNOSUPPORT = 0x0005_0061

/** Source: Linux, include/uapi/linux/audit.h. */
const AUDIT_ARCH = { x64: 0xc000_003e, arm64: 0xc000_00b7, i386: 0x4000_0003, arm: 0x4000_0028, riscv64: 0xc000_00f3 }

const ARCHITECTURES = [
  { architecture: "x64", column: 0 },
  { architecture: "arm64", column: 1 },
] as const

for (const { architecture, column } of ARCHITECTURES) {
  describe(`the filter for ${architecture}`, () => {
    const filter = toFilter(seccompFilter(architecture))
    const native = AUDIT_ARCH[architecture]
    const ask = (name: string, ...args: readonly (number | bigint)[]) =>
      filter({ number: numberOf(name, column), architecture: native, arguments: args.map(BigInt) })

    it("answers every number from 0 to 1023 as the table says, and ENOSYS where it says nothing", () => {
      const expected = new Map<number, number>()
      for (const { verdict, calls } of SYSTEM_CALLS) {
        for (const numbers of Object.values(calls)) {
          if (numbers[column] !== null) expected.set(numbers[column], ANSWERS[verdict])
        }
      }
      for (let number = 0; number < 1024; number++) {
        assert.equal(filter({ number, architecture: native }), expected.get(number) ?? ENOSYS, String(number))
      }
    })

    it("kills the process for every other architecture, whatever the number", () => {
      const others = Object.values(AUDIT_ARCH).filter((other) => other !== native)
      // Neighbours, and the same machine without the bits for 64 bit or little endian.
      const alike = [0, native - 1, native + 1, native & 0x3fff_ffff, (native & 0xbfff_ffff) >>> 0, 0xffff_ffff]
      for (const other of [...others, ...alike]) {
        for (let number = 0; number < 1024; number++) {
          assert.equal(filter({ number, architecture: other }), KILL_PROCESS, `${other} ${number}`)
        }
      }
    })

    it("answers numbers that no kernel has", () => {
      const x32 = architecture === "x64" ? KILL_PROCESS : ENOSYS
      for (const number of [1024, 4096, 0xffff, 0x3fff_ffff]) {
        assert.equal(filter({ number, architecture: native }), ENOSYS, String(number))
      }
      for (let number = 0x4000_0000; number < 0x4000_0400; number++) {
        assert.equal(filter({ number, architecture: native }), x32, number.toString(16))
      }
      for (const number of [0x7fff_ffff, 0x8000_0000, 0xc000_0000, 0xffff_ffff]) {
        assert.equal(filter({ number, architecture: native }), x32, number.toString(16))
      }
    })

    it("allows clone for threads and processes, and refuses every flag for a new namespace in any company", () => {
      const ordinary = { fork: 0x11, vfork: 0x4111, forkOfGlibc: 0x1200011, thread: 0x3d0f00, signalOnly: 0xff }
      const namespaces = [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]
      for (const [name, flags] of Object.entries(ordinary)) {
        assert.equal(ask("clone", flags), ALLOW, name)
        for (const namespace of namespaces) {
          assert.equal(ask("clone", flags | namespace), EPERM, `${name} with ${namespace.toString(16)}`)
          // The kernel looks at the low word alone.
          assert.equal(ask("clone", BigInt(flags | namespace) | 0xffff_ffff_0000_0000n), EPERM)
        }
      }
      for (let bit = 0; bit < 31; bit++) {
        const flag = 2 ** bit
        assert.equal(ask("clone", flag), namespaces.includes(flag) ? EPERM : ALLOW, `bit ${bit}`)
      }
      assert.equal(ask("clone", 0x3d0f00, 0x10000000, 0x10000000, 0x10000000, 0x10000000), ALLOW)
    })

    it("allows local and internet sockets, and says of other families that there are none", () => {
      for (let family = 0; family < 64; family++) {
        const expected = [1, 2, 10].includes(family) ? ALLOW : EAFNOSUPPORT
        assert.equal(ask("socket", family, 1, 0), expected, `family ${family}`)
        assert.equal(ask("socket", BigInt(family) | 0xabcd_0000_0000n, 1, 0), expected, `family ${family}, high bits`)
        assert.equal(ask("socketpair", family, 1, 0), family === 1 ? ALLOW : EAFNOSUPPORT, `pair of family ${family}`)
      }
      assert.equal(ask("socket", 0x1_0000_0010n, 3, 0), EAFNOSUPPORT)
      assert.equal(ask("socket", 0xffff_ffff, 1, 0), EAFNOSUPPORT)
    })

    it("allows internet sockets of TCP, UDP and ICMP, and no other type or protocol that a module could be loaded for", () => {
      const [nonBlocking, closeOnExec] = [0o4000, 0o2000000]
      for (const family of [2, 10]) {
        for (let type = 0; type < 16; type++) {
          for (let protocol = 0; protocol < 300; protocol++) {
            const expected = [1, 2].includes(type) && [0, 1, 6, 17, 58].includes(protocol) ? ALLOW : EPROTONOSUPPORT
            const what = `family ${family}, type ${type}, protocol ${protocol}`
            assert.equal(ask("socket", family, type, protocol), expected, what)
            assert.equal(ask("socket", family, type | nonBlocking | closeOnExec, protocol), expected, what)
            assert.equal(
              ask("socket", family, BigInt(type) | (1n << 32n), BigInt(protocol) | (1n << 32n)),
              expected,
              what,
            )
          }
        }
      }
      for (const type of [1, 2, 5]) assert.equal(ask("socket", 1, type | closeOnExec, 0), ALLOW)
    })

    it("refuses ioctls that type into terminals or change their line discipline, also behind high bits", () => {
      const refused = [0x5412, 0x541c, 0x5423]
      for (let request = 0x5400; request < 0x5500; request++) {
        const expected = refused.includes(request) ? EPERM : ALLOW
        assert.equal(ask("ioctl", 0, request), expected, request.toString(16))
        assert.equal(
          ask("ioctl", 0, BigInt(request) | 0xffff_ffff_0000_0000n),
          expected,
          `${request.toString(16)}, high bits`,
        )
        assert.equal(ask("ioctl", request, 0x5401), ALLOW)
      }
    })

    it("refuses prctl the memory map of the process and cores for it alone, and nothing else", () => {
      for (let option = 0; option < 100; option++) {
        assert.equal(ask("prctl", option, 14), [35, 62].includes(option) ? EPERM : ALLOW, String(option))
      }
      assert.equal(ask("prctl", 0x1_0000_0023n), EPERM)
      assert.equal(ask("prctl", 0x53564d41), ALLOW) // PR_SET_VMA
    })

    it("has no huge pages, which no memory limit counts", () => {
      const calls: [name: string, flags: number, huge: number][] = [
        ["mmap", 3, 0x40000],
        ["memfd_create", 1, 0x4],
        ["shmget", 2, 0x800],
      ]
      for (const [name, index, huge] of calls) {
        for (let bit = 0; bit < 64; bit++) {
          const flags = 1n << BigInt(bit)
          const args = [0n, 0n, 0n, 0n].with(index, flags)
          assert.equal(ask(name, ...args), flags === BigInt(huge) ? EINVAL : ALLOW, `${name} bit ${bit}`)
          assert.equal(
            ask(name, ...args.with(index, flags | BigInt(huge))),
            EINVAL,
            `${name} bit ${bit} and huge pages`,
          )
        }
      }
      // Memory of two megabytes a page, as libraries ask for it.
      assert.equal(ask("mmap", 0, 1 << 21, 3, 0x22 | 0x40000 | (21 << 26), 0xffff_ffff, 0), EINVAL)
      assert.equal(ask("mmap", 0x40000, 0x40000, 3, 0x22, 0x40000, 0x40000), ALLOW)
    })

    it("allows named pipes, sockets and plain files to be made, and refuses devices", () => {
      for (let type = 0; type < 16; type++) {
        const expected = [0, 1, 8, 12].includes(type) ? ALLOW : EPERM
        for (const mode of [0, 0o644, 0o1777]) {
          assert.equal(ask("mknodat", 0, 0, (type << 12) | mode), expected, `type ${type}`)
          assert.equal(ask("mknodat", 0, 0, BigInt((type << 12) | mode) | 0xffff_ffff_ffff_0000n), expected)
          if (column === 0) assert.equal(ask("mknod", 0, (type << 12) | mode), expected, `type ${type}`)
        }
      }
    })

    it("refuses files that run as whoever owns them, however they are made", () => {
      const [creates, temporary] = [0x40, 0x400000]
      for (let mode = 0; mode <= 0o7777; mode++) {
        const expected = (mode & 0o6000) === 0 ? ALLOW : EPERM
        for (const bits of [mode, BigInt(mode) | 0xffff_ffff_0000_0000n]) {
          assert.equal(ask("fchmod", 0, bits), expected)
          assert.equal(ask("fchmodat", 0, 0, bits), expected)
          assert.equal(ask("fchmodat2", 0, 0, bits, 0), expected)
          assert.equal(ask("mknodat", 0, 0, bits), expected)
          assert.equal(ask("openat", 0, 0, creates | 1, bits), expected)
          assert.equal(ask("openat", 0, 0, temporary | 2, bits), expected)
          // Whatever is where a mode would be.
          assert.equal(ask("openat", 0, 0, 2, bits), ALLOW)
          if (column === 1) continue
          assert.equal(ask("chmod", 0, bits), expected)
          assert.equal(ask("creat", 0, bits), expected)
          assert.equal(ask("mknod", 0, bits), expected)
          assert.equal(ask("open", 0, creates, bits), expected)
          assert.equal(ask("open", 0, 0, bits), ALLOW)
        }
      }
    })
  })
}

describe("seccompFilter", () => {
  it("says of an architecture without numbers that there is no filter for it", () => {
    for (const architecture of ["ia32", "arm", "riscv64", "ppc64", "", "toString"]) {
      assert.throws(
        () => seccompFilter(architecture),
        /there is no system call filter for .*: bext has one for x64 and arm64/,
      )
    }
  })

  it("is small: the kernel runs it for every call of every jail", () => {
    for (const { architecture } of ARCHITECTURES) assert.ok(seccompFilter(architecture).length / 8 < 400, architecture)
  })
})

/** Of calls whose arguments are all 0. */
const ANSWERS = {
  allow: ALLOW,
  refuse: EPERM,
  absent: ENOSYS,
  clone: ALLOW,
  socket: EAFNOSUPPORT,
  socketpair: EAFNOSUPPORT,
  ioctl: ALLOW,
  prctl: ALLOW,
  open: ALLOW,
  openat: ALLOW,
  creat: ALLOW,
  chmod: ALLOW,
  fchmod: ALLOW,
  fchmodat: ALLOW,
  fchmodat2: ALLOW,
  mknod: ALLOW,
  mknodat: ALLOW,
  mmap: ALLOW,
  memfd_create: ALLOW,
  shmget: ALLOW,
} as const

function numberOf(name: string, column: 0 | 1): number {
  const numbers = SYSTEM_CALLS.map(({ calls }) => calls[name]?.[column]).filter((number) => number != null)
  assert.equal(numbers.length, 1, name)
  return numbers[0]!
}
