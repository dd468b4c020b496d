import assert from "node:assert/strict"
import { readdirSync, writeFileSync } from "node:fs"
import { after, describe, it } from "node:test"
import { setTimeout as delay } from "node:timers/promises"
import { createJailLauncher } from "../../../src/sandbox/jail/launch/create-jail-launcher.ts"
import type { JailLauncher } from "../../../src/sandbox/jail/launcher.ts"
import { createJailTier } from "../../../src/sandbox/jail/tier.ts"
import type { Limits, ProgramSource, Sandbox } from "../../../src/sandbox/sandbox.ts"
import { RecordingExchange } from "../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../contracts/recording-services.ts"
import { answer, event, isCalm, request } from "../../contracts/sandbox-contract.ts"
import { until } from "./launch/traces.ts"
import { observe } from "./observing-launcher.ts"
import { PRELUDE, type WrittenProgram, writeProgram } from "./write-program.ts"

const MIB = 1024 * 1024
const LIMITS: Limits = { memoryBytes: 128 * MIB, messageBytes: 64 * 1024, maxInstances: 16 }
const PROTOCOL = "E_GUEST_PROTOCOL"

/** More than any of these programs makes the host keep, and less than what they try to. */
const HOST_ROOM = 48 * MIB

const FLOOD_MS = 1000
/** As many lines that nobody asked for are read in so long. Source: docs/nsjail-protocol.md. */
const WINDOW_MS = 100
const LINES = 2000

const launcher = await createJailLauncher({ sdkFolder: null })
after(() => launcher[Symbol.asyncDispose]())

