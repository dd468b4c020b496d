import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { setTimeout as delay } from "node:timers/promises"
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

/** In what a tier differs from the others. */
export interface TierTraits {
  /** The guest does not run in this thread: its answers always come later, and its storage is not here. */
  readonly elsewhere?: boolean
  /** The guest is a program of its own: its answers always come later, though what it asks the host is done here. */
  readonly program?: {
    /** Which refusal a guest can catch. What it changes of a request is refused when it has answered: too late for it. */
    readonly catches: ErrorCode
    /** How a recursion without end ends: its language stops it, before its stack is full. */
    readonly recursion: ErrorCode
    /** How a full memory ends: the kernel ends the program, or tells it, and then it throws unless it handles that. */
    readonly fullMemory: "E_LIMIT_MEMORY" | "E_GUEST_THREW"
  }
  /** How loading fails when a guest fails, or spins, before any hook runs. */
  readonly topLevel: { readonly fails: Refusal; readonly spins: Refusal }
  /** What only guests of this tier can do, and how the call ends. */
  readonly deeds?: readonly (readonly [Fixture, ErrorCode])[]
}

export type Refusal = readonly [code: ErrorCode, message: RegExp]

/** What every tier must do with every guest. A tier's test file says how to load one, and tests what is the tier's own. */
export function sandboxContract(tier: string, load: LoadFixture, traits: TierTraits): void {
  const { elsewhere = false, program, topLevel, deeds = [] } = traits
  const open = opener(load)

  describe(`${tier}: answers`, () => {
    it("gives the guest the request and takes its answer, without a promise when nothing waited", async () => {
      await using guest = await open("answer-request")
      const exchange = new RecordingExchange("/pairs")
      const result = guest.call(request(exchange))
      if (elsewhere || program !== undefined) assert.equal(await result, undefined)
      else assert.equal(result, undefined)
      assert.equal(exchange.text, "GET /pairs a=1&b=%20 example.com:8080 1 ")
      assert.equal(exchange.answer?.status, 201)
      const [name, value] = exchange.answer?.headers[0] ?? []
      assert.deepEqual([name, value?.trim()], ["x-seen", exchange.text?.trim()])
    })

    it("lets on_request change the request: its method, its path and its query", async () => {
      await using guest = await open("answer-request")
      const { method, path, query, answer: answered } = await answer(guest, "/rewrite")
      assert.deepEqual([method, path, query, answered], ["PUT", "/rewritten", "c=%203", null])
    })

    it("says which protocol the client asks to go on with", async () => {
      await using guest = await open("answer-request")
      assert.equal((await answer(guest, "/upgrade")).text, "websocket")
    })

    it("takes bytes, a status with headers, and nothing", async () => {
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

    it("knows the hooks of a guest, and runs those without a request", async () => {
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
      const [message, ...found] = (text ?? "").split("|").reverse()
      assert.equal(found.reverse().join("|"), "välue\0end|3||3|s3cret|hello|203|afar|fetchéd")
      assert.deepEqual(services.lines, ["warn text {n: 1} [2]"])
      assert.deepEqual(services.metrics, [["hits", 2, { path: "/" }]])
      const [sent] = services.requests
      assert.deepEqual(
        [sent?.method, sent?.headers, Buffer.from(sent?.body ?? []).toString()],
        ["POST", [["a", "b"]], "out"],
      )
      if (elsewhere) return
      const pushed = { queue: "mail", value: '{"to":"ada"}', key: "ada", delayMs: 1000, tenant: null }
      assert.deepEqual([message, services.messages], ["message 1", [pushed]])
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
    for (const [guest, code] of [
      ["spin-forever", "E_LIMIT_CPU"],
      ["grow-memory", program?.fullMemory ?? "E_LIMIT_MEMORY"],
      ["recurse-forever", program?.recursion ?? "E_LIMIT_STACK"],
      ["throw-error", "E_GUEST_THREW"],
      ["never-settle", "E_LIMIT_TIME"],
      ["send-much", "E_LIMIT_MESSAGE"],
      ...deeds,
    ] as const) {
      for (const instance of ["shared", "fresh"] as const) {
        it(`${instance}: ${guest} ends with ${code}, and the next call works`, async () => {
          await using sandbox = await open(guest, { instance, services: neverFetching() })
          await fails(sandbox, "/", code, BUDGETS[code])
          await isCalm(sandbox)
        })
      }
    }

    it("does not bother a guest with parameters over the limit", async () => {
      await using guest = await open("answer-events")
      const long = event("transform", ["x".repeat(LIMITS.messageBytes), "x.txt", {}])
      await assert.rejects(async () => guest.call(long), { code: "E_LIMIT_MESSAGE" })
      assert.equal(guest.generation, 0)
    })

    it("lets a guest handle that its memory is full", async () => {
      await using guest = await open("allocate-and-catch")
      if (program?.fullMemory === "E_LIMIT_MEMORY") await fails(guest, "/", "E_LIMIT_MEMORY")
      else assert.match((await answer(guest, "/")).text ?? "", /^out of memory, 65536$/)
    })

    it("says what the guest says went wrong", async () => {
      await using guest = await open("throw-error")
      await assert.rejects(async () => guest.call(request(new RecordingExchange("/"))), {
        message: /^throw-error: on_request: .*not today.* \[E_GUEST_THREW\]$/,
      })
    })

    it("refuses a result that the hook does not have", async () => {
      await using guest = await open("return-nonsense")
      await fails(guest, "/number", "E_GUEST_RESULT_INVALID")
      await isCalm(guest)
    })

    it("hands refusals to the guest, and reports an uncaught one under its own code", async () => {
      await using guest = await open("break-the-rules")
      assert.equal((await answer(guest, "/caught")).text, `true ${program?.catches ?? "E_HEADER_FORBIDDEN"}`)
      await fails(guest, "/uncaught", "E_HEADER_FORBIDDEN")
      await assert.rejects(async () => guest.call(request(new RecordingExchange("/uncaught"))), {
        message:
          /^[a-z-]+: on_request: host is (?:not yours|set by the server alone)(?: \(.+\))? \[E_HEADER_FORBIDDEN\]$/,
      })
      await using other = await open("return-nonsense")
      await fails(other, "/status", "E_STATUS_INVALID")
    })

    it("stops a waiting guest when the caller gives up", async () => {
      await using guest = await open("never-settle", { services: neverFetching() })
      const abort = new AbortController()
      const call = guest.call({ ...request(new RecordingExchange("/")), signal: abort.signal })
      abort.abort(new Error("gone"))
      await assert.rejects(async () => call, { code: "E_LIMIT_TIME" })
    })

    it("ends waiting calls when it is disposed", async () => {
      const guest = await open("never-settle", { services: neverFetching() })
      const waiting = guest.call(request(new RecordingExchange("/")))
      const ended = assert.rejects(async () => waiting, { code: "E_GUEST_EXITED" })
      await guest[Symbol.asyncDispose]()
      await ended
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
      const services = new RecordingServices()
      const { respond } = services
      services.respond = async (...args) => {
        await delay(100)
        return respond(...args)
      }
      const limits = { ...LIMITS, maxInstances: 2 }
      await using guest = await open("count-calls", { instance: "fresh", limits, services })
      const waiting = [answer(guest, "/wait"), answer(guest, "/wait")]
      await assert.rejects(answer(guest, "/"), { code: "E_OVERLOADED" })
      await Promise.all(waiting)
      assert.equal((await answer(guest, "/")).text, "101")
    })
  })

  describe(`${tier}: loading`, () => {
    it("reports what fails before any hook runs", () => failsToLoad(load, "fail-at-top-level", topLevel.fails))
    it("stops what spins before any hook runs", () => failsToLoad(load, "spin-at-top-level", topLevel.spins))
    it("fails when on_server_start fails", () =>
      failsToLoad(load, "fail-at-start", ["E_GUEST_THREW", /on_server_start: .*no database/]))
  })
}

const MIB = 1024 * 1024

export const LIMITS: Limits = { memoryBytes: 16 * MIB, messageBytes: 64 * 1024, maxInstances: 16 }

/** Enough CPU that only the limit in question is reached, even on a busy machine. */
const BUDGETS: Partial<Record<ErrorCode, Partial<CallLimits>>> = {
  E_LIMIT_CPU: { cpuMs: 30, fuel: Number.MAX_SAFE_INTEGER },
  E_LIMIT_FUEL: { fuel: 1_000_000, cpuMs: 20_000, wallMs: 60_000 },
  E_LIMIT_TIME: { wallMs: 50 },
  E_LIMIT_MEMORY: { cpuMs: 20_000, wallMs: 60_000 },
}

/** @returns a function that loads a guest and makes it ready. */
export function opener(load: LoadFixture): (guest: Fixture, options?: Partial<LoadOptions>) => Promise<Sandbox> {
  return async (guest, options = {}) => {
    const services = options.services ?? new RecordingServices()
    const sandbox = await load(guest, { instance: "shared", services, limits: LIMITS, ...options })
    await sandbox.ready(sandbox.hooks.has("on_server_start") ? event("on_server_start", [services.config]) : null)
    return sandbox
  }
}

export function request(exchange: RecordingExchange, limits: Partial<CallLimits> = {}): HookCall {
  const all = { cpuMs: 10_000, wallMs: 30_000, fuel: 100_000_000, ...limits }
  return { hook: "on_request", exchange, params: [], tenant: null, limits: all, leader: true, signal: null }
}

export function event(hook: HookName, params: readonly Json[]): HookCall {
  return { ...request(new RecordingExchange("/")), hook, exchange: null, params }
}

/** Calls on_request. */
export async function answer(guest: Sandbox, path: string): Promise<RecordingExchange> {
  const exchange = new RecordingExchange(path)
  await guest.call(request(exchange))
  return exchange
}

/** Asserts how on_request fails. */
export async function fails(
  guest: Sandbox,
  path: string,
  code: ErrorCode,
  limits: Partial<CallLimits> = {},
): Promise<void> {
  const call = request(new RecordingExchange(path), limits)
  await assert.rejects(async () => guest.call(call), { name: "PluginError", code })
}

/** Asserts that the guest serves. */
export async function isCalm(guest: Sandbox): Promise<void> {
  assert.ok(await answer(guest, "/calm"))
}

/** Asserts how a guest fails before it is ready. */
export async function failsToLoad(load: LoadFixture, guest: Fixture, [code, message]: Refusal): Promise<void> {
  await assert.rejects(opener(load)(guest), (error: Error & { code?: string }) => {
    assert.equal(error.code, code)
    assert.match(error.message, message)
    return true
  })
}

function neverFetching(): RecordingServices {
  const services = new RecordingServices()
  services.respond = () => new Promise(() => {})
  return services
}
