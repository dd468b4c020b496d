import assert from "node:assert/strict"
import { createHash, createHmac, generateKeyPairSync, sign } from "node:crypto"
import { describe, it } from "node:test"
import { OUT, runSteps, type Step } from "./run-steps.ts"

const INVALID = BigInt(-2)

describe("clocks", () => {
  it("count whole milliseconds", async () => {
    const before = Date.now()
    const { results } = await runSteps([["clock_now"], ["clock_monotonic"], ["clock_now"], ["clock_monotonic"]])
    assert.ok(Number(results[0]) >= before && Number(results[2]) <= Date.now())
    assert.ok(results[1]! > 0n && results[3]! >= results[1]!)
  })
})

describe("random", () => {
  it("fills what it is given, and nothing else", async () => {
    const { results, memory } = await runSteps([["random", OUT, 64]])
    assert.deepEqual(results, [0n])
    assert.ok(new Set(memory.subarray(OUT, OUT + 64)).size > 8)
    assert.ok([...memory.subarray(OUT - 64, OUT), ...memory.subarray(OUT + 64, OUT + 128)].every((byte) => byte === 0))
  })

  it("gives at most 65,536 bytes at a time, inside the memory", async () => {
    const { results } = await runSteps([
      ["random", 0, 65_537],
      ["random", 0, -1],
      ["random", 65_536, 0],
      ["random", OUT, 0],
    ])
    assert.deepEqual(results, [INVALID, INVALID, 0n, 0n])
    for (const [buffer, length] of [
      [65_535, 2],
      [1, 65_536],
      [-1, 1],
      [-65_536, 65_536],
    ] as const) {
      await assert.rejects(runSteps([["random", buffer, length]]), { code: "E_GUEST_TRAPPED" })
    }
  })
})

describe("hashes", () => {
  it("are those of the bytes, written where the guest says, also over the bytes themselves", async () => {
    const { memory, results } = await runSteps([
      ["sha256", "abc", OUT],
      ["sha256", "", OUT + 33],
      ["hmac_sha256", "key", "message", OUT + 100],
      ["hmac_sha256", "", "", OUT + 132],
      ["sha256", OUT, 32, OUT + 16],
      ["sha256", "abc", 65_504],
    ])
    assert.deepEqual(results, new Array(6).fill(0n))
    const abc = createHash("sha256").update("abc").digest()
    assert.deepEqual(memory.subarray(OUT, OUT + 16), abc.subarray(0, 16))
    assert.deepEqual(memory.subarray(OUT + 16, OUT + 33), createHash("sha256").update(abc).digest().subarray(0, 17))
    assert.deepEqual(memory.subarray(OUT + 100, OUT + 132), createHmac("sha256", "key").update("message").digest())
    assert.deepEqual(memory.subarray(OUT + 132, OUT + 164), createHmac("sha256", "").update("").digest())
    assert.deepEqual(memory.subarray(65_504), abc)
  })

  it("end the call when there is no room for them", async () => {
    for (const step of [
      ["sha256", "abc", 65_505],
      ["sha256", "abc", -1],
      ["sha256", 65_536, 1, OUT],
      ["hmac_sha256", "a", "b", 65_505],
      ["hmac_sha256", -1, 1, "b", OUT],
    ] as Step[]) {
      await assert.rejects(runSteps([step]), { code: "E_GUEST_TRAPPED" })
    }
  })
})

describe("ed25519_verify", () => {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519")
  const key = publicKey.export({ format: "der", type: "spki" }).subarray(-32)
  const signature = sign(null, Buffer.from("message"), privateKey)

  it("tells a valid signature from any other", async () => {
    const wrong = Buffer.from(signature)
    wrong[5]! ^= 1
    const at = [1024, 1056, 1120] as const
    const all = Buffer.concat([key, signature, wrong])
    const run = await runSteps([
      ["sha256", all, OUT],
      ["ed25519_verify", at[0], at[1], "message"],
      ["ed25519_verify", at[0], at[2], "message"],
      ["ed25519_verify", at[0], at[1], "massage"],
      ["ed25519_verify", at[1], at[1], "message"],
      ["ed25519_verify", 0, at[1], "message"],
      ["ed25519_verify", at[0], 0, ""],
    ])
    assert.deepEqual(run.results.slice(1), [1n, 0n, 0n, 0n, 0n, 0n])
  })

  it("takes any 32 bytes as a key without failing", async () => {
    const keys = Array.from({ length: 60 }, (_, i) => createHash("sha256").update(`${i}`).digest())
    keys.push(Buffer.alloc(32, 0xff), Buffer.from("01".padEnd(64, "0"), "hex"))
    const { results } = await runSteps([
      ["sha256", Buffer.concat(keys), OUT],
      ...keys.map((_, i): Step => ["ed25519_verify", 1024 + 32 * i, 1024, "message"]),
    ])
    assert.deepEqual(
      results.slice(1),
      keys.map(() => 0n),
    )
  })

  it("ends the call when key or signature lie outside the memory", async () => {
    for (const [keyAt, signatureAt] of [
      [65_505, 0],
      [0, 65_473],
      [-1, 0],
      [0, -64],
    ] as const) {
      await assert.rejects(runSteps([["ed25519_verify", keyAt, signatureAt, ""]]), { code: "E_GUEST_TRAPPED" })
    }
  })
})
