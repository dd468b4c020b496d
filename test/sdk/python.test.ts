import assert from "node:assert/strict"
import { execFileSync, spawnSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { temporaryFolder } from "../cli/run-bext.ts"
import {
  type DrivenProgram,
  driveProgram,
  type HostAnswer,
  memoryHost,
  type ProgramCall,
  PYTHON_SDK,
} from "../support/drive-program.ts"
import { mulberry32 } from "../support/mulberry32.ts"
import { findProgram, missing, PYTHON } from "../support/programs.ts"

const PLUGIN = fileURLToPath(new URL("../fixtures/sdk/python", import.meta.url))
const HELLO = { protocol: 1, plugin: "plain", config: { word: "ä" }, limits: { line_bytes: 1_454_080 } }

async function start(
  program: "plain.py" | "async_plugin.py",
  answer: (call: ProgramCall) => HostAnswer = memoryHost(),
): Promise<DrivenProgram> {
  await using parts = new AsyncDisposableStack()
  const driven = parts.use(driveProgram([findProgram(PYTHON)!, program], { cwd: PLUGIN, answer }))
  const hello = await driven.call("hello", HELLO)
  assert.deepEqual([hello.ok, hello.protocol], [true, 1])
  parts.move()
  return driven
}

/** The body of an answer that is JSON. */
const json = (answer: Readonly<Record<string, unknown>>): unknown => JSON.parse(String(answer.body))

const error = (answer: Readonly<Record<string, unknown>>) => answer.error as { message: string; code?: string }

describe("a plugin in Python with plain functions", { skip: missing(PYTHON) }, () => {
  it("says which hooks it has", async () => {
    await using plugin = driveProgram([findProgram(PYTHON)!, "plain.py"], { cwd: PLUGIN })
    assert.deepEqual(await plugin.call("hello", HELLO), {
      id: 0,
      ok: true,
      protocol: 1,
      hooks: [
        ...["onServerStart", "onRequest", "onResponse", "onRequestComplete", "onQueueMessage"],
        ...["transform", "cacheGet", "cacheInvalidateTag"],
      ],
    })
  })

  it("sees a request", async () => {
    await using plugin = await start("plain.py")
    plugin.write('{"method":"leader","params":true}\n')
    const answer = await plugin.request({
      ...{ method: "POST", path: "/see", query: "a=%20x&b=1&b=2&c", scheme: "https", host: "[::1]:8080" },
      ...{ client_address: "192.0.2.1", request_id: "r1", upgrade: null, tenant_id: "t", site_id: null },
      user: { id: "ada", claims: { n: 1 } },
      headers: [
        ["x-a", "1"],
        ["x-b", ""],
        ["x-a", "2"],
      ],
      extensions: { "other.key": "value" },
      body: { text: '{"ä":1}' },
    })
    assert.deepEqual(answer.headers, [["content-type", "application/json"]])
    assert.deepEqual(json(answer), {
      method: "POST",
      query: "a=%20x&b=1&b=2&c",
      search: [" x", ["1", "2"], true],
      host: ["[::1]:8080", "[::1]", "https", "192.0.2.1", "r1", null],
      headers: [
        "1, 2",
        null,
        true,
        [
          ["x-a", "1"],
          ["x-b", ""],
          ["x-a", "2"],
        ],
      ],
      body: ['{"ä":1}', 8, { ä: 1 }],
      user: ["ada", { n: 1 }],
      ids: ["t", null, true],
      extensions: ["value", "none"],
    })
  })

  it("keeps what it said of the request when it answers, but for the body", async () => {
    await using plugin = await start("plain.py")
    assert.deepEqual(await plugin.request({ path: "/change-and-respond" }), {
      ...{ id: 1, ok: true, action: "respond", status: 204 },
      extensions: { mine: "1" },
    })
  })

  it("lets a request pass in the shortest way", async () => {
    await using plugin = await start("plain.py")
    assert.deepEqual(await plugin.request({ path: "/" }), { id: 1, ok: true })
  })

  it("changes a request, the last word on a header winning", async () => {
    await using plugin = await start("plain.py")
    assert.deepEqual(await plugin.request({ path: "/change" }), {
      ...{ id: 1, ok: true },
      remove_headers: ["x-lost"],
      set_headers: [["x-set", "ä"]],
      add_headers: [
        ["x-more", "1"],
        ["x-more", "2"],
      ],
      ...{ method: "PUT", path: "/changed", query: "q=1", body: "new" },
      extensions: { mine: "1" },
      user: { id: "ada", claims: { admin: true } },
      tenant_id: null,
    })
  })

  it("changes a response", async () => {
    await using plugin = await start("plain.py")
    const params = {
      status: 200,
      response_headers: [
        ["content-type", "a/b"],
        ["set-cookie", "a=1"],
        ["set-cookie", "b=2"],
      ],
      response_body: { base64: "AAE=" },
    }
    assert.deepEqual(await plugin.call("onResponse", { path: "/", ...params }), {
      ...{ id: 1, ok: true, status: 201 },
      set_headers: [["x-type", "a/b"]],
      add_headers: [["x-cookies", "a=1|b=2"]],
      remove_headers: ["server"],
      body: { base64: "AAH/" },
    })
    const extended = await plugin.call("onResponse", { path: "/extension", ...params })
    assert.deepEqual(extended.extensions, { a: "b" })
  })

  it("hears of events, transforms and caches", async () => {
    await using plugin = await start("plain.py")
    await plugin.call("onServerStart", { config: {} })
    const started = await plugin.request({ path: "/started" })
    assert.deepEqual(json(started), [[{ word: "ä" }], { word: "ä" }])
    const event = { method: "GET", path: "/p", status: 404, duration_ms: 1.5, is_bot: true, tenant_id: null }
    assert.deepEqual(await plugin.call("onRequestComplete", event), { id: 3, ok: true })
    await plugin.call("onQueueMessage", {
      ...{ id: "m", queue: "mail", value: { to: "ada" }, key: null, attempt: 2, pushedAtMs: 5, tenantId: "t" },
    })
    assert.deepEqual(
      plugin.asked.map(({ method, params, call }) => ({ method, params, call })),
      [
        { method: "metric", params: { name: "seen", value: 1.5, tags: { path: "/p" } }, call: 3 },
        { method: "log", params: { level: "warn", message: "GET /p 404 True None" }, call: 3 },
        { method: "log", params: { level: "info", message: "m mail ada 2 5 t" }, call: 4 },
      ],
    )
    const transform = (path: string) => plugin.call("transform", { source: "a", path, context: {} })
    assert.equal((await transform("/a.txt")).result, "A")
    assert.deepEqual(await transform("/a.js"), { id: 6, ok: true })
    assert.deepEqual((await plugin.call("cacheGet", { key: "k" })).result, { html: "k" })
    assert.equal((await plugin.call("cacheGet", { key: "none" })).result, undefined)
    assert.equal((await plugin.call("cacheInvalidateTag", { tag: "abc" })).result, 3)
  })

  it("stores, fetches, pushes and reads secrets", async () => {
    const answers: Record<string, HostAnswer> = {
      fetch: { value: { url: "https://a.example/b", status: 201, headers: [["a", "1"]], body: { text: "é" } } },
      secret: { value: "open sesame" },
      "queue.push": { value: "m1" },
    }
    const memory = memoryHost()
    await using plugin = await start("plain.py", (call) => answers[call.method] ?? memory(call))
    assert.deepEqual(json(await plugin.request({ path: "/storage" })), ["text", [0, 255], null, 2])
    const services = await plugin.request({ path: "/services" })
    assert.deepEqual(json(services), [201, true, "https://a.example/b", "1", "é", "open sesame", "m1"])
    const fetched = await plugin.waitFor("fetch")
    assert.deepEqual(fetched.params, {
      ...{ url: "https://a.example/", method: "POST", redirect: "follow" },
      headers: [["x", "1"]],
      body: { base64: "/g==" },
    })
    assert.equal(fetched.call, 2)
    const pushed = { queue: "mail", value: { to: "ada" }, key: "k", delay_ms: 5 }
    assert.deepEqual((await plugin.waitFor("queue.push")).params, pushed)
  })

  it("gets refusals as errors with a code, which fail the call when nobody catches them", async () => {
    const refusal = { error: { code: "E_STORAGE_KEY", message: "no slash" } }
    await using plugin = await start("plain.py", () => refusal)
    assert.equal((await plugin.request({ path: "/refused" })).body, "E_STORAGE_KEY: no slash [E_STORAGE_KEY]")
    const uncaught = await plugin.request({ path: "/refused-uncaught" })
    assert.deepEqual(uncaught.error, { message: "no slash", code: "E_STORAGE_KEY" })
  })

  it("keeps calls that come while it waits for the host, and takes them up in order", async () => {
    await using plugin = await start("plain.py", ({ params }) => (params.key === "wait" ? undefined : { value: null }))
    const first = plugin.request({ path: "/wait" })
    const { id } = await plugin.waitFor("storage.get")
    const others = [plugin.request({ path: "/" }), plugin.request({ path: "/raise" })]
    plugin.write(`${JSON.stringify({ method: "result", params: { value: "now" }, id: id! })}\n`)
    assert.equal((await first).body, "now")
    assert.deepEqual(await others[0], { id: 2, ok: true })
    assert.match(error((await others[1])!).message, /a bug/)
  })

  it("gives up a call that is cancelled, whether it waits for the host or has not begun", async () => {
    await using plugin = await start("plain.py", () => undefined)
    const waiting = plugin.request({ path: "/wait" })
    await plugin.waitFor("storage.get")
    const behind = plugin.request({ path: "/exit" })
    plugin.write('{"method":"cancel","params":{"id":2}}\n{"method":"cancel","params":{"id":1}}\n')
    assert.deepEqual(await waiting, { id: 1, error: "cancelled" })
    assert.deepEqual(await behind, { id: 2, error: "cancelled" })
    plugin.write('{"method":"cancel","params":{"id":2}}\n')
    assert.deepEqual(await plugin.request({ path: "/" }), { id: 3, ok: true })
  })

  it("cannot be corrupted by what is printed, by programs it starts, or by what reads standard input", async () => {
    await using plugin = await start("plain.py")
    assert.equal((await plugin.request({ path: "/stray" })).body, "untouched")
    for (const text of ["printed while it is imported", "printed", "written", '"forged":true', "from a program"]) {
      assert.ok(plugin.log().includes(text), text)
    }
    assert.equal(await plugin.end(), 0)
  })

  it("sends to the log what was printed before it took the descriptors", async (t) => {
    const folder = temporaryFolder(t)
    writeFileSync(join(folder, "main.py"), 'print("early")\nimport bext\nbext.on_reload(lambda: None)\nbext.run()\n')
    await using plugin = driveProgram([findProgram(PYTHON)!, "main.py"], { cwd: folder })
    assert.deepEqual((await plugin.call("hello", HELLO)).hooks, ["onReload"])
    assert.equal(plugin.log(), "early\n")
  })

  it("does not let a fork speak to the host", async () => {
    await using plugin = await start("plain.py")
    assert.equal((await plugin.request({ path: "/fork" })).body, "one answer")
    assert.deepEqual(plugin.asked, [])
  })

  it("may ask the host from several threads", async () => {
    await using plugin = await start("plain.py")
    const answer = await plugin.request({ path: "/threads" })
    assert.deepEqual(
      json(answer),
      Array.from({ length: 20 }, (_, i) => i + 1),
    )
  })

  it("reads and writes long bodies in pieces", async () => {
    const body = Buffer.alloc(500_000, "ab")
    const written: Buffer[] = []
    await using plugin = await start("plain.py", ({ method, params }) => {
      if (method === "body.write") written.push(Buffer.from(String(params.base64), "base64"))
      if (method !== "body.read") return { value: null }
      assert.equal(params.side, "request")
      const at = Number(params.offset)
      assert.ok(Number(params.length) <= 262_144)
      return { value: { base64: body.subarray(at, at + Number(params.length)).toString("base64") } }
    })
    const answer = await plugin.request({ path: "/long", body: { bytes: body.length } })
    assert.deepEqual(answer.body, { written: true })
    assert.ok(Buffer.concat(written).equals(Buffer.concat([body, Buffer.from("!")])))
  })

  for (const [path, message] of [
    ["/raise", /^ValueError: a bug \(plain\.py:\d+\)$/],
    [
      "/text",
      /^TypeError: on_request returned str 'text': return None to go on, or bext\.respond\(\.\.\.\) to answer$/,
    ],
    ["/await", /^TypeError: on_request: the function is not async and returned something to await$/],
    ["/status", /^TypeError: a status is an int, not str/],
    ["/header", /^TypeError: value of x: expected str, not int/],
    ["/nan", /^ValueError: .*\(plain\.py:\d+\)$/],
    ["/recurse", /^RecursionError: .*\(plain\.py:\d+\)$/],
    ["/memory", /^MemoryError/],
    ["/no-body", /E_BODY_NOT_DECLARED|body = "request"/],
    ["/unprintable", /^Unprintable: an exception that cannot be printed \(plain\.py:\d+\)$/],
    ["/nowhere", /^KeyError: '\/nowhere' \(plain\.py:\d+\)$/],
  ] as const) {
    it(`fails ${path} with what happened and where, and goes on`, async () => {
      await using plugin = await start("plain.py")
      const answer = await plugin.request({ path })
      assert.match(error(answer).message, message)
      assert.equal((await plugin.request({ path: "/" })).ok, true)
      assert.equal(await plugin.end(), 0)
      assert.match(plugin.log(), /^([A-Z]\w*Error|Unprintable)\b|E_BODY_NOT_DECLARED/m)
    })
  }

  it("ends when it says so", async () => {
    await using plugin = await start("plain.py")
    await assert.rejects(plugin.request({ path: "/exit" }), /has ended/)
    assert.equal(await plugin.end(), 3)
  })

  it("answers what it is not asked for with an error, and ends quietly when the host is gone", async () => {
    await using plugin = await start("plain.py")
    assert.match(error(await plugin.call("onReload")).message, /no function for onReload/)
    assert.equal(await plugin.end(), 0)
    assert.doesNotMatch(plugin.log(), /BrokenPipe/)
  })

  it("says on a terminal what it is and what to type", () => {
    const onTerminal = "import pty, sys; pty.spawn([sys.executable, 'plain.py'])"
    const env = { PATH: process.env.PATH, PYTHONPATH: PYTHON_SDK, PYTHONDONTWRITEBYTECODE: "1" }
    const input = '{"method":"onRequest","params":{"path":"/"},"id":7}\n\u0004'
    const options = { cwd: PLUGIN, env, input, encoding: "utf8", timeout: 30_000 } as const
    const { stdout } = spawnSync(findProgram(PYTHON)!, ["-c", onTerminal], options)
    assert.match(stdout, /this program is a plugin\. It reads a line of JSON.*Ctrl-D.*\| python3 plain\.py/s)
    assert.match(stdout, /\{"id":7,"ok":true\}/)
  })

  it("runs by hand, without hello, with lines as people type them", () => {
    const input =
      '  {"method": "onRequest", "params": {"path": "/"}, "id": 1}\r\nhello?\n\n{"method":"onRequest","params":{"path":"/"}}'
    const env = { PATH: process.env.PATH, PYTHONPATH: PYTHON_SDK, PYTHONDONTWRITEBYTECODE: "1" }
    const run = spawnSync(findProgram(PYTHON)!, ["plain.py"], {
      cwd: PLUGIN,
      env,
      input,
      encoding: "utf8",
      timeout: 30_000,
    })
    assert.equal(run.stdout, '{"id":1,"ok":true}\n{"ok":true}\n')
    assert.match(run.stderr, /not a line of the host .*: hello\?/)
    assert.equal(run.status, 0)
  })
})

describe("a plugin in Python with async functions", { skip: missing(PYTHON) }, () => {
  it("has many calls at the same time, and answers each when it is done", async () => {
    const held = new Map<string, number | string>()
    await using plugin = await start("async_plugin.py", ({ params, id }) => {
      held.set(String(params.key), id!)
      return undefined
    })
    const calls = ["a", "b", "c"].map((query) => plugin.request({ path: "/wait", query }))
    while (held.size < 3) await plugin.waitFor("storage.get").then(() => new Promise(setImmediate))
    for (const key of ["c", "a", "b"]) {
      plugin.write(
        `${JSON.stringify({ method: "result", params: { value: key.toUpperCase() }, id: held.get(key)! })}\n`,
      )
      const index = ["a", "b", "c"].indexOf(key)
      assert.equal((await calls[index]!).body, key.toUpperCase())
    }
    assert.deepEqual(plugin.asked.map(({ call }) => call).sort(), [1, 2, 3])
  })

  it("says how many calls it wants", async () => {
    await using plugin = driveProgram([findProgram(PYTHON)!, "async_plugin.py"], { cwd: PLUGIN })
    const { concurrency, hooks } = await plugin.call("hello", HELLO)
    assert.deepEqual([concurrency, hooks], [256, ["onRequest", "onServerStop"]])
  })

  it("never has more than 256 questions open", async () => {
    const memory = memoryHost()
    let open = 0
    let most = 0
    await using plugin = await start("async_plugin.py", (call) => {
      most = Math.max(most, ++open)
      setImmediate(() => {
        open -= 1
        plugin.write(`${JSON.stringify({ method: "result", params: memory(call)!, id: call.id! })}\n`)
      })
      return undefined
    })
    assert.equal(json(await plugin.request({ path: "/many" })), 500_500)
    assert.ok(most <= 256, `${most}`)
  })

  it("awaits every service", async () => {
    const answers: Record<string, HostAnswer> = {
      fetch: { value: { url: "u", status: 200, headers: [], body: { base64: "aGk=" } } },
      secret: { value: "s" },
      "queue.push": { value: "m1" },
      "storage.keys": { value: ["a"] },
    }
    const memory = memoryHost()
    await using plugin = await start("async_plugin.py", (call) => answers[call.method] ?? memory(call))
    assert.deepEqual(json(await plugin.request({ path: "/everything" })), [[0], "hi", "s", "m1", ["a"]])
  })

  it("may also ask plainly, from the loop or another thread, while others wait", async () => {
    const memory = memoryHost()
    await using plugin = await start("async_plugin.py", (call) =>
      call.params.key === "wait" ? undefined : memory(call),
    )
    const waiting = plugin.request({ path: "/wait", query: "wait" })
    const both = await Promise.all([plugin.request({ path: "/plainly" }), plugin.request({ path: "/plainly" })])
    assert.deepEqual(both.map(json), [1, 2])
    const threads = await Promise.all(Array.from({ length: 10 }, () => plugin.request({ path: "/thread" })))
    assert.deepEqual(threads.map(json).sort(), [1, 10, 2, 3, 4, 5, 6, 7, 8, 9])
    assert.deepEqual(plugin.asked.filter(({ params }) => params.key === "thread").map(({ call }) => call).length, 10)
    const { id } = plugin.asked.find(({ params }) => params.key === "wait")!
    plugin.write(`${JSON.stringify({ method: "result", params: { value: "x" }, id: id! })}\n`)
    assert.equal((await waiting).body, "x")
    assert.equal((await plugin.call("onServerStop")).ok, true)
  })

  it("answers every call, and keeps nothing of them, however it asks and whichever are cancelled", async () => {
    await using plugin = await start("async_plugin.py")
    const random = mulberry32(7)
    const open = new Set<number>()
    let outcomes = 0
    const work = async () => {
      for (let i = 0; i < 50; i++) {
        const id = plugin.nextId
        open.add(id)
        const call = plugin.request({ path: "/mixed" })
        if (random() < 0.2) {
          const [first = id] = open
          plugin.write(`${JSON.stringify({ method: "cancel", params: { id: random() < 0.5 ? id : first } })}\n`)
        }
        const answer = await call
        open.delete(id)
        assert.ok(answer.ok === true || answer.error === "cancelled", JSON.stringify(answer))
        outcomes += 1
      }
    }
    await Promise.all(Array.from({ length: 20 }, work))
    assert.equal(outcomes, 1000)
    // This call itself is open.
    assert.deepEqual(json(await plugin.request({ path: "/traces" })), [1, 0, 0, 0, 0])
  })

  it("is cancelled where it waits, and answers so", async () => {
    await using plugin = await start("async_plugin.py", () => undefined)
    const call = plugin.request({ path: "/stubborn" })
    await plugin.waitFor("storage.get")
    plugin.write('{"method":"cancel","params":{"id":1}}\n')
    assert.deepEqual(await call, { id: 1, error: "cancelled" })
    assert.equal((await plugin.waitFor("log")).params.message, "cancelled")
  })

  it("is cancelled before it has begun", async () => {
    await using plugin = await start("async_plugin.py", () => undefined)
    plugin.write(
      '{"method":"onRequest","params":{"path":"/stubborn"},"id":77}\n{"method":"cancel","params":{"id":77}}\n',
    )
    assert.equal(await plugin.line(), '{"id":77,"error":"cancelled"}')
    assert.deepEqual(plugin.asked, [])
  })

  it("reads long bodies in pieces, fails with the place, and goes on after its answer", async () => {
    const body = Buffer.alloc(300_000, "x")
    await using plugin = await start("async_plugin.py", ({ method, params }) => {
      const at = Number(params.offset)
      return method === "body.read"
        ? { value: { base64: body.subarray(at, at + Number(params.length)).toString("base64") } }
        : { value: null }
    })
    assert.deepEqual((await plugin.request({ path: "/read", body: { bytes: body.length } })).body, { written: true })
    const failed = await plugin.request({ path: "/fail" })
    assert.match(error(failed).message, /^ValueError: a bug \(async_plugin\.py:\d+\)$/)
    assert.equal((await plugin.request({ path: "/go-on" })).ok, true)
    assert.equal((await plugin.waitFor("storage.set")).params.key, "later")
  })

  it("ends when the host closes, calls that wait included", async () => {
    await using plugin = await start("async_plugin.py", () => undefined)
    const waiting = plugin.request({ path: "/wait", query: "x" })
    await plugin.waitFor("storage.get")
    assert.equal(await plugin.end(), 0)
    assert.match(error(await waiting).message, /^EOFError: there is no host to answer storage\.get: /)
  })

  it("ends when a function says so, others waiting", async () => {
    await using plugin = await start("async_plugin.py", () => undefined)
    const waiting = plugin.request({ path: "/wait", query: "x" })
    await plugin.waitFor("storage.get")
    await assert.rejects(Promise.all([waiting, plugin.request({ path: "/exit" })]), /has ended/)
    assert.equal(await plugin.end(), 3)
    assert.equal(plugin.log(), "")
  })

  it("finishes what it has begun when its input ends at once, as it does by hand", () => {
    const env = { PATH: process.env.PATH, PYTHONPATH: PYTHON_SDK, PYTHONDONTWRITEBYTECODE: "1" }
    const input =
      '{"method":"onRequest","params":{"path":"/program"},"id":1}\n{"method":"onRequest","params":{"path":"/wait","query":"k"},"id":2}'
    const options = { cwd: PLUGIN, env, input, encoding: "utf8", timeout: 30_000 } as const
    const { stdout, status } = spawnSync(findProgram(PYTHON)!, ["async_plugin.py"], options)
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
    assert.deepEqual(lines.find(({ id, ok }) => ok && id === 1)?.body, "from a program\n")
    assert.match(lines.find(({ id, error }) => error && id === 2)?.error.message, /^EOFError: there is no host/)
    assert.ok(
      lines.some(({ method }) => method === "storage.get"),
      "it shows what it would ask",
    )
    assert.equal(status, 0)
  })

  it("runs by hand from a file as well", (t) => {
    const file = join(temporaryFolder(t), "calls.json")
    writeFileSync(file, '{"method":"onRequest","params":{"path":"/fail"},"id":1}\n')
    const env = { PATH: process.env.PATH, PYTHONPATH: PYTHON_SDK, PYTHONDONTWRITEBYTECODE: "1" }
    const out = execFileSync("sh", ["-c", `exec "$0" async_plugin.py < "$1" 2>&1`, findProgram(PYTHON)!, file], {
      ...{ cwd: PLUGIN, env, encoding: "utf8", timeout: 30_000 },
    })
    assert.match(out, /\{"id":1,"error":\{"message":"ValueError: a bug/)
  })
})

describe("the Python module", { skip: missing(PYTHON) }, () => {
  const python = (code: string) => {
    const env = { PATH: process.env.PATH, PYTHONPATH: PYTHON_SDK, PYTHONDONTWRITEBYTECODE: "1" }
    return spawnSync(findProgram(PYTHON)!, ["-c", code], { env, encoding: "utf8", timeout: 30_000 })
  }

  it("says at once what is wrong with how a hook is written", () => {
    const wrong = (code: string) => python(`import bext\n${code}`).stderr
    assert.match(wrong("@bext.on_request\ndef f(): pass"), /TypeError: on_request calls its function with \(ctx\)/)
    assert.match(wrong("@bext.cleanup\ndef f(x): pass"), /TypeError: cleanup calls its function with \(\)/)
    const twice = "@bext.cleanup\ndef f(): pass\n@bext.cleanup\ndef g(): pass"
    assert.match(wrong(twice), /TypeError: cleanup has a function already: f/)
    assert.match(wrong("bext.run()"), /nothing to serve: decorate a function with @bext\.on_request/)
    assert.match(wrong("bext.storage.get('a')"), /cannot be asked before bext\.run\(\)/)
    assert.match(wrong("@bext.cleanup\ndef f(): pass"), /has ended and never called bext\.run\(\)/)
    assert.match(wrong("@bext.on_requst\ndef f(ctx): pass"), /module 'bext' has no attribute 'on_requst'/)
  })

  it("leaves standard input and output alone where it is only imported, as for tests of a plugin", () => {
    assert.equal(python("import bext; print('here')").stdout, "here\n")
  })

  it("loads no event loop for plain functions", () => {
    assert.equal(python("import bext, sys; print('asyncio' in sys.modules)").stdout, "False\n")
  })

  it("is written for Python 3.9", () => {
    const code = "import ast, glob\nfor f in glob.glob('bext/*.py'): ast.parse(open(f).read(), feature_version=(3, 9))"
    execFileSync(findProgram(PYTHON)!, ["-c", code], { cwd: PYTHON_SDK })
  })

  it("has every name in __all__, and a docstring or type for what is public", () => {
    const names = python(
      "import bext; print(all(hasattr(bext, name) for name in bext.__all__), len(bext.__all__) > 40)",
    )
    assert.equal(names.stdout, "True True\n", names.stderr)
    assert.ok(readFileSync(join(PYTHON_SDK, "bext/py.typed")) !== undefined)
  })
})