/** What a program does in a call, and how the call ends. Afterwards "/calm" is answered, by the same process or a new one. */
const DEEDS = {
  "writes 100 MB without a newline": { code: PROTOCOL, text: `for _ in range(100): raw(b"x" * 1_000_000)` },
  "writes half a line and ends": { code: /^E_GUEST_(PROTOCOL|CRASHED)$/, text: `raw(b'{"id":'); sys.exit()` },
  "writes half a line and waits": { code: "E_LIMIT_TIME", text: `raw(b'{"id":'); time.sleep(1000)` },
  "writes what is not UTF-8": { code: PROTOCOL, text: `raw(b'{"id":%d,"ok":true,"x":"\\xff\\xfe"}\\n' % call["id"])` },
  "writes half of a surrogate pair in UTF-8": {
    code: PROTOCOL,
    text: `raw(b'{"id":%d,"ok":true,"x":"\\xed\\xa0\\x80"}\\n' % call["id"])`,
  },
  "nests 200 lists": {
    code: PROTOCOL,
    text: `raw(b'{"id":%d,"ok":true,"x":' % call["id"] + b"[" * 200 + b"]" * 200 + b"}\\n")`,
  },
  "nests 60,000 lists": { code: PROTOCOL, text: `raw(b'{"x":' + b"[" * 60_000 + b"\\n")` },
  "nests 30,000 objects": { code: PROTOCOL, text: `raw(b'{"x":' * 12_000 + b"\\n")` },
  "writes a list": { code: PROTOCOL, text: `raw(b"[1]\\n")` },
  "writes a number": { code: PROTOCOL, text: `raw(b"5\\n")` },
  "writes null": { code: PROTOCOL, text: `raw(b"null\\n")` },
  "writes nothing but the end of a line": { code: PROTOCOL, text: `raw(b"\\n")` },
  "writes what is no JSON": { code: PROTOCOL, text: `raw(b"hello\\n")` },
  "writes zero bytes": { code: PROTOCOL, text: `raw(b"\\0" * 100 + b"\\n")` },
  "writes NaN": { code: PROTOCOL, text: `raw(b'{"id":%d,"ok":NaN}\\n' % call["id"])` },
  "writes a comment behind its answer": { code: PROTOCOL, text: `raw(b'{"id":%d,"ok":true} // x\\n' % call["id"])` },
  "answers without an id": { code: PROTOCOL, text: `say(ok=True)` },
  "answers a call that there never was": { code: PROTOCOL, text: `say(id=10**6, ok=True)` },
  "answers call -1": { code: PROTOCOL, text: `say(id=-1, ok=True)` },
  "answers call 1.5": { code: PROTOCOL, text: `say(id=1.5, ok=True)` },
  "answers with a text as id": { code: PROTOCOL, text: `say(id=str(call["id"]), ok=True)` },
  "answers with a list as id": { code: PROTOCOL, text: `say(id=[call["id"]], ok=True)` },
  "answers with an id beyond what numbers hold": { code: PROTOCOL, text: `raw(b'{"id":1e400,"ok":true}\\n')` },
  "says neither that it is well nor that it failed": { code: "E_GUEST_RESULT_INVALID", text: `say(id=call["id"])` },
  ends: { code: "E_GUEST_CRASHED", text: `sys.exit()` },
  "ends with an error": { code: "E_GUEST_CRASHED", text: `sys.exit(3)` },
  "is killed by itself": { code: "E_GUEST_CRASHED", text: `os.kill(os.getpid(), signal.SIGKILL)` },
  "dies of a fault": { code: "E_GUEST_CRASHED", text: `os.kill(os.getpid(), signal.SIGSEGV)` },
  // Bubblewrap's own processes hold it too: only silence tells.
  "closes its output": { code: /^E_(GUEST_PROTOCOL|LIMIT_TIME)$/, text: `os.close(1); time.sleep(1000)` },
  "closes its input and waits": { code: "E_LIMIT_TIME", text: `os.close(0); time.sleep(1000)` },
  "closes everything and waits": {
    code: /^E_(GUEST_PROTOCOL|LIMIT_TIME)$/,
    text: `os.closerange(0, 100); time.sleep(1000)`,
  },
  "shuts down the sockets that connect it with bext": {
    // Crashed where they are pipes, which cannot be.
    code: /^E_(GUEST_CRASHED|GUEST_PROTOCOL|LIMIT_TIME)$/,
    text: `[socket.socket(fileno=fd).shutdown(socket.SHUT_RDWR) for fd in (0, 1)]; time.sleep(1000)`,
  },
  "writes into its input": {
    code: /^E_(GUEST_CRASHED|LIMIT_TIME)$/,
    text: `os.set_blocking(0, False); os.write(0, b'{"id":%d,"ok":true}\\n' % call["id"]); time.sleep(1000)`,
  },
  "sends its answer out of band": {
    code: /^E_(GUEST_CRASHED|GUEST_PROTOCOL|LIMIT_TIME)$/,
    text: `[socket.socket(fileno=os.dup(1)).send(b"x", socket.MSG_OOB) for _ in range(1000)]; time.sleep(1000)`,
  },
  "says nothing, ever": { code: "E_LIMIT_TIME", text: `time.sleep(1000)` },
  "says nothing, in spite of every signal": {
    code: "E_LIMIT_TIME",
    text: `[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 13, 15)]; time.sleep(1000)`,
  },
  "stops itself": { code: "E_LIMIT_TIME", text: `os.kill(os.getpid(), signal.SIGSTOP); time.sleep(1000)` },
  "leaves a child behind that holds its output": {
    code: /^E_(GUEST_CRASHED|LIMIT_TIME)$/,
    text: `os.fork() or time.sleep(1000); sys.exit()`,
  },
  "answers with a status that there is not": {
    code: "E_STATUS_INVALID",
    text: `say(id=call["id"], ok=True, action="respond", status=99)`,
  },
  "answers with an endless status": {
    code: /^E_(STATUS|GUEST_RESULT)_INVALID$/,
    text: `raw(b'{"id":%d,"ok":true,"action":"respond","status":1e999}\\n' % call["id"])`,
  },
  "answers with a body that is no base64": {
    code: "E_GUEST_RESULT_INVALID",
    text: `say(id=call["id"], ok=True, action="respond", body={"base64": "!!!"})`,
  },
  "answers with an action of every object's": {
    code: "E_GUEST_RESULT_INVALID",
    text: `say(id=call["id"], ok=True, action="constructor")`,
  },
  "says that bext failed": {
    code: "E_GUEST_THREW",
    text: `say(id=call["id"], error={"message": "x", "code": "E_INTERNAL"})`,
  },
  "fails with a code of every object's": {
    code: "E_GUEST_THREW",
    text: `say(id=call["id"], error={"message": "x", "code": "__proto__"})`,
  },
  "fails with a number": { code: /^E_GUEST_(PROTOCOL|THREW|RESULT_INVALID)$/, text: `say(id=call["id"], error=5)` },
  "asks for more than may wait": {
    code: "E_OVERLOADED",
    text: `
    for n in range(300): say(id=n, method="fetch", params={"url": "http://example.com/"}, call=call["id"])
    say(id=call["id"], error={"message": "", "code": result(299)["error"]["code"]})`,
  },
  "writes a body without an end": {
    code: "E_LIMIT_MESSAGE",
    text: `
    while True:
        answer = ask("body.write", call["id"], text="x" * 30_000)
        if "error" in answer: break
    say(id=call["id"], error=answer["error"])`,
  },
} satisfies Record<string, { readonly code: string | RegExp; readonly text: string }>

