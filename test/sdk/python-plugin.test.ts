import assert from "node:assert/strict"
import { chmodSync, cpSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { missingForPython } from "./missing-for-jail.ts"
import { type ServedPlugin, servePlugin } from "./serve-plugin.ts"

const PLUGIN = fileURLToPath(new URL("../fixtures/sdk/python-served", import.meta.url))

describe("a plugin in Python, in its jail behind a server", { skip: missingForPython() }, () => {
  let folder: string
  let plugin: ServedPlugin
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "bext-python-"))
    chmodSync(folder, 0o755) // Started as root, programs run as another user.
    cpSync(PLUGIN, folder, { recursive: true })
    plugin = await servePlugin(folder)
  })
  after(async () => {
    await plugin?.[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })
  const json = async (path: string, init?: RequestInit): Promise<unknown> => {
    const answer = await plugin.ask(path, init)
    assert.ok(answer.startsWith("200 "), answer)
    return JSON.parse(answer.slice(4))
  }

  it("reads everything of a request", async () => {
    const headers = { "x-b": "2", "X-A": "1", "x-empty": "", cookie: "c=1" }
    const told = ["GET", "a=%20b", "http", "127.0.0.1", true, null, null, null, true, "c=1"]
    assert.deepEqual(await json("/request?a=%20b", { headers }), [...told, ["x-a=1", "x-b=2", "x-empty="]])
  })

  it("changes a request for the app", async () => {
    const answer = await plugin.ask("/change", { method: "POST", body: "\0é", headers: { "x-gone": "1" } })
    const seen = { method: "POST", url: "/changed", set: "ä, 2", body: "00c3a921" }
    assert.equal(answer, `200 ${JSON.stringify(seen)}`)
  })

  it("changes a response", async () => {
    const response = await plugin.request("/response")
    assert.equal(response.status, 201)
    assert.equal(response.headers.get("x-type"), "application/json")
    assert.equal(response.headers.get("set-cookie"), "seen=1")
    assert.equal(response.headers.get("x-app"), null)
    assert.equal(await response.text(), '{"METHOD":"GET","URL":"/RESPONSE","BODY":""}')
  })

  it("answers with any bytes, repeated fields, and JSON", async () => {
    const response = await plugin.request("/respond")
    assert.equal(response.status, 299)
    assert.equal(response.headers.get("x-a"), "1, 2")
    assert.deepEqual(new Uint8Array(await response.arrayBuffer()), Uint8Array.of(0, 255))
    const other = await plugin.request("/json")
    assert.deepEqual([other.status, other.headers.get("content-type")], [404, "application/json"])
    assert.deepEqual(await other.json(), { ä: 1 })
  })

  it("gets and gives bodies that are longer than a line", async () => {
    for (const size of [0, 1, 65_536, 65_537, 200_000, 1_000_000]) {
      const body = Buffer.alloc(size, "0123456789é")
      const response = await plugin.request("/read", { method: "POST", body })
      assert.equal(response.headers.get("x-size"), String(size))
      assert.ok(Buffer.from(await response.arrayBuffer()).equals(body), `${size} bytes`)
    }
  })

  it("stores, counts and compares, plainly and awaiting", async () => {
    const told = ["E_STORAGE_KEY", [0, 255], "ä", null, ["bytes"], ["bytes"], true, false, 5, -2, true, false, true]
    assert.deepEqual(await json("/storage"), told)
  })

  it("fetches through the host", async () => {
    const seen = { method: "POST", url: "/there", body: "0001fe" }
    assert.deepEqual(await json("/fetch"), [200, seen, "/again", true, "E_FETCH_FORBIDDEN"])
  })

  it("has its configuration and its secrets, which no log shows", async () => {
    assert.deepEqual(await json("/plugin"), ["ä b", [1, "two"], "open sesame", "open sesame"])
    const [config, same] = (await json("/started")) as [{ word: string }, boolean]
    assert.deepEqual([config.word, same], ["ä b", true])
  })

  it("pushes messages and receives them", async () => {
    assert.equal(await plugin.ask("/push"), "200 True")
    await plugin.logged(/"level":"?(40|warn)"?.*letters \{\\"to\\": \\"ada\\"\} 1 k/)
  })

  it("logs what it prints, from the first moment on, and hears of finished requests", async () => {
    await plugin.ask("/calls")
    await plugin.logged(/GET \/calls gave 200/)
    await plugin.logged(/printed while it is loaded/)
    if ((await plugin.ask("/bext")).startsWith("200 /bext/python/")) await plugin.logged(/written while it is loaded/)
  })

  it("has little in its environment, and the module from the host", async () => {
    const names = (await json("/environment")) as string[]
    assert.deepEqual(
      names.filter((name) => !/^(BEXT_\w+|HOME|LANG|LC_CTYPE|PATH|PWD|PYTHON\w+|TMPDIR)$/.test(name)),
      [],
    )
    assert.match(await plugin.ask("/bext"), /^200 \S+\/bext\/__init__\.py$/)
  })

  for (const [path, expected] of [
    ["/fail", "502 E_GUEST_THREW"],
    ["/forbidden", "502 E_HEADER_FORBIDDEN"],
    ["/refused", "502 E_STORAGE_KEY"],
    ["/inject", "502 E_HEADER_INVALID"],
    ["/sleep", "504 E_LIMIT_TIME"],
  ] as const) {
    it(`fails ${path} as ${expected}, and keeps its variables`, async () => {
      const calls = async () => Number((await plugin.ask("/calls")).slice(4))
      const before = await calls()
      assert.equal(await plugin.ask(path), expected)
      assert.equal(await calls(), before + 2)
    })
  }

  it("goes on with others when clients leave in the middle of their calls", async () => {
    const calls = async () => Number((await plugin.ask("/calls")).slice(4))
    const before = await calls()
    const leaving = Array.from({ length: 50 }, async () => {
      const controller = new AbortController()
      const request = plugin.request("/wait-long", { signal: controller.signal })
      await plugin.logged(/waits long/)
      controller.abort()
      await assert.rejects(request, { name: "AbortError" })
    })
    await Promise.all(leaving)
    for (let i = 0; i < 20; i++) assert.equal(await plugin.ask("/json").then((answer) => answer.slice(0, 3)), "404")
    assert.ok((await calls()) > before + 20, "it is the same process, with its variables")
    await plugin.logged(/stopped waiting/)
  })

  it("says in the log where it failed, with the traceback", async () => {
    await plugin.ask("/fail")
    await plugin.logged(/RuntimeError: no such plan \(main\.py:\d+\)/)
    await plugin.logged(/File \S+main\.py\S+, line \d+, in forget/)
  })

  for (const [path, expected] of [
    ["/exit", /^502 E_GUEST_CRASHED$/],
    ["/spin", /^504 E_LIMIT_(CPU|TIME)$/],
    ["/hoard", /^502 E_(LIMIT_MEMORY|GUEST_THREW)$/],
  ] as const) {
    it(`is there again after ${path}`, async () => {
      assert.match(await plugin.ask(path), expected)
      assert.match(await plugin.ask("/calls"), /^200 \d+$/)
    })
  }
})
