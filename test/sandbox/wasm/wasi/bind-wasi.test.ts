import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { ERRNO } from "../../../../src/sandbox/wasm/wasi/errno.ts"
import { WASI_TYPES } from "../../../../src/sandbox/wasm/wasi/types.ts"
import { WasiGuest } from "./wasi-guest.ts"

const OUT = 64

describe("bindWasi", () => {
  it("has every function of preview 1 and no other, each of which charges for itself", () => {
    const guest = new WasiGuest()
    assert.deepEqual(Object.keys(guest.wasi.functions).sort(), [...WASI_TYPES.keys()].sort())
    for (const [name, type] of WASI_TYPES) {
      if (name === "proc_exit") continue
      const parameters = type.slice(1, type.indexOf(")")).split(" ").filter(Boolean)
      guest.charged = 0
      const result = guest.call(name, ...parameters.map((each) => (each === "i64" ? 0n : 0)))
      assert.equal(typeof result, "number", name)
      assert.ok(guest.charged >= 20, name)
    }
  })

  it("makes a log line of each line on standard output, and a warning of each on standard error", () => {
    const guest = new WasiGuest()
    assert.equal(guest.write(1, "one\ntw", "o\r\n\n\nthr"), ERRNO.SUCCESS)
    assert.equal(guest.view.getUint32(8, true), 14)
    guest.write(2, "panic: é\n")
    guest.write(1, "ee\n")
    assert.deepEqual(guest.services.lines, ["info one", "info two", "warn panic: é", "info three"])
  })

  it("ends the lines that have no newline when the call is over", () => {
    const guest = new WasiGuest()
    guest.write(1, "half")
    guest.write(2, "other half")
    assert.deepEqual(guest.services.lines, [])
    guest.wasi.over()
    guest.wasi.over()
    assert.deepEqual(guest.services.lines, ["info half", "warn other half"])
  })

  it("cuts lines of more than 8 KiB into several", () => {
    const guest = new WasiGuest()
    guest.write(1, `${"x".repeat(20_000)}\n`)
    const lengths = guest.services.lines.map((line) => line.length - "info ".length)
    assert.deepEqual(lengths, [8192, 8192, 20_000 - 2 * 8192])
  })

  it("passes on output that is not UTF-8 or has NULs as text", () => {
    const guest = new WasiGuest()
    guest.write(1, Uint8Array.of(0x61, 0xff, 0, 0xc3, 0x0a))
    assert.deepEqual(guest.services.lines, ["info a\ufffd\0\ufffd"])
  })

  it("takes at most 64 KiB in one write and says so", () => {
    const guest = new WasiGuest()
    guest.write(1, "y".repeat(50_000), "z".repeat(50_000))
    assert.equal(guest.view.getUint32(8, true), 65_536)
    assert.ok(guest.charged >= 65_536)
  })

  it("charges for every line", () => {
    const guest = new WasiGuest()
    guest.write(1, "a\n\nb\nc")
    assert.ok(guest.charged >= 20_000 && guest.charged < 21_000)
    guest.wasi.over()
    assert.ok(guest.charged < 21_000)
  })

  it("refuses more than 1024 buffers, and traps on a list or a buffer outside the memory", () => {
    const guest = new WasiGuest()
    for (const count of [1025, 2 ** 31, -1]) assert.equal(guest.call("fd_write", 1, 16, count | 0, 8), ERRNO.INVAL)
    const outside = /its memory ends at/
    assert.throws(() => guest.call("fd_write", 1, 4 * 65_536 - 8, 2, 8), outside)
    assert.throws(() => guest.call("fd_write", 1, -8, 1, 8), outside)
    guest.view.setUint32(16, 4 * 65_536 - 10, true)
    guest.view.setUint32(20, 0xffff_ffff, true)
    assert.throws(() => guest.call("fd_write", 1, 16, 1, 8), outside)
    guest.view.setUint32(20, 0, true)
    assert.throws(() => guest.call("fd_write", 1, 16, 1, -2), outside)
  })

  it("takes a buffer list that is its own buffer and its own result", () => {
    const guest = new WasiGuest()
    guest.view.setUint32(16, 16, true)
    guest.view.setUint32(20, 8, true)
    assert.equal(guest.call("fd_write", 1, 16, 1, 16), ERRNO.SUCCESS)
    assert.equal(guest.view.getUint32(16, true), 8)
  })

  it("has an empty standard input", () => {
    const guest = new WasiGuest()
    guest.view.setUint32(OUT, 77, true)
    assert.equal(guest.call("fd_read", 0, 16, 1, OUT), ERRNO.SUCCESS)
    assert.equal(guest.view.getUint32(OUT, true), 0)
    assert.equal(guest.call("fd_read", 1, 16, 1, OUT), ERRNO.BADF)
    assert.equal(guest.write(0, "x"), ERRNO.BADF)
    assert.equal(guest.write(3, "x"), ERRNO.BADF)
  })

  it("describes 0, 1 and 2 as terminals that cannot be sought", () => {
    const guest = new WasiGuest()
    for (const [descriptor, right] of [
      [0, 1n << 1n],
      [1, 1n << 6n],
      [2, 1n << 6n],
    ] as const) {
      assert.equal(guest.call("fd_fdstat_get", descriptor, OUT), ERRNO.SUCCESS)
      assert.equal(guest.view.getUint8(OUT), 2)
      assert.equal(guest.view.getBigUint64(OUT + 8, true) & (right | (1n << 2n) | (1n << 5n)), right)
      assert.equal(guest.call("fd_filestat_get", descriptor, OUT), ERRNO.SUCCESS)
      assert.equal(guest.view.getUint8(OUT + 16), 2)
      assert.equal(guest.call("fd_seek", descriptor, 0n, 1, OUT), ERRNO.SPIPE)
      assert.equal(guest.call("fd_close", descriptor), ERRNO.SUCCESS)
      assert.equal(guest.call("fd_fdstat_set_flags", descriptor, 4), ERRNO.SUCCESS)
      assert.equal(guest.call("fd_fdstat_set_flags", descriptor, 2), ERRNO.NOTSUP)
      assert.equal(guest.call("sock_send", descriptor, 0, 0, 0, 0), ERRNO.NOTSOCK)
    }
  })

  it("has no other descriptor, so that the search for preopened folders ends with the first", () => {
    const guest = new WasiGuest()
    for (const [name, type] of WASI_TYPES) {
      if (!/^(fd|path|sock)_/.test(name)) continue
      const parameters = type.slice(1, type.indexOf(")")).split(" ")
      for (const descriptor of [3, 4, -1, -(2 ** 31)]) {
        const values = parameters.map((each) => (each === "i64" ? 0n : descriptor))
        assert.equal(guest.call(name, ...values), ERRNO.BADF, name)
      }
    }
  })

  it("has no arguments and no environment", () => {
    const guest = new WasiGuest()
    for (const name of ["args_sizes_get", "environ_sizes_get"]) {
      guest.view.setBigUint64(OUT, 2n ** 64n - 1n, true)
      assert.equal(guest.call(name, OUT, OUT + 4), ERRNO.SUCCESS)
      assert.equal(guest.view.getBigUint64(OUT, true), 0n)
    }
  })

  it("has clocks of whole milliseconds, and none of CPU time", () => {
    const guest = new WasiGuest()
    const before = BigInt(Date.now()) * 1_000_000n
    assert.equal(guest.call("clock_time_get", 0, 1n, OUT), ERRNO.SUCCESS)
    const now = guest.view.getBigUint64(OUT, true)
    assert.ok(now >= before && now <= BigInt(Date.now()) * 1_000_000n)
    assert.equal(now % 1_000_000n, 0n)
    guest.call("clock_time_get", 1, 1n, OUT)
    assert.equal(guest.view.getBigUint64(OUT, true), 5_000_000_000n)
    guest.call("clock_res_get", 1, OUT)
    assert.equal(guest.view.getBigUint64(OUT, true), 1_000_000n)
    for (const id of [2, 3, 4, -1]) {
      assert.equal(guest.call("clock_time_get", id, 1n, OUT), ERRNO.INVAL)
      assert.equal(guest.call("clock_res_get", id, OUT), ERRNO.INVAL)
    }
  })

  it("fills memory with random bytes, nothing beside it, and charges for each", () => {
    const guest = new WasiGuest()
    assert.equal(guest.call("random_get", 1000, 64), ERRNO.SUCCESS)
    const bytes = Buffer.from(guest.memory.buffer)
    assert.ok(bytes.subarray(1000, 1064).some((byte) => byte !== 0))
    assert.ok(bytes.every((byte, at) => byte === 0 || (at >= 1000 && at < 1064)))
    assert.equal(guest.charged, 5020 + 4 * 64)
    assert.throws(() => guest.call("random_get", 1000, -1), /its memory ends at/)
    assert.throws(() => guest.call("random_get", 0, 128 * 1024 + 1), { code: "E_LIMIT_MESSAGE" })
  })

  it("ends the call at proc_exit, whatever the code", () => {
    const guest = new WasiGuest()
    assert.throws(() => guest.call("proc_exit", 0), { code: "E_GUEST_TRAPPED", exitCode: 0 })
    assert.throws(() => guest.call("proc_exit", -1), { code: "E_GUEST_TRAPPED", exitCode: 2 ** 32 - 1 })
  })
})