describe("a program in a jail", () => {
  for (const [name, { code, text }] of Object.entries(DEEDS)) {
    it(`that ${name}: a coded failure, and the next calls work`, async () => {
      await using guest = await open(`greet()\ndef deed(call, path):\n    ${text}\nserve(deed)\n`)
      const before = process.memoryUsage.rss()
      await assert.rejects(onRequest(guest, "/", 400), { name: "PluginError", code })
      await isCalm(guest)
      await isCalm(guest)
      assert.ok(process.memoryUsage.rss() - before < HOST_ROOM, "the host keeps what the program wrote")
    })
  }

  it("that floods its output gets no more in than is read, and others are served meanwhile", async () => {
    const floods = {
      "calls without an answer": `while True: say(method="log", params={"message": "x" * 1000})`,
      "calls of storage": `
    n = 0
    while True: n += 1; say(id=n, method="storage.get", params={"key": "x"}, call=call["id"])`,
      metrics: `while True: say(method="metric", params={"name": "x", "value": 1})`,
      "late answers": `
    say(id=call["id"], ok=True)
    while True: say(id=call["id"], ok=True)`,
      "unknown calls": `while True: say(method="toString", params={})`,
      "standard error": `while True: os.write(2, b"x" * 60_000)`,
    }
    await using calm = await open("greet()\nserve(lambda call, path: text(path))\n")
    for (const [name, flood] of Object.entries(floods)) {
      const services = new RecordingServices()
      let taken = 0
      services.log = services.metric = () => void taken++
      const observing = observe(launcher)
      const code = `greet()\ndef deed(call, path):\n    ${flood}\nserve(deed)\n`
      await using guest = await open(code, { services, launcher: observing })
      const startedAtMs = performance.now()
      const flooded = onRequest(guest, "/", 60_000, 60_000).catch(() => {})
      let served = 0
      let elapsedMs = 0
      while (elapsedMs < FLOOD_MS) {
        assert.equal((await answer(calm, "/other")).text, "/other")
        served++
        elapsedMs = performance.now() - startedAtMs
      }
      assert.ok(served > 20, `${name}: ${served} calls of another were answered`)
      assert.ok(taken <= (elapsedMs / WINDOW_MS + 2) * LINES, `${name}: ${taken} lines in ${elapsedMs} ms`)
      const [jail] = observing.jails
      assert.ok(jail!.stdin.writableLength < 2 * MIB, `${name}: ${jail!.stdin.writableLength} bytes wait to be read`)
      await guest[Symbol.asyncDispose]()
      await flooded
    }
  })

  it("that never reads is sent no more than fits, and calls of it end in time", async () => {
    const observing = observe(launcher)
    await using guest = await open("greet()\nhear()\ntime.sleep(1000)\n", { launcher: observing })
    let most = 0
    const calls = Array.from({ length: 500 }, () => {
      const exchange = new RecordingExchange("/")
      exchange.lists.request.set("x-long", "x".repeat(32_000))
      const ended = callOf(guest, exchange, 500)
      most = Math.max(most, observing.jails[0]!.stdin.writableLength)
      return assert.rejects(ended, { code: /^E_(LIMIT_TIME|OVERLOADED|INSTANCE_RESET)$/ })
    })
    await Promise.all(calls)
    assert.ok(most < 2 * MIB, `${most} bytes waited`)
  })

  it("gets its answers to its own calls, and late or doubled ones are nobody's", async () => {
    await using guest = await open(`
greet()
last = None
def deed(call, path):
    global last
    if path == "/late":
        hear()  # cancel
        last = call["id"]
        say(id=call["id"], ok=True, **text("too late"))
        return
    if path == "/twice":
        last = call["id"]
        say(id=call["id"], ok=True, **text("once"))
        say(id=call["id"], ok=True, **text("twice"))
        return
    say(id=last, ok=True, **text("of another call"))
    return text("own")
serve(deed)
`)
    await assert.rejects(onRequest(guest, "/late", 100), { code: "E_LIMIT_TIME" })
    assert.equal((await answer(guest, "/next")).text, "own")
    assert.equal((await answer(guest, "/twice")).text, "once")
    assert.equal((await answer(guest, "/next")).text, "own")
    assert.equal(guest.generation, 0)
  })

  it("that ends between two calls is there again for the next", async () => {
    await using guest = await open(`
greet()
def deed(call, path):
    say(id=call["id"], ok=True, **text("last words"))
    sys.exit()
serve(deed)
`)
    for (let i = 0; i < 3; i++) {
      assert.equal((await answer(guest, "/")).text, "last words")
      // Until it is known to have ended it takes calls, which end with it.
      await until(() => guest.generation === i + 1)
    }
    await isCalm(guest)
  })

  it("that answers a call before it is asked ends: no later call is taken for it", async () => {
    await using guest = await open(`
greet()
def deed(call, path):
    if path == "/ahead":
        say(id=call["id"] + 1, ok=True, **text("ahead"))
        time.sleep(1000)
    return text("own")
serve(deed)
`)
    await assert.rejects(onRequest(guest, "/ahead", 5000), { code: PROTOCOL })
    assert.equal((await answer(guest, "/next")).text, "own")
  })

  it("does nothing in the name of a call that is over, or of none it has", async () => {
    const services = new RecordingServices()
    await using guest = await open(
      `
greet()
last = None
def deed(call, path):
    global last
    found = [ask("storage.set", other, key="k", value="v").get("error", {}).get("code") for other in (last, call["id"] + 5) if other]
    last = call["id"]
    return text(found)
serve(deed)
`,
      { services },
    )
    assert.ok((await answer(guest, "/")).text)
    services.partitions.clear()
    const exchange = new RecordingExchange("/")
    await guest.call({ ...request(exchange), tenant: "t1" })
    assert.match(exchange.text!, /^\['E_PERMISSION', 'E_PERMISSION'\]$/)
    assert.deepEqual(
      [...services.partitions.keys()].filter((tenant) => tenant !== null),
      [],
    )
  })

  it("reaches no object of the host by names that every object has", async () => {
    await using guest = await open(`
greet()
def deed(call, path):
    if path == "/calls":
        names = ("__proto__", "constructor", "toString", "hasOwnProperty", "storage", "storage.constructor", "storage.__proto__")
        return text({ask(name)["error"]["code"] for name in names})
    raw(b'{"id":%d,"ok":true,"__proto__":{"action":"respond","body":"polluted"},"set_headers":{"__proto__":"x"}}\\n' % call["id"])
serve(deed)
`)
    assert.equal((await answer(guest, "/calls")).text, "{'E_GUEST_PROTOCOL'}")
    const exchange = await answer(guest, "/").catch((error: { code: string }) => error)
    assert.ok(exchange instanceof RecordingExchange ? exchange.answer === null : /^E_/.test(exchange.code))
    assert.equal(({} as { action?: string }).action, undefined)
  })

  it("passes no descriptor to bext through the sockets that connect the two", async () => {
    await using guest = await open(`
greet()
def deed(call, path):
    line = json.dumps({"id": call["id"], "ok": True, **text("sent")}).encode() + b"\\n"
    try:
        with socket.socket(fileno=os.dup(1)) as host: socket.send_fds(host, [line], [0] * 20)
    except OSError:
        os.write(1, line)  # A pipe, through which nothing else passes.
serve(deed)
`)
    assert.equal((await answer(guest, "/")).text, "sent")
    const before = readdirSync("/proc/self/fd").length
    for (let i = 0; i < 20; i++) await answer(guest, "/")
    assert.ok(readdirSync("/proc/self/fd").length - before < 20)
  })

  it("is gone with all it started when the plugin is unloaded, whatever it ignores", async () => {
    const observing = observe(launcher)
    const guest = await open(
      `
greet()
for n in (1, 2, 3, 13, 15): signal.signal(n, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        time.sleep(1000)
def deed(call, path):
    say(id=call["id"], ok=True)
    while True: time.sleep(1000)
serve(deed)
`,
      { launcher: observing },
    )
    await answer(guest, "/")
    await guest[Symbol.asyncDispose]()
    const [jail] = observing.jails
    const { code, signal } = await jail!.exited
    assert.ok(code === 137 || signal === "SIGKILL", `${code} ${signal}`)
  })
})

