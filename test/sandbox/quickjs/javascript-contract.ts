import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { RecordingExchange } from "../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../contracts/recording-services.ts"
import {
  answer,
  fails,
  failsToLoad,
  isCalm,
  type LoadFixture,
  opener,
  request,
  type TierTraits,
} from "../../contracts/sandbox-contract.ts"

/** What the contract of all tiers leaves to the one of JavaScript. */
export const JAVASCRIPT: TierTraits = {
  topLevel: {
    fails: ["E_PLUGIN_LOAD_FAILED", /index\.js:2:\d+/],
    spins: ["E_LIMIT_CPU", /the top level used more than/],
  },
  deeds: [
    ["spin-in-native-code", "E_LIMIT_CPU"],
    ["catch-everything", "E_LIMIT_CPU"],
    ["flood-microtasks", "E_LIMIT_CPU"],
    ["throw-string", "E_GUEST_THREW"],
  ],
}

/** What JavaScript guests may rely on besides: where they failed, promises, timers, work after the answer. */
export function javascriptContract(tier: string, load: LoadFixture): void {
  const open = opener(load)

  describe(`${tier}: failures in JavaScript`, () => {
    it("leaves no trace of what a guest did after it was stopped", async () => {
      await using guest = await open("catch-everything")
      await fails(guest, "/", "E_LIMIT_CPU", { cpuMs: 20 })
      assert.equal((await answer(guest, "/calm")).text, "false")
    })

    it("says what the guest threw and where, in the cause", async () => {
      await using guest = await open("throw-error")
      await assert.rejects(
        async () => guest.call(request(new RecordingExchange("/"))),
        (error: Error) => {
          assert.match(error.message, /on_request: TypeError: not today \(index\.js:7:\d+\)/)
          assert.match(
            (error.cause as Error).stack ?? "",
            /^TypeError: not today\n +at fail \(index\.js:7:\d+\)\n +at onRequest \(index\.js:3:\d+\)$/,
          )
          return true
        },
      )
    })

    it("says where the guest let a refusal pass", async () => {
      await using guest = await open("break-the-rules")
      await assert.rejects(async () => guest.call(request(new RecordingExchange("/uncaught"))), {
        message: /: on_request: host is .+ \(index\.js:\d+:\d+\) \[E_HEADER_FORBIDDEN\]$/,
      })
    })

    for (const path of ["/text", "/action"]) {
      it(`refuses a result of the wrong shape: ${path}`, async () => {
        await using guest = await open("return-nonsense")
        await fails(guest, path, "E_GUEST_RESULT_INVALID")
        await isCalm(guest)
      })
    }
    for (const path of ["/headers", "/body", "/pairs", "/getter"]) {
      it(`fails a call whose result cannot be read: ${path}`, async () => {
        await using guest = await open("return-nonsense")
        await fails(guest, path, "E_GUEST_THREW")
        await isCalm(guest)
      })
    }

    it("refuses a context that was kept beyond its request", async () => {
      await using guest = await open("keep-a-request")
      await answer(guest, "/first")
      assert.match((await answer(guest, "/second")).text ?? "", /is over/)
    })

    it("fails the other calls of a broken shared instance, and serves on with the next generation", async () => {
      await using guest = await open("break-while-others-wait")
      const waiting = guest.call(request(new RecordingExchange("/wait")))
      assert.equal(guest.generation, 0)
      await fails(guest, "/spin", "E_LIMIT_CPU", { cpuMs: 10 })
      await assert.rejects(async () => waiting, { code: "E_INSTANCE_RESET" })
      assert.equal(guest.generation, 1)
      await isCalm(guest)
    })
  })

  describe(`${tier}: work of JavaScript beyond the call`, () => {
    it("cancels what a settled call left behind, and names what on_server_start left", async () => {
      const services = new RecordingServices()
      await using guest = await open("leave-timers-behind", { services })
      await answer(guest, "/")
      await new Promise((resolve) => setTimeout(resolve, 20))
      assert.deepEqual(services.lines, [
        "warn on_server_start left behind, now cancelled: interval of 1 ms, timer of 60000 ms",
      ])
    })

    it("goes on with waitUntil after the answer, within the budgets of the call", async () => {
      for (const instance of ["shared", "fresh"] as const) {
        const services = new RecordingServices()
        await using guest = await open("work-after-the-answer", { services, instance })
        const exchange = new RecordingExchange("/a")
        assert.equal(await guest.call(request(exchange)), undefined)
        assert.equal(exchange.text, "now")
        await guest.call(request(new RecordingExchange("/spin"), { cpuMs: 20 }))
        await until(() => services.lines.length === 3)
        assert.ok(services.lines.includes("info later /a"))
        assert.ok(
          services.lines.some((line) => line.startsWith("error after the answer:") && line.includes("E_LIMIT_CPU")),
        )
      }
    })
  })

  describe(`${tier}: loading JavaScript`, () => {
    it("refuses a top level that waits", () =>
      failsToLoad(load, "wait-at-top-level", ["E_PLUGIN_LOAD_FAILED", /top level waits/]))
    it("refuses a hook that is exported twice", () =>
      failsToLoad(load, "export-a-hook-twice", ["E_PLUGIN_LOAD_FAILED", /onRequest.*on_request.*same hook/]))
    it("takes hooks in both spellings", async () => {
      await using guest = await open("answer-events")
      assert.deepEqual([...guest.hooks].sort(), ["cache_get", "on_request_complete", "transform"])
    })
  })
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5))
}
