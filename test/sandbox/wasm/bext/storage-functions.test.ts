import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { PluginError } from "../../../../src/errors.ts"
import type { GuestStorage } from "../../../../src/host/services.ts"
import { RecordingServices } from "../../../contracts/recording-services.ts"
import { OUT, runSteps, type Step } from "./run-steps.ts"

const [INVALID, KEY, FULL, UNAVAILABLE] = [-2, -10, -11, -12]

describe("functions about storage", () => {
  it("set, get, list and delete", async () => {
    const run = await runSteps([
      ["storage_get", "a"],
      ["storage_set", "a", "1"],
      ["storage_set_ttl", "b", "välue\0", 5000n],
      ["storage_set", "c", ""],
      ["storage_get", "a"],
      ["storage_get", "b"],
      ["storage_get", "c"],
      ["storage_keys", "", 2],
      ["storage_keys", "x", 2],
      ["storage_delete", "a"],
      ["storage_delete", "a"],
      ["storage_get", "a"],
    ])
    const { results, text } = run
    assert.deepEqual([results[1], results[2], results[3]], [0n, 0n, 0n])
    assert.deepEqual([text(0), text(4), text(5), text(6), text(11)], [undefined, "1", "välue\0", "", undefined])
    assert.deepEqual([text(7), text(8)], ["a\0b\0", ""])
    assert.deepEqual([results[9], results[10]], [1n, 0n])
  })

  it("keep bytes as they are, and text as text", async () => {
    const { bytes, services } = await runSteps([
      ["storage_set", "bytes", Buffer.from([0xff, 0, 0x80])],
      ["storage_set", "text", "\ufeffä"],
      ["storage_get", "bytes"],
      ["storage_get", "text"],
    ])
    assert.deepEqual([...bytes(2)], [0xff, 0, 0x80])
    assert.equal(Buffer.from(bytes(3)).toString(), "\ufeffä")
    const storage = services.storage(null)
    assert.deepEqual(storage.get("text"), "\ufeffä")
    assert.deepEqual([...(storage.get("bytes") as Uint8Array)], [0xff, 0, 0x80])
  })

  it("pass time to live and limits on as they are, and give refusals back", async () => {
    const services = new StrictServices()
    const steps: Step[] = [
      ["storage_set_ttl", "a", "v", -1n],
      ["storage_set_ttl", "a", "v", 9_223_372_036_854_775_807n],
      ["storage_set_ttl", "a", "v", 0n],
      ["storage_set", "../a", "v"],
      ["storage_get", "../a"],
      ["storage_delete", "../a"],
      ["storage_set", "full", "v"],
      ["storage_keys", "", -2_147_483_648],
      ["storage_keys", "", 2_147_483_647],
      ["storage_flush"],
      ["last_error"],
    ]
    const run = await runSteps(steps, { services })
    assert.deepEqual(
      run.results.slice(0, 7),
      [INVALID, INVALID, 0, KEY, low(KEY), KEY, FULL].map((code) => BigInt(code)),
    )
    assert.deepEqual(services.limits, [-2_147_483_648, 2_147_483_647])
    assert.equal(run.results[9], BigInt(UNAVAILABLE))
    assert.equal(run.text(10), "E_STATE_UNAVAILABLE: the host cannot save storage now")
  })

  it("belong to the tenant of the call", async () => {
    const services = new RecordingServices()
    await runSteps([["storage_set", "a", "1"]], { services, call: { tenant: "t1" } })
    await runSteps([["storage_set", "a", "2"]], { services, call: { tenant: "t2" } })
    assert.deepEqual([services.storage("t1").get("a"), services.storage("t2").get("a")], ["1", "2"])
  })
})

describe("functions about storage that wait", () => {
  it("count, compare and set, and flush", async () => {
    const run = await runSteps([
      ["storage_incr", "n", 5n, 0n, OUT],
      ["storage_incr", "n", -7n, 0n, OUT + 8],
      ["storage_get", "n"],
      ["storage_cas", "n", "-2", "7", 0n],
      ["storage_cas", "n", "-2", "8", 0n],
      ["storage_cas", "new", 0, -1, "x", 0n],
      ["storage_cas", "new", 0, -1, "y", 0n],
      ["storage_cas", "new", "x", Buffer.from([0xff]), 0n],
      ["storage_get", "new"],
      ["storage_flush"],
    ])
    const { results, memory } = run
    assert.deepEqual([memory.readBigInt64LE(OUT), memory.readBigInt64LE(OUT + 8)], [5n, -2n])
    assert.equal(run.text(2), "-2")
    assert.deepEqual(results.slice(3, 8), [1n, 0n, 1n, 0n, 1n])
    assert.deepEqual([...run.bytes(8)], [0xff])
    assert.deepEqual([results[0], results[1], results[9]], [0n, 0n, 0n])
  })

  it("count nothing when there is no place for the sum", async () => {
    for (const out of [65_529, -8, -1]) {
      const services = new RecordingServices()
      await assert.rejects(runSteps([["storage_incr", "n", 1n, 0n, out]], { services }), { code: "E_GUEST_TRAPPED" })
      assert.equal(services.storage(null).get("n"), undefined)
    }
  })

  it("write sums at any address, also odd ones and the last one", async () => {
    const { memory } = await runSteps([
      ["storage_incr", "n", 9_007_199_254_740_991n, 0n, OUT + 1],
      ["storage_incr", "m", -1n, 0n, 65_528],
    ])
    assert.deepEqual([memory.readBigInt64LE(OUT + 1), memory.readBigInt64LE(65_528)], [9_007_199_254_740_991n, -1n])
  })

  it("give refusals back that come later", async () => {
    const services = new StrictServices()
    const run = await runSteps([["storage_incr", "full", 1n, 0n, OUT], ["last_error"]], { services })
    assert.deepEqual([run.results[0], run.memory.readBigInt64LE(OUT)], [BigInt(FULL), 0n])
    assert.equal(run.text(1), 'E_LIMIT_STORAGE: no room for "full"')
  })
})

/** The refusals of the real storage, for some keys. */
class StrictServices extends RecordingServices {
  readonly limits: number[] = []
  override storage(tenant: string | null): GuestStorage {
    const inner = super.storage(tenant)
    const checked = (key: string, ttlMs = 0) => {
      if (key.includes("..")) throw new PluginError("E_STORAGE_KEY", "guest", "not a storage key")
      if (key === "full") throw new PluginError("E_LIMIT_STORAGE", "guest", 'no room for "full"')
      if (!(ttlMs >= 0 && ttlMs <= 1e13)) throw new PluginError("E_GUEST_RESULT_INVALID", "guest", "no time to live")
      return inner
    }
    return {
      get: (key) => checked(key).get(key),
      set: (key, value, ttlMs) => checked(key, ttlMs).set(key, value, ttlMs),
      delete: (key) => checked(key).delete(key),
      keys: (_, limit) => {
        this.limits.push(limit)
        return []
      },
      incr: async (key, by, ttlMs) => checked(key).incr(key, by, ttlMs),
      cas: (...all) => inner.cas(...all),
      flush: async () => {
        throw new PluginError("E_STATE_UNAVAILABLE", "guest", "the host cannot save storage now")
      },
    }
  }
}

function low(code: number): bigint {
  return BigInt.asUintN(32, BigInt(code))
}
