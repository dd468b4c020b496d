import assert from "node:assert/strict"
import { describe, it } from "node:test"
import type { ErrorCode } from "../../src/errors.ts"
import type { HookName } from "../../src/hooks.ts"
import type { CallLimits, HookCall, InstanceMode, Json, Limits, Sandbox } from "../../src/sandbox/sandbox.ts"
import { RecordingExchange } from "./recording-exchange.ts"
import { RecordingServices } from "./recording-services.ts"

/** Name of a guest in test/fixtures/guests; each tier has its own implementation of the same deed there. */
export type Fixture = string

export interface LoadOptions {
  readonly instance: InstanceMode
  readonly services: RecordingServices
  readonly limits: Limits
}

/** Loads a guest, not yet `ready`. */
export type LoadFixture = (guest: Fixture, options: LoadOptions) => Promise<Sandbox>

/**
 * What every tier must do with every guest. A tier's test file says how to load one.
 * @param elsewhere - The guest does not run in this thread: its answers always come later, and its storage is not here.
 */
export function sandboxContract(tier: string, load: LoadFixture, { elsewhere = false } = {}): void {
  const open = async (guest: Fixture, options: Partial<LoadOptions> = {}) => {
    const services = options.services ?? new RecordingServices()
    const sandbox = await load(guest, { instance: "shared", services, limits: LIMITS, ...options })
    await sandbox.ready(sandbox.hooks.has("on_server_start") ? event("on_server_start", [services.config]) : null)
    return sandbox
  }

  describe(`${tier}: answers`, () => {
    it("gives the guest the request and takes its answer, without a promise when nothing waited", async () => {
      await using guest = await open("answer-request")
      const exchange = new RecordingExchange("/pairs")
      const result = guest.call(request(exchange))
      if (elsewhere) assert.equal(await result, undefined)
      else assert.equal(result, undefined)
      assert.equal(exchange.text, "GET /pairs a=1&b=%20 example.com:8080 1 ")
      assert.equal(exchange.answer?.status, 201)
      const [name, value] = exchange.answer?.headers[0] ?? []
      assert.deepEqual([name, value?.trim()], ["x-seen", exchange.text?.trim()])
    })

    it("says which protocol the client asks to go on with", async () => {
      await using guest = await open("answer-request")
      assert.equal((await answer(guest, "/upgrade")).text, "websocket")
    })

    it("takes bytes, a Response, and nothing", async () => {
      await using guest = await open("answer-request")
      assert.deepEqual([...((await answer(guest, "/bytes")).answer?.body ?? [])], [255, 104, 105])
      const response = await answer(guest, "/response")
      assert.equal(response.answer?.status, 202)
      assert.ok(response.answer?.headers.some(([name, value]) => name === "x-a" && value === "b"))
      assert.equal((await answer(guest, "/continue")).answer, null)
      assert.equal((await answer(guest, "/nothing")).answer, null)
    })

    it("lets on_response change the response", async () => {
      await using guest = await open("answer-request")
      const exchange = new RecordingExchange("/", "response")
      await guest.call({ ...request(exchange), hook: "on_response" })
      assert.equal(exchange.lists.response.get("x-status"), "200")
    })

    it("knows the hooks of a guest, in both spellings, and runs those without a request", async () => {
      const services = new RecordingServices()
      await using guest = await open("answer-events", { services })
      assert.deepEqual([...guest.hooks].sort(), ["cache_get", "on_request_complete", "transform"])
      assert.equal(await guest.call(event("transform", ["a", "x.txt", { node_env: "test", env_vars: {} }])), "a test")
      assert.equal(await guest.call(event("transform", ["a", "x.js", { node_env: "test", env_vars: {} }])), undefined)
      assert.deepEqual(await guest.call(event("cache_get", ["k"])), { key: "k", greeting: "from this" })
      assert.equal(await guest.call(event("on_request_complete", [{ path: "/p" }])), undefined)
      assert.deepEqual(services.lines, ["info /p true"])
    })

    it("answers after a wait, with several calls interleaved", async () => {
      await using guest = await open("wait-then-answer")
      const texts = await Promise.all(["/a", "/b", "/c"].map(async (path) => (await answer(guest, path)).text))
      assert.deepEqual(texts, ["/a 1", "/b 1", "/c 1"])
    })

    it("brings the host's services to the guest", async () => {
      const services = new RecordingServices()
      await using guest = await open("use-services", { services })
      const { text } = await answer(guest, "/")
      assert.equal(text, "välue\0end|3||3|s3cret|hello|203|afar|fetchéd")
      assert.deepEqual(services.lines, ["warn text {n: 1} [2]"])
      assert.deepEqual(services.metrics, [["hits", 2, { path: "/" }]])
      const [sent] = services.requests
      assert.deepEqual(
        [sent?.method, sent?.headers, Buffer.from(sent?.body ?? []).toString()],
        ["POST", [["a", "b"]], "out"],
      )
    })

    it("keeps storage of tenants apart", async () => {
      const services = new RecordingServices()
      await using guest = await open("use-services", { services })
      for (const tenant of ["t1", "t2"]) {
        const exchange = new RecordingExchange("/")
        await guest.call({ ...request(exchange), tenant })
        // What it counted for the other tenant would be in here.
        assert.match(exchange.text ?? "", /\|\|3\|s3cret/)
      }
      if (!elsewhere) assert.deepEqual([...services.partitions.keys()].sort(), ["t1", "t2"])
    })
  })

  describe(`${tier}: failures`, () => {
    const fails = async (guest: Sandbox, path: string, code: ErrorCode, limits: Partial<CallLimits> = {}) => {
      const call = request(new RecordingExchange(path), limits)
      await assert.rejects(async () => guest.call(call), { name: "PluginError", code })
    }
    const isCalm = async (guest: Sandbox) => assert.ok(await answer(guest, "/calm"))

    for (const [guest, code] of [
      ["spin-forever", "E_LIMIT_CPU"],
      ["spin-in-native-code", "E_LIMIT_CPU"],
      ["catch-everything", "E_LIMIT_CPU"],
      ["flood-microtasks", "E_LIMIT_CPU"],
      ["grow-memory", "E_LIMIT_MEMORY"],
      ["recurse-forever", "E_LIMIT_STACK"],
      ["throw-error", "E_GUEST_THREW"],
      ["throw-string", "E_GUEST_THREW"],
      ["never-settle", "E_LIMIT_TIME"],
      ["send-much", "E_LIMIT_MESSAGE"],
    ] as const) {
      for (const instance of ["shared", "fresh"] as const) {
        it(`${instance}: ${guest} ends with ${code}, and the next call works`, async () => {
          await using sandbox = await open(guest, { instance })
          await fails(sandbox, "/", code, BUDGETS[code] ?? {})
          await isCalm(sandbox)
        })
      }
    }

    it("leaves no trace of what a guest did after it was stopped", async () => {
      await using guest = await open("catch-everything")
      await fails(guest, "/", "E_LIMIT_CPU", { cpuMs: 20 })
      assert.equal((await answer(guest, "/calm")).text, "false")
    })

    it("does not bother a guest with parameters over the limit", async () => {
      await using guest = await open("answer-events")
      const long = event("transform", ["x".repeat(LIMITS.messageBytes), "x.txt", {}])
      await assert.rejects(async () => guest.call(long), { code: "E_LIMIT_MESSAGE" })
      assert.equal(guest.generation, 0)
    })

    it("lets a guest handle that its memory is full", async () => {
      await using guest = await open("allocate-and-catch")
      assert.match((await answer(guest, "/")).text ?? "", /^out of memory, 65536$/)
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

    for (const path of ["/number", "/text", "/action"]) {
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

    it("hands refusals to the guest, and reports an uncaught one under its own code", async () => {
      await using guest = await open("break-the-rules")
      assert.equal((await answer(guest, "/caught")).text, "true E_HEADER_FORBIDDEN")
      await fails(guest, "/uncaught", "E_HEADER_FORBIDDEN")
      await assert.rejects(async () => guest.call(request(new RecordingExchange("/uncaught"))), {
        message:
          /^[a-z-]+: on_request: host is (?:not yours|set by the server alone) \(index\.js:\d+:\d+\) \[E_HEADER_FORBIDDEN\]$/,
      })
      await fails(await open("return-nonsense"), "/status", "E_STATUS_INVALID")
    })

    it("refuses a context that was kept beyond its request", async () => {
      await using guest = await open("keep-a-request")
      await answer(guest, "/first")
      assert.match((await answer(guest, "/second")).text ?? "", /is over/)
    })

    it("stops a waiting guest when the caller gives up", async () => {
      await using guest = await open("never-settle")
      const abort = new AbortController()
      const call = guest.call({ ...request(new RecordingExchange("/")), signal: abort.signal })
      abort.abort(new Error("gone"))
      await assert.rejects(async () => call, { code: "E_LIMIT_TIME" })
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

    it("ends waiting calls when it is disposed", async () => {
      const guest = await open("never-settle")
      const waiting = guest.call(request(new RecordingExchange("/")))
      await guest[Symbol.asyncDispose]()
      await assert.rejects(async () => waiting, { code: "E_GUEST_EXITED" })
      await assert.rejects(async () => guest.call(request(new RecordingExchange("/calm"))), { code: "E_GUEST_EXITED" })
    })
  })

  describe(`${tier}: instances`, () => {
    it("keeps module state in a shared instance, beginning after on_server_start", async () => {
      await using guest = await open("count-calls")
      assert.deepEqual([(await answer(guest, "/")).text, (await answer(guest, "/")).text], ["101", "102"])
    })

    it("shows every call of a fresh guest the image, also when calls overlap", async () => {
      await using guest = await open("count-calls", { instance: "fresh" })
      const texts = await Promise.all(["/", "/wait", "/", "/wait", "/"].map(async (p) => (await answer(guest, p)).text))
      assert.deepEqual(texts, ["101", "101", "101", "101", "101"])
    })

    it("refuses a call when all fresh instances wait, and serves again afterwards", async () => {
      await using guest = await open("count-calls", { instance: "fresh", limits: { ...LIMITS, maxInstances: 2 } })
      const waiting = [answer(guest, "/wait"), answer(guest, "/wait")]
      await assert.rejects(answer(guest, "/"), { code: "E_OVERLOADED" })
      await Promise.all(waiting)
      assert.equal((await answer(guest, "/")).text, "101")
    })

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

  describe(`${tier}: loading`, () => {
    const failsToLoad = async (guest: Fixture, code: ErrorCode, message: RegExp) => {
      await assert.rejects(open(guest), (error: Error & { code?: string }) => {
        assert.equal(error.code, code)
        assert.match(error.message, message)
        return true
      })
    }

    it("reports what the top level throws, with its position", () =>
      failsToLoad("fail-at-top-level", "E_PLUGIN_LOAD_FAILED", /index\.js:2:\d+/))
    it("fails when on_server_start fails", () =>
      failsToLoad("fail-at-start", "E_GUEST_THREW", /on_server_start: Error: no database/))
    it("refuses a top level that waits", () =>
      failsToLoad("wait-at-top-level", "E_PLUGIN_LOAD_FAILED", /top level waits/))
    it("stops a top level that spins", () =>
      failsToLoad("spin-at-top-level", "E_LIMIT_CPU", /the top level used more than/))
    it("refuses a hook that is exported twice", () =>
      failsToLoad("export-a-hook-twice", "E_PLUGIN_LOAD_FAILED", /onRequest.*on_request.*same hook/))
  })
}

const MIB = 1024 * 1024

export const LIMITS: Limits = { memoryBytes: 16 * MIB, messageBytes: 64 * 1024, maxInstances: 16 }

/** Enough CPU that only the limit in question is reached, even on a busy machine. */
const BUDGETS: Partial<Record<ErrorCode, Partial<CallLimits>>> = {
  E_LIMIT_CPU: { cpuMs: 30 },
  E_LIMIT_TIME: { wallMs: 50 },
  E_LIMIT_MEMORY: { cpuMs: 20_000, wallMs: 60_000 },
}

export function request(exchange: RecordingExchange, limits: Partial<CallLimits> = {}): HookCall {
  const all = { cpuMs: 10_000, wallMs: 30_000, fuel: 100_000_000, ...limits }
  return { hook: "on_request", exchange, params: [], tenant: null, limits: all, leader: true, signal: null }
}

export function event(hook: HookName, params: readonly Json[]): HookCall {
  return { ...request(new RecordingExchange("/")), hook, exchange: null, params }
}

async function answer(guest: Sandbox, path: string): Promise<RecordingExchange> {
  const exchange = new RecordingExchange(path)
  await guest.call(request(exchange))
  return exchange
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5))
}
