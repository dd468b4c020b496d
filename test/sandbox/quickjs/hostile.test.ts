import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { PluginError } from "../../../src/errors.ts"
import { createQuickjsTier } from "../../../src/sandbox/quickjs/tier.ts"
import type { Sandbox } from "../../../src/sandbox/sandbox.ts"
import { RecordingExchange } from "../../contracts/recording-exchange.ts"
import { request } from "../../contracts/sandbox-contract.ts"
import { HOSTILE_SCRIPTS } from "../../fixtures/guests/hostile-scripts.ts"
import { writeGuest } from "./write-guest.ts"

/** Every way a hostile hook may end. A script that needs less than its budget may also just return. */
const ENDS = new Set(["returned", "E_LIMIT_CPU", "E_LIMIT_MEMORY", "E_LIMIT_STACK", "E_GUEST_THREW"])

describe("quickjs stops hostile hooks", async () => {
  const tier = await createQuickjsTier()
  const end = async (guest: Sandbox, path: string) => {
    const exchange = new RecordingExchange(path)
    try {
      await guest.call(request(exchange, { cpuMs: 50 }))
      return exchange.text ?? "returned"
    } catch (error) {
      assert.ok(error instanceof PluginError, String(error))
      return error.code
    }
  }

  for (const [name, script] of Object.entries(HOSTILE_SCRIPTS)) {
    it(`${name}: a coded failure, and the next calls work`, async () => {
      const source = `export function onRequest(ctx) { if (ctx.path === "/calm") return new Response("calm"); ${script} }`
      for (const instance of ["shared", "fresh"] as const) {
        await using guest = await writeGuest(tier, source, { instance, limits: { memoryBytes: 64 * 1024 * 1024 } })
        const how = await end(guest, "/")
        assert.ok(ENDS.has(how), how)
        assert.equal(await end(guest, "/calm"), "calm")
        assert.ok(ENDS.has(await end(guest, "/")))
        assert.equal(await end(guest, "/calm"), "calm")
      }
    })
  }
})