describe("a program that does not start", () => {
  const starts = {
    "ends at once": { code: "E_PLUGIN_LOAD_FAILED", text: "sys.exit()" },
    "ends in hello": { code: "E_PLUGIN_LOAD_FAILED", text: "hear(); sys.exit(1)" },
    "speaks before it is spoken to": { code: "E_PLUGIN_LOAD_FAILED", text: 'raw(b"hello!\\n"); time.sleep(1000)' },
    "speaks a protocol of the future": {
      code: "E_PLUGIN_LOAD_FAILED",
      text: 'say(id=hear()["id"], ok=True, protocol=2, hooks=[]); time.sleep(1000)',
    },
    "has hooks that there are not": {
      code: /^E_PLUGIN_(HOOK_MISMATCH|LOAD_FAILED)$/,
      text: 'say(id=hear()["id"], ok=True, protocol=1, hooks=["onMoon", "__proto__"]); time.sleep(1000)',
    },
    "has a million hooks": {
      code: "E_PLUGIN_LOAD_FAILED",
      text: 'say(id=hear()["id"], ok=True, protocol=1, hooks=["x"] * 10_000); time.sleep(1000)',
    },
    "has hooks that are no names": {
      code: "E_PLUGIN_LOAD_FAILED",
      text: 'say(id=hear()["id"], ok=True, protocol=1, hooks={"onRequest": 1}); time.sleep(1000)',
    },
    "wants a million calls at once": {
      code: "E_PLUGIN_LOAD_FAILED",
      text: "greet(concurrency=1_000_000); time.sleep(1000)",
    },
    "writes 100 MB to hello": { code: "E_PLUGIN_LOAD_FAILED", text: 'for _ in range(100): raw(b"x" * 1_000_000)' },
  }
  for (const [name, { code, text }] of Object.entries(starts)) {
    it(`since it ${name}: the plugin is not loaded, and nothing of it is left`, async () => {
      const observing = observe(launcher)
      await assert.rejects(open(`${text}\n`, { launcher: observing }), { name: "PluginError", code })
      await Promise.all(observing.jails.map((jail) => jail.exited))
    })
  }

  it("ends in its start hook: ready fails, and nothing of it is left", async () => {
    const observing = observe(launcher)
    await assert.rejects(open('greet("onServerStart", "onRequest")\nhear()\nsys.exit(4)\n', { launcher: observing }), {
      name: "PluginError",
      code: "E_GUEST_CRASHED",
    })
    await Promise.all(observing.jails.map((jail) => jail.exited))
  })

  it("again and again is started less and less often", async () => {
    const observing = observe(launcher)
    using program = writeProgram("greet()\nserve(lambda call, path: sys.exit(1))\n")
    await using guest = await start(program, { launcher: observing })
    writeFileSync(program.source.entry, `${PRELUDE}greet()\nsys.exit(1)\n`)
    await assert.rejects(onRequest(guest, "/", 5000), { code: "E_GUEST_CRASHED" })
    await delay(3000)
    assert.ok(observing.jails.length >= 3 && observing.jails.length <= 12, `${observing.jails.length} starts`)
    await assert.rejects(onRequest(guest, "/", 20_000), { code: "E_GUEST_CRASHED" })
  })
})