describe("poll_oneoff", () => {
  const SUBSCRIPTIONS = 1024
  const EVENTS = 4096

  function poll(guest: WasiGuest, subscriptions: readonly Subscription[]): { errno: unknown; events: unknown[] } {
    const { view } = guest
    for (const [i, { type, id, timeout = 0n, flags = 0 }] of subscriptions.entries()) {
      const at = SUBSCRIPTIONS + 48 * i
      view.setBigUint64(at, BigInt(i + 100), true)
      view.setUint8(at + 8, type)
      view.setUint32(at + 16, id, true)
      view.setBigUint64(at + 24, timeout, true)
      view.setUint16(at + 40, flags, true)
    }
    const errno = guest.call("poll_oneoff", SUBSCRIPTIONS, EVENTS, subscriptions.length, OUT)
    const events = Array.from({ length: view.getUint32(OUT, true) }, (_, i) => [
      Number(view.getBigUint64(EVENTS + 32 * i, true)),
      view.getUint16(EVENTS + 32 * i + 8, true),
      view.getUint8(EVENTS + 32 * i + 10),
    ])
    return { errno, events }
  }

  it("reports descriptors that are ready, and clocks that are due", () => {
    const guest = new WasiGuest()
    const { events } = poll(guest, [
      { type: 1, id: 0 },
      { type: 2, id: 1 },
      { type: 2, id: 3 },
      { type: 0, id: 1, timeout: 0n },
      { type: 0, id: 1, timeout: 5_000_000_000n, flags: 1 },
      { type: 0, id: 1, timeout: 1n },
      { type: 0, id: 9, timeout: 0n },
    ])
    assert.deepEqual(events, [
      [100, 0, 1],
      [101, 0, 2],
      [102, ERRNO.BADF, 2],
      [103, 0, 0],
      [104, 0, 0],
      [106, ERRNO.INVAL, 0],
    ])
  })

  it("does not sleep: a clock that is not due is reported as not supported", () => {
    const guest = new WasiGuest()
    const { errno, events } = poll(guest, [
      { type: 0, id: 1, timeout: 3_600_000_000_000n },
      { type: 0, id: 1, timeout: 5_001_000_000n, flags: 1 },
    ])
    assert.equal(errno, ERRNO.SUCCESS)
    assert.deepEqual(events, [
      [100, ERRNO.NOTSUP, 0],
      [101, ERRNO.NOTSUP, 0],
    ])
  })

  it("refuses no subscriptions, too many, and kinds that do not exist", () => {
    const guest = new WasiGuest()
    for (const count of [0, 1025, 2 ** 31, -1]) {
      assert.equal(guest.call("poll_oneoff", 0, EVENTS, count | 0, OUT), ERRNO.INVAL)
    }
    assert.equal(poll(guest, [{ type: 3, id: 0 }]).errno, ERRNO.INVAL)
  })

  it("takes events that are written over the subscriptions, and none outside the memory", () => {
    const guest = new WasiGuest()
    const subscription: Subscription = { type: 0, id: 1 }
    poll(guest, [subscription, subscription, subscription])
    assert.equal(guest.call("poll_oneoff", SUBSCRIPTIONS, SUBSCRIPTIONS, 3, OUT), ERRNO.SUCCESS)
    assert.equal(guest.view.getUint32(OUT, true), 3)
    assert.equal(guest.view.getBigUint64(SUBSCRIPTIONS + 64, true), 102n)
    poll(guest, [subscription])
    assert.throws(() => guest.call("poll_oneoff", SUBSCRIPTIONS, -8, 1, OUT), /its memory ends at/)
    assert.throws(() => guest.call("poll_oneoff", -8, EVENTS, 1, OUT), /its memory ends at/)
  })
})

interface Subscription {
  readonly type: number
  readonly id: number
  readonly timeout?: bigint
  readonly flags?: number
}
