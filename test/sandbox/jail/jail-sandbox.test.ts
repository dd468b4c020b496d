import assert from "node:assert/strict"
import { describe, it } from "node:test"
import type { HookCall, Sandbox } from "../../../src/sandbox/sandbox.ts"
import { RecordingExchange } from "../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../contracts/recording-services.ts"
import { event, request } from "../../contracts/sandbox-contract.ts"
import { loadProgram, openProgram } from "./open-program.ts"

async function answer(guest: Sandbox, path = "/", more: Partial<HookCall> = {}): Promise<string | undefined> {
  const exchange = new RecordingExchange(path)
  await guest.call({ ...request(exchange), ...more })
  return exchange.text
}

/** Answers every call with what it counted so far; a path says what else it does. */
const COUNT = `
greet("onRequest")
count = 0
while True:
    call = hear()
    if "id" not in call:
        continue
    count += 1
    path = call["params"]["path"]
    if path == "/exit":
        sys.exit(3)
    if path == "/segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    if path == "/pid":
        respond(call, open("/proc/self/stat").read().split()[0] + " " + str(count))
        continue
    respond(call, str(count))
`

describe("processes", () => {
  it("keep what they remember from call to call", async (t) => {
    const guest = await openProgram(t, COUNT)
    assert.deepEqual([await answer(guest), await answer(guest)], ["1", "2"])
    assert.equal(guest.instances, 1)
    assert.ok(guest.memoryBytes > 0)
  })

  it("are as many as were asked for, and share the calls", async (t) => {
    const source = `
greet("onRequest", concurrency=1)
me = str(time.monotonic_ns())
while True:
    call = hear()
    time.sleep(0.05)
    respond(call, me)
`
    const guest = await openProgram(t, source, { program: { jails: 3 } })
    assert.equal(guest.jails?.ready, 3)
    const texts = await Promise.all(Array.from({ length: 9 }, () => answer(guest)))
    assert.equal(new Set(texts).size, 3)
  })

  it("are started anew when they end in a call, which fails with how they ended", async (t) => {
    const guest = await openProgram(t, COUNT)
    assert.equal(await answer(guest), "1")
    await assert.rejects(answer(guest, "/exit"), { code: "E_GUEST_CRASHED", message: /process ended with status 3/ })
    assert.equal(await answer(guest), "1")
    await assert.rejects(answer(guest, "/segv"), { code: "E_GUEST_CRASHED", message: /process ended by SIGSEGV/ })
    assert.equal(await answer(guest), "1")
    assert.equal(guest.generation, 2)
    assert.deepEqual([...(guest.jails?.restarts ?? [])], [["E_GUEST_CRASHED", 2]])
  })

  it("take the calls with them that they worked on: the oldest has the reason, the others do not count", async (t) => {
    const source = `
greet("onRequest")
calls = [hear(), hear(), hear()]
sys.exit(1)
`
    const guest = await openProgram(t, source)
    const results = await Promise.allSettled([answer(guest), answer(guest), answer(guest)])
    const codes = results.map((result) => (result.status === "rejected" ? result.reason.code : "answered"))
    assert.deepEqual(codes, ["E_GUEST_CRASHED", "E_INSTANCE_RESET", "E_INSTANCE_RESET"])
  })

  it("run their start hook each time", async (t) => {
    const source = `
greet("onServerStart", "onRequest")
started = 0
while True:
    call = hear()
    if call["method"] == "onServerStart":
        started += 1
        say(id=call["id"], ok=True)
    elif call["params"]["path"] == "/exit":
        sys.exit(0)
    else:
        respond(call, str(started))
`
    const guest = await openProgram(t, source)
    assert.equal(await answer(guest), "1")
    await assert.rejects(answer(guest, "/exit"), { code: "E_GUEST_CRASHED" })
    assert.equal(await answer(guest), "1")
  })

  it("serve one call each when they are fresh, others ready behind them", async (t) => {
    const guest = await openProgram(t, COUNT, { mode: "fresh", program: { jails: 2 } })
    const texts = await Promise.all(Array.from({ length: 6 }, () => answer(guest)))
    assert.deepEqual(texts, ["1", "1", "1", "1", "1", "1"])
    assert.equal(guest.generation, 0)
    assert.deepEqual([...(guest.jails?.restarts ?? [])], [])
  })

  it("wait longer and longer when they end without having done anything, and are tried again", async (t) => {
    const source = `
greet("onRequest")
time.sleep(0.01)
sys.exit(1)
`
    const services = new RecordingServices()
    const guest = await openProgram(t, source, { services })
    while (services.lines.filter((line) => line.includes("could not be started again")).length < 3) await turn()
    await assert.rejects(async () => answer(guest), { code: "E_GUEST_CRASHED" })
  })

  it("are told of the end of their input first", async (t) => {
    const source = `
greet("onRequest")
for line in sys.stdin:
    pass
sys.stderr.write("goodbye\\n")
`
    const services = new RecordingServices()
    const guest = await openProgram(t, source, { services })
    await guest[Symbol.asyncDispose]()
    assert.deepEqual(services.lines, ["info goodbye"])
  })

  it("do not hold up the end by not ending", async (t) => {
    const guest = await openProgram(
      t,
      'signal.signal(signal.SIGTERM, signal.SIG_IGN)\ngreet("onRequest")\nwhile True: time.sleep(1)',
    )
    await guest[Symbol.asyncDispose]()
    assert.equal(guest.instances, 0)
  })
})