describe("a program of version 0", () => {
  const plain = `
hear()
say(ok=True)
def serve0(deed):
    while True:
        call = hear()
        raw(b"\\n") if call["params"]["path"] == "/calm" else deed(call)
`
  const DEEDS_0 = {
    "says nothing": { code: "E_LIMIT_TIME", text: "time.sleep(1000)" },
    "answers two lines": { code: /^E_GUEST_PROTOCOL$/, text: 'raw(b"\\n\\n")', later: true },
    "answers too late": { code: "E_LIMIT_TIME", text: 'time.sleep(0.6); raw(b"\\n")' },
    ends: { code: "E_GUEST_CRASHED", text: "sys.exit()" },
    "writes what is no JSON": { code: PROTOCOL, text: 'raw(b"ok\\n")' },
    "writes 100 MB without a newline": { code: PROTOCOL, text: 'for _ in range(100): raw(b"x" * 1_000_000)' },
    fails: { code: "E_GUEST_THREW", text: 'say(error="not today")' },
    "calls the host": { code: "E_GUEST_RESULT_INVALID", text: 'say(method="secret", params={"name": "KEY"}, id=1)' },
  }
  for (const [name, { code, text, ...more }] of Object.entries(DEEDS_0)) {
    it(`that ${name}: a coded failure, and the next calls get their own answers`, async () => {
      await using guest = await open(`${plain}\ndef deed(call):\n    ${text}\nserve0(deed)\n`, MIDDLEWARE)
      if ("later" in more) await onRequest(guest, "/", 5000)
      else await assert.rejects(onRequest(guest, "/", 400), { name: "PluginError", code })
      await isCalm(guest)
    })
  }

  it("that answers twice does not answer the next call by that", async () => {
    await using guest = await open(
      `${plain}
def deed(call):
    if call["params"]["path"] == "/twice":
        raw(b'{"ok":true}\\n{"ok":true,"action":"respond","body":"of another call"}\\n')
    else:
        say(ok=True, **text("own"))
serve0(deed)
`,
      MIDDLEWARE,
    )
    const calls = ["/twice", "/next"].map((path) => answer(guest, path).catch((error: { code: string }) => error))
    const [, next] = await Promise.all(calls)
    // It cannot be told whose the line is: the program ends.
    assert.ok(next instanceof RecordingExchange ? next.text === "own" : next!.code !== "E_INTERNAL")
    assert.equal((await answer(guest, "/next")).text, "own")
  })
})

