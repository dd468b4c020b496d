import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { Machine } from "../../../src/sandbox/quickjs/machine.ts"
import { createQuickjsTier } from "../../../src/sandbox/quickjs/tier.ts"
import type { Sandbox } from "../../../src/sandbox/sandbox.ts"
import { RecordingExchange } from "../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../contracts/recording-services.ts"
import { request } from "../../contracts/sandbox-contract.ts"
import { writeGuest } from "./write-guest.ts"

describe("quickjs keeps requests and guests apart", async () => {
  const tier = await createQuickjsTier()
  const ask = async (guest: Sandbox, path = "/") => {
    const exchange = new RecordingExchange(path)
    await guest.call(request(exchange))
    return exchange.text
  }

  for (const [where, script] of [
    [
      "the heap",
      "globalThis.kept = (parts.join('') + ctx.path).repeat(5000); globalThis.bytes = new Uint8Array(3e6).fill(77)",
    ],
    [
      "freed memory",
      "for (let i = 0; i < 100; i++) (parts.join('') + ctx.path + i).toUpperCase().toLowerCase().split('').join('')",
    ],
    [
      "deep stack frames",
      "const deep = (n, text) => n === 0 ? text.length : deep(n - 1, text) + 1; deep(300, parts.join('') + ctx.path)",
    ],
    ["regular expressions", "(parts.join('') + ctx.path).replace(/(s)(e)(c)/g, (all) => all + all)"],
    ["a failure", "globalThis.kept = parts.join('') + ctx.path; throw new Error(kept)"],
    ["a stopped guest", "globalThis.kept = parts.join('') + ctx.path; for (;;) kept.repeat(1000)"],
  ] as const) {
    it(`a fresh guest's memory holds nothing of the last request: ${where}`, async (t) => {
      const machines = watchMachines(t)
      // In two parts, so that the source text itself does not hold the secret.
      const source = `const parts = ["sec", "ret-"]; export function onRequest(ctx) { ${script} }`
      await using guest = await writeGuest(tier, source, { instance: "fresh" })
      for (const path of ["/warm-up", "/4711-0815"]) {
        try {
          await guest.call(request(new RecordingExchange(path), { cpuMs: 20 }))
        } catch {}
      }
      assert.ok(machines.size > 0)
      for (const { bytes } of machines) {
        for (const needle of ["secret-/4711", "4711-0815", "sec\0r\0e\0t", "MMMMMMMM".repeat(4)]) {
          assert.equal(bytes.indexOf(needle), -1, `${needle} is still there`)
          assert.equal(bytes.indexOf(Buffer.from(needle, "utf16le")), -1, `${needle} is still there, wide`)
        }
      }
    })
  }

  it("a fresh guest's C stack holds no numbers of the last request", async (t) => {
    const machines = watchMachines(t)
    const source = `export function onRequest(ctx) {
      const view = new DataView(new ArrayBuffer(8))
      view.setUint32(0, 0x3ff12345)
      view.setUint32(4, 0xdead0000 + 0xbee0 + ctx.path.length)
      const deeper = (n, number) => (n === 0 ? number : deeper(n - 1, number) * 1)
      deeper(100, view.getFloat64(0))
    }`
    await using guest = await writeGuest(tier, source, { instance: "fresh" })
    await ask(guest, "/4711-0815")
    for (const { bytes } of machines) assert.equal(bytes.indexOf(Buffer.from([0xea, 0xbe, 0xad, 0xde])), -1)
  })

  it("leaves nothing of a disposed guest to the next one", async (t) => {
    const machines = watchMachines(t)
    const first = await writeGuest(
      tier,
      "export function onRequest(ctx) { globalThis.kept = ctx.path + 'x'.repeat(10) }",
    )
    await ask(first, "/of-the-first-guest")
    await first[Symbol.asyncDispose]()
    await using second = await writeGuest(tier, "export function onRequest() { return new Response(typeof kept) }")
    assert.equal(await ask(second), "undefined")
    for (const { bytes } of machines) assert.equal(bytes.indexOf("of-the-first-guest"), -1)
  })

  it("draws other random numbers in every fresh instance and after every reset", async () => {
    const source = "export function onRequest() { return new Response(String(Math.random())) }"
    await using fresh = await writeGuest(tier, source, { instance: "fresh" })
    await using shared = await writeGuest(tier, source)
    await using other = await writeGuest(tier, source)
    const numbers = [
      await ask(fresh),
      await ask(fresh),
      await ask(fresh),
      await ask(shared),
      await ask(shared),
      await ask(other),
    ]
    assert.equal(new Set(numbers).size, numbers.length)
    for (const number of numbers) assert.ok(Number(number) >= 0 && Number(number) < 1)
  })

  it("drops what arrives after a reset", async () => {
    const services = new RecordingServices()
    const answers: (() => void)[] = []
    services.respond = ({ url }) =>
      new Promise((resolve) => {
        answers.push(() => resolve({ url, status: 200, headers: [], body: Buffer.from("late") }))
      })
    const source = `export async function onRequest(ctx) {
      if (ctx.path === "/spin") for (;;);
      if (ctx.path === "/calm") return new Response("calm")
      const response = await bext.fetch("http://example.com/")
      console.log("resumed", await response.text())
    }`
    await using guest = await writeGuest(tier, source, { services })
    const waiting = guest.call(request(new RecordingExchange("/fetch")))
    await assert.rejects(async () => guest.call(request(new RecordingExchange("/spin"), { cpuMs: 10 })))
    await assert.rejects(async () => waiting, { code: "E_INSTANCE_RESET" })
    for (const answer of answers) answer()
    await new Promise(setImmediate)
    assert.equal(await ask(guest, "/calm"), "calm")
    assert.equal(answers.length, 1)
    assert.deepEqual(services.lines, [])
  })

  it("aborts the fetches of a call that is over", async () => {
    const services = new RecordingServices()
    const signals: AbortSignal[] = []
    services.respond = (_, signal) => {
      signals.push(signal)
      return new Promise(() => {})
    }
    const source = `export function onRequest() { bext.fetch("http://example.com/"); return new Response("done") }`
    await using guest = await writeGuest(tier, source, { services })
    assert.equal(await ask(guest), "done")
    assert.deepEqual(
      signals.map((signal) => signal.aborted),
      [true],
    )
  })

  it("charges each of several interleaved calls its own budget", async () => {
    const source = `export async function onRequest(ctx) {
      for (let i = 0; i < 6; i++) {
        const end = performance.now() + (ctx.path === "/busy" ? 30 : 0)
        while (performance.now() < end);
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
      return new Response("done")
    }`
    await using guest = await writeGuest(tier, source)
    const call = async (path: string) => {
      const exchange = new RecordingExchange(path)
      await guest.call(request(exchange, { cpuMs: 60 }))
      return exchange.text
    }
    const [busy, idle] = await Promise.allSettled([call("/busy"), call("/idle")])
    assert.equal(busy.status === "rejected" && busy.reason.code, "E_LIMIT_CPU")
    // The busy call takes the shared instance with it when it is stopped on the stack; the idle one is never charged.
    if (idle.status === "rejected") assert.equal(idle.reason.code, "E_INSTANCE_RESET")
    else assert.equal(idle.value, "done")
  })
})

/** Collects the machines that are used from now on. */
function watchMachines(t: { after(run: () => void): void }): Set<Machine> {
  const machines = new Set<Machine>()
  const { unwind } = Machine.prototype
  Machine.prototype.unwind = function () {
    machines.add(this)
    unwind.call(this)
  }
  t.after(() => {
    Machine.prototype.unwind = unwind
  })
  return machines
}
