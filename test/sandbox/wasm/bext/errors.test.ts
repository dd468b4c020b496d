import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { RecordingExchange } from "../../../contracts/recording-exchange.ts"
import { event, request } from "../../../contracts/sandbox-contract.ts"
import { BUMP_ALLOCATOR, importsOf, loadBext } from "./bext-guest.ts"
import { guestOf, runSteps, type Step } from "./run-steps.ts"

describe("a hook that returns a negative value", () => {
  const forbidden: Step = ["set_header", 0, "host", "evil"]

  it("fails with what it said by fail", async () => {
    await assert.rejects(runSteps([["fail", "nöt today"]], { returns: -1 }), {
      code: "E_GUEST_THREW",
      message: "guest: on_request: nöt today [E_GUEST_THREW]",
    })
    await assert.rejects(
      runSteps(
        [
          ["fail", "a"],
          ["fail", "x".repeat(5000)],
        ],
        { returns: -1 },
      ),
      {
        code: "E_GUEST_THREW",
        message: `guest: on_request: ${"x".repeat(2000)} [E_GUEST_THREW]`,
      },
    )
  })

  it("fails without reason when it gave none", async () => {
    await assert.rejects(runSteps([], { returns: -2_147_483_648 }), {
      code: "E_GUEST_THREW",
      message: /on_request: returned -2147483648 without saying why by fail/,
    })
  })

  it("fails with the code of the last refusal when that is what it returns", async () => {
    await assert.rejects(runSteps([forbidden], { returns: -5 }), {
      code: "E_HEADER_FORBIDDEN",
      message: "guest: on_request: host is not yours [E_HEADER_FORBIDDEN]",
    })
    await assert.rejects(runSteps([forbidden, ["fail", "cannot move"]], { returns: -5 }), {
      code: "E_HEADER_FORBIDDEN",
      message: /on_request: cannot move: host is not yours/,
    })
  })

  it("is named after the guest when the last refusal was another one, which is mentioned", async () => {
    const steps: Step[] = [forbidden, ["get_headers", 7]]
    await assert.rejects(runSteps(steps, { returns: -5 }), {
      code: "E_GUEST_THREW",
      message: /without saying why by fail \(the host last refused: side 7 .* \[E_GUEST_RESULT_INVALID\]\)/,
    })
    await assert.rejects(runSteps([forbidden, ["fail", "why"]], { returns: -1 }), {
      code: "E_GUEST_THREW",
      message: /on_request: why \(the host last refused: host is not yours \[E_HEADER_FORBIDDEN\]\)/,
    })
  })

  it("is not told of a refusal in an earlier call", async () => {
    await using guest = await loadBext(`(module ${importsOf(["set_header", "last_error"])}
      (memory (export "memory") 1) ${BUMP_ALLOCATOR} (global $calls (mut i32) (i32.const 0))
      (data (i32.const 0) "host")
      (func (export "on_request") (result i32)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (if (i32.eq (global.get $calls) (i32.const 1))
          (then (return (call $set_header (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4)))))
        (if (i64.ne (call $last_error) (i64.const 0)) (then unreachable))
        (i32.const -5)))`)
    const call = async () => guest.call(request(new RecordingExchange("/")))
    await assert.rejects(call, { code: "E_HEADER_FORBIDDEN" })
    await assert.rejects(call, { code: "E_GUEST_THREW" })
  })

  it("leaves the guest as it is: only a call that was stopped in the middle resets it", async () => {
    await using guest = await loadBext(guestOf([], { returns: -1 }))
    await assert.rejects(async () => guest.call(request(new RecordingExchange("/"))), { code: "E_GUEST_THREW" })
    assert.equal(guest.generation, 0)
  })
})

describe("last_error", () => {
  it("is none before the first refusal, and tells the last one as often as it is asked", async () => {
    const { text } = await runSteps([
      ["last_error"],
      ["get_headers", 3],
      ["get_secret", "OTHER"],
      ["last_error"],
      ["get_path"],
      ["last_error"],
    ])
    assert.deepEqual(
      [text(0), text(3), text(5)],
      [undefined, ...new Array(2).fill("E_PERMISSION: OTHER was not granted")],
    )
  })
})

describe("a call that was refused too often", () => {
  it("runs out of fuel like any other that works too much", async () => {
    await using guest = await loadBext(`(module ${importsOf(["get_headers"])}
      (memory (export "memory") 1) ${BUMP_ALLOCATOR}
      (func (export "on_reload") (param i32 i32) (result i32)
        (loop (drop (call $get_headers (i32.const 9))) (br 0)) unreachable))`)
    const call = { ...event("on_reload", []), limits: { cpuMs: 5000, wallMs: 5000, fuel: 20_000_000 } }
    await assert.rejects(async () => guest.call(call), { code: "E_LIMIT_FUEL" })
  })
})

describe("a bug of the host", () => {
  it("ends the call, whatever the guest does with numbers", async () => {
    class BrokenExchange extends RecordingExchange {
      override header(): string {
        throw new TypeError("a bug")
      }
    }
    const exchange = new BrokenExchange("/")
    await assert.rejects(runSteps([["get_header", 0, "a"]], { exchange }), { code: "E_INTERNAL" })
  })
})