const MIDDLEWARE: OpenOptions = { program: { capabilities: ["middleware"] } }

interface OpenOptions {
  readonly services?: RecordingServices
  readonly launcher?: JailLauncher
  readonly program?: Partial<ProgramSource>
}

/** Loads a program and makes it ready. Its file is gone when the test is over. */
async function open(code: string, options: OpenOptions = {}): Promise<Sandbox> {
  const program = writeProgram(code, options.program)
  after(() => program[Symbol.dispose]())
  return start(program, options)
}

async function start({ source }: WrittenProgram, options: OpenOptions): Promise<Sandbox> {
  const services = options.services ?? neverFetching()
  const guest = await createJailTier(options.launcher ?? launcher).load(source, services, LIMITS, "shared")
  try {
    await guest.ready(event("on_server_start", [services.config]))
    return guest
  } catch (error) {
    await guest[Symbol.asyncDispose]()
    throw error
  }
}

function onRequest(guest: Sandbox, path: string, wallMs: number, cpuMs = 10_000): Promise<unknown> {
  return callOf(guest, new RecordingExchange(path), wallMs, cpuMs)
}

async function callOf(guest: Sandbox, exchange: RecordingExchange, wallMs: number, cpuMs = 10_000): Promise<unknown> {
  return guest.call(request(exchange, { wallMs, cpuMs }))
}

function neverFetching(): RecordingServices {
  const services = new RecordingServices()
  services.respond = () => new Promise(() => {})
  // What it would keep of floods is not what bext keeps.
  services.log = () => {}
  services.metric = () => {}
  return services
}