describe("calls", () => {
  it("wait their turn when the program takes one at a time", async (t) => {
    const source = `
greet("onRequest", concurrency=1)
import select
while True:
    call = hear()
    more = select.select([0], [], [], 0.02)[0]
    respond(call, "more" if more else "alone")
`
    const guest = await openProgram(t, source)
    const texts = await Promise.all(Array.from({ length: 5 }, () => answer(guest)))
    assert.deepEqual(texts, ["alone", "alone", "alone", "alone", "alone"])
  })

  it("get their own answers, in whatever order they come", async (t) => {
    const source = `
greet("onRequest")
calls = [hear() for _ in range(4)]
for call in reversed(calls):
    respond(call, call["params"]["path"])
hear()
`
    const guest = await openProgram(t, source)
    const texts = await Promise.all(["/a", "/b", "/c", "/d"].map((path) => answer(guest, path)))
    assert.deepEqual(texts, ["/a", "/b", "/c", "/d"])
  })

  it("that are late are cancelled, and others come when the program has let go of them", async (t) => {
    const source = `
greet("onRequest")
slow = hear()
assert slow["params"]["path"] == "/slow"
cancel = hear()
assert cancel == {"method": "cancel", "params": {"id": slow["id"]}}
respond(slow, "too late")
while True:
    call = hear()
    respond(call, call["params"]["path"])
`
    const guest = await openProgram(t, source)
    const limits = { cpuMs: 10_000, wallMs: 300, fuel: 1 }
    const slow = answer(guest, "/slow", { limits })
    await assert.rejects(slow, { code: "E_LIMIT_TIME" })
    assert.equal(await answer(guest, "/next"), "/next")
    assert.equal(guest.generation, 0)
  })

  it("that are late end a program that does not let go of them", async (t) => {
    const source = `
greet("onRequest")
while True:
    call = hear()
    if "id" not in call:
        continue
    if call["params"]["path"] == "/slow":
        time.sleep(60)
    respond(call, "fresh")
`
    const guest = await openProgram(t, source)
    const slow = answer(guest, "/slow", { limits: { cpuMs: 10_000, wallMs: 100, fuel: 1 } })
    await assert.rejects(slow, { code: "E_LIMIT_TIME" })
    assert.equal(await answer(guest), "fresh")
    assert.equal(guest.generation, 1)
  })

  it("whose caller goes away do not keep others waiting", async (t) => {
    const source = `
greet("onRequest")
left = hear()
assert hear()["method"] == "cancel"
while True:
    call = hear()
    respond(call, call["params"]["path"])
`
    const guest = await openProgram(t, source)
    const abort = new AbortController()
    const left = answer(guest, "/left", { signal: abort.signal })
    setTimeout(() => abort.abort(), 20)
    await assert.rejects(left, { code: "E_LIMIT_TIME", message: /the caller gave up/ })
    assert.equal(await answer(guest, "/next"), "/next")
    assert.equal(guest.generation, 0)
  })

  it("that spin are stopped for their CPU time, also when others of the program wait", async (t) => {
    const source = `
greet("onRequest")
while True:
    call = hear()
    if call["params"]["path"] == "/spin":
        while True:
            pass
    respond(call, "calm")
`
    const guest = await openProgram(t, source)
    const spin = answer(guest, "/spin", { limits: { cpuMs: 50, wallMs: 60_000, fuel: 1 } })
    const other = answer(guest)
    await assert.rejects(spin, { code: "E_LIMIT_CPU" })
    await assert.rejects(other, { code: "E_INSTANCE_RESET" })
    assert.equal(await answer(guest), "calm")
  })

  it("tell the program once who the leader is, and again when it changes", async (t) => {
    const source = `
greet("onRequest")
leader = False
told = 0
while True:
    call = hear_any()
    if call["method"] == "leader":
        leader = call["params"]
        told += 1
    else:
        respond(call, f"{leader} {told}")
`
    const guest = await openProgram(t, source)
    const texts = []
    for (const leader of [false, true, true, false]) texts.push(await answer(guest, "/", { leader }))
    assert.deepEqual(texts, ["False 0", "True 1", "True 1", "False 2"])
  })

  it("of the program wait while it does not read the answers", async (t) => {
    const source = `
greet("onRequest")
call = hear()
for number in range(200):
    say(id=number, method="storage.get", params={"key": "large"})
time.sleep(0.2)
sizes = [len(hear()["params"]["value"]) for _ in range(200)]
respond(call, str(sum(sizes)))
hear()
`
    const services = new RecordingServices()
    services.storage(null).set("large", "x".repeat(50_000), 0)
    const guest = await openProgram(t, source, { services })
    assert.equal(await answer(guest), String(200 * 50_000))
  })

  it("of the program have the tenant of the call that they belong to, until it is over", async (t) => {
    const source = `
greet("onRequest")
last = None
while True:
    call = hear()
    say(id=1, method="storage.set", params={"key": "k", "value": call["params"]["path"]}, call=call["id"])
    assert hear()["params"] == {"value": None}
    if last is not None:
        say(id=2, method="storage.get", params={"key": "k"}, call=last)
        respond(call, hear()["params"]["error"]["code"])
    else:
        respond(call, "first")
    last = call["id"]
`
    const services = new RecordingServices()
    const guest = await openProgram(t, source, { services })
    assert.equal(await answer(guest, "/one", { tenant: "t1" }), "first")
    assert.equal(await answer(guest, "/two", { tenant: "t2" }), "E_PERMISSION")
    assert.deepEqual([...services.partitions.keys()].sort(), ["t1", "t2"])
  })
})

describe("version 0", () => {
  const ZERO = `
while True:
    line = sys.stdin.readline()
    if not line:
        break
    call = json.loads(line)
    if call["method"] == "onRequest":
        path = call["params"]["path"]
        if path == "/silent":
            continue
        if path == "/fail":
            write('{"error":"not today"}\\n')
        elif path == "/empty":
            write("\\n")
        else:
            write(json.dumps({"ok": True, "action": "respond", "status": 201, "body": path}) + "\\n")
    elif call["method"] == "onReload":
        pass
    else:
        write("\\n")
`

  it("is called for all hooks of its capabilities, and answers in lines", async (t) => {
    const guest = await openProgram(t, ZERO)
    assert.ok(guest.hooks.has("on_response") && guest.hooks.has("on_request_complete") && !guest.hooks.has("transform"))
    const texts = await Promise.all(["/a", "/b", "/c"].map((path) => answer(guest, path)))
    assert.deepEqual(texts, ["/a", "/b", "/c"])
    assert.equal(await answer(guest, "/empty"), undefined)
    await assert.rejects(answer(guest, "/fail"), { code: "E_GUEST_THREW", message: /on_request: not today/ })
    await guest.call(event("on_request_complete", [{ path: "/" }]))
  })

  it("fails a request that it says nothing to, and is started anew", async (t) => {
    const guest = await openProgram(t, ZERO)
    const limits = { cpuMs: 10_000, wallMs: 100, fuel: 1 }
    await assert.rejects(answer(guest, "/silent", { limits }), { code: "E_LIMIT_TIME" })
    assert.equal(await answer(guest, "/next"), "/next")
    assert.equal(guest.generation, 1)
  })

  it("may say nothing to an event", async (t) => {
    const guest = await openProgram(t, ZERO)
    const limits = { cpuMs: 10_000, wallMs: 100, fuel: 1 }
    assert.equal(await guest.call({ ...event("on_reload", []), limits }), undefined)
    assert.equal(await answer(guest, "/next"), "/next")
  })

  it("may not speak unasked", async (t) => {
    const source =
      'sys.stdin.readline()\nwrite("\\n")\nsys.stdin.readline()\nwrite("\\n")\ntime.sleep(0.1)\nwrite("\\n")\nsys.stdin.readline()'
    const guest = await openProgram(t, source)
    await answer(guest)
    while (guest.jails?.restarts.get("E_GUEST_PROTOCOL") === undefined) await turn()
  })

  it("is known by its silence, too", async (t) => {
    const source = `
while True:
    call = json.loads(sys.stdin.readline() or sys.exit(0))
    if call["method"] == "onRequest":
        write(json.dumps({"ok": True, "action": "respond", "body": "here"}) + "\\n")
`
    const services = new RecordingServices()
    const guest = await openProgram(t, source, { services, program: { capabilities: ["middleware"] } })
    assert.equal(await answer(guest), "here")
    assert.ok(services.lines.some((line) => /^warn it said nothing to hello/.test(line)))
  })
})

describe("loading", () => {
  it("says what a program wrote that ends too soon", async (t) => {
    await assert.rejects(loadProgram(t, "import nothing_of_that_name"), {
      code: "E_PLUGIN_LOAD_FAILED",
      message:
        /before it answered hello, its process ended with status 1; it wrote: .*No module named 'nothing_of_that_name'/s,
    })
  })

  it("says what is not the protocol", async (t) => {
    await assert.rejects(loadProgram(t, 'print("Welcome!", flush=True)\ntime.sleep(60)'), {
      code: "E_PLUGIN_LOAD_FAILED",
      message: /Welcome!/,
    })
  })

  it("fails for a hook that there is not", async (t) => {
    await assert.rejects(loadProgram(t, 'greet("onRequst")\ntime.sleep(60)'), /did it mean onRequest\?/)
  })
})

function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 5))
}
