import assert from "node:assert/strict"
import { rmSync } from "node:fs"
import { describe, it } from "node:test"
import { startGatedApp } from "./gated-app.ts"
import { plugin, type Site, serveSite } from "./site.ts"

const LIFE = '"middleware", "lifecycle"'

/** Answers, and says what happens to it. */
const version = (name: string, words: string, start = "") =>
  plugin(
    name,
    `export function onServerStart() { ${start} }
    export function onRequest() { return new Response("${words}") }
    export function onServerStop() { console.log("said", "stop ${words}") }
    export function cleanup() { console.log("said", "cleanup ${words}") }
    export function onReload() { console.log("said", "reload ${words}") }`,
    "",
    LIFE,
  )

describe("a reload that cannot be done", () => {
  const refusals: { what: string; files?: object; config?: string; code: string; message?: RegExp }[] = [
    {
      what: "a plugin that does not parse any more",
      files: { "plugins/probe/index.js": "export function onRequest( {" },
      code: "E_PLUGIN_LOAD_FAILED",
      message: /probe: .*index\.js:1/,
    },
    {
      what: "a plugin whose top level throws",
      files: { "plugins/probe/index.js": "throw new Error('no')" },
      code: "E_PLUGIN_LOAD_FAILED",
    },
    {
      what: "a plugin whose start hook fails",
      files: version("probe", "new", "throw new Error('no database')"),
      code: "E_GUEST_THREW",
    },
    {
      what: "a manifest with nonsense",
      files: { "plugins/probe/plugin.toml": "nonsense" },
      code: "E_PLUGIN_MANIFEST_INVALID",
    },
    {
      what: "a manifest that asks for more than was granted",
      files: plugin(
        "probe",
        "export function onRequest() {}",
        '[permissions]\nallowed_urls = ["https://example.com/**"]',
      ),
      code: "E_GRANT_MISSING",
    },
    {
      what: "a hook without its capability",
      files: { "plugins/probe/index.js": "export function onRequestComplete() {}" },
      code: "E_PLUGIN_HOOK_MISMATCH",
    },
    { what: "a new plugin that is nowhere", config: "[plugins.nowhere]", code: "E_PLUGIN_NOT_FOUND" },
    {
      what: "fields that belong to the process",
      config: '[state]\ndir = "elsewhere"',
      code: "E_RELOAD_NEEDS_RESTART",
      message: /state\.dir/,
    },
  ]

  for (const { what, files, config = "", code, message = /./ } of refusals) {
    it(`leaves the old snapshot as it was: ${what}`, async () => {
      await using site = await serveSite("[plugins.probe]\n[plugins.other]", {
        ...version("probe", "old"),
        ...version("other", "never asked"),
      })
      assert.equal((await site.get()).text, "old")
      const before = traces(site)
      site.write((files ?? {}) as never)
      await assert.rejects(site.prepare(`[plugins.probe]\n[plugins.other]\n${config}`), { code, message })
      assert.deepEqual(traces(site), before)
      assert.equal((await site.get()).text, "old")
      assert.deepEqual(site.said(), [])
      site.write(version("probe", "right"))
      await site.reload("[plugins.probe]\n[plugins.other]")
      assert.equal((await site.get()).text, "right")
    })
  }

  const files = {
    "an error page": '[errors]\n502 = "gone"',
    "a folder": '[app]\nstatic = "gone"',
    "a key": '[middleware.auth]\nalgorithms = ["EdDSA"]\nkey_file = "gone"',
  }
  for (const [what, config] of Object.entries(files)) {
    it(`leaves the old snapshot as it was: ${what} that is gone since the configuration was read`, async () => {
      await using site = await serveSite("[plugins.probe]", version("probe", "old"))
      site.write({ [what === "a folder" ? "gone/index.html" : "gone"]: "" })
      const parsed = site.parse(`[plugins.probe]\n${config}`)
      rmSync(`${site.folder}/gone`, { recursive: true })
      await assert.rejects(site.server.prepare(parsed), { code: "E_FILE_UNREADABLE" })
      assert.equal((await site.get()).text, "old")
      await site.reload()
    })
  }

  it("ends the new plugins that had already started, without the hook for the end of the server", async () => {
    await using site = await serveSite("[plugins.probe]", {
      ...version("probe", "old"),
      ...version("good", "good"),
      ...version("bad", "bad", "throw new Error('no')"),
    })
    const before = traces(site)
    await assert.rejects(site.prepare("[plugins.probe]\n[plugins.good]\n[plugins.bad]"), { code: "E_GUEST_THREW" })
    assert.deepEqual(site.said(), ["cleanup good"])
    assert.deepEqual(traces(site), before)
  })

  it("names all plugins that failed", async () => {
    await using site = await serveSite("[plugins.probe]", version("probe", "old"))
    const config = "[plugins.probe]\n[plugins.nowhere]\n[plugins.neither]"
    await assert.rejects(site.prepare(config), { message: /2 plugins failed.*nowhere.*neither/s })
  })

  it("is none when the plugin is not required: it is left out loudly, and tried again the next time", async () => {
    const config = "[plugins.probe]\n[plugins.extra]\nrequired = false"
    await using site = await serveSite(config, { ...version("probe", "old"), ...version("extra", "extra") })
    site.write({ "plugins/extra/index.js": "export function onRequest( {" })
    const { removed, kept } = await site.reload()
    assert.deepEqual({ removed, kept }, { removed: ["extra"], kept: ["probe"] })
    assert.ok(site.lines.some(({ level, msg }) => level === "error" && /left out: extra/.test(msg)))
    site.write(version("extra", "extra"))
    assert.deepEqual((await site.reload()).loaded, ["extra"])
  })
})

describe("a plugin that computes for long while it starts", () => {
  it("is named when a reload loads it, as requests waited for it", async () => {
    const spin = "const end = Date.now() + 150; while (Date.now() < end);"
    await using site = await serveSite("[plugins.probe]", version("probe", "quick"))
    const warned = () => site.lines.filter(({ msg }) => msg.includes("held up requests")).map(({ plugin }) => plugin)
    await site.reload("[plugins.probe.config]\nchanged = true")
    assert.deepEqual(warned(), [])
    site.write(version("probe", "slow", spin))
    await site.reload("[plugins.probe.config]\nchanged = true")
    await site.reload("[plugins.probe.config]\nchanged = true")
    assert.deepEqual(warned(), ["probe"])
  })
})

describe("a prepared snapshot", () => {
  const both = "[plugins.probe]\n[plugins.extra]"
  const files = { ...version("probe", "old"), ...version("extra", "extra") }

  it("serves nobody before it is committed, and everybody from then on", async () => {
    await using site = await serveSite("[plugins.probe]", files)
    site.write(version("probe", "new"))
    const prepared = await site.prepare()
    assert.equal((await site.get()).text, "old")
    assert.equal(site.server.status().snapshot, 1)
    prepared.commit()
    assert.equal((await site.get()).text, "new")
    assert.equal(site.server.status().snapshot, 2)
  })

  it("leaves nothing behind when it is aborted", async () => {
    await using site = await serveSite("[plugins.probe]", files)
    await site.get()
    const before = traces(site)
    const prepared = await site.prepare(both)
    await prepared.abort()
    await prepared.abort()
    prepared.commit()
    assert.deepEqual(traces(site), before)
    assert.deepEqual(site.said(), ["cleanup extra"])
    assert.equal((await site.get()).text, "old")
    await site.reload(both)
    assert.equal(site.server.status().snapshot, 2)
  })

  it("is the only one at a time", async () => {
    await using site = await serveSite("[plugins.probe]", files)
    const first = site.prepare()
    await assert.rejects(site.prepare(), /prepared already/)
    const prepared = await first
    await assert.rejects(site.prepare(), /prepared already/)
    prepared.commit()
    await (await site.prepare()).abort()
  })

  it("cannot be aborted once it serves", async () => {
    await using site = await serveSite("[plugins.probe]", files)
    site.write(version("probe", "new"))
    const prepared = await site.reload()
    await prepared.abort()
    prepared.commit()
    assert.equal((await site.get()).text, "new")
    assert.deepEqual([site.server.status().snapshot, site.server.status().plugins.length], [2, 1])
  })

  it("goes with the server, whether it is ready or still being made", async () => {
    for (const ready of [true, false]) {
      await using site = await serveSite("[plugins.probe]", files)
      const preparing = site.prepare(both)
      if (ready) await preparing
      await site.server.close()
      const prepared = await preparing
      prepared.commit()
      assert.deepEqual(site.said().sort(), ["cleanup extra", "cleanup old", "stop old"])
      await assert.rejects(site.prepare(), { code: "E_OVERLOADED" })
    }
  })
})

describe("what a snapshot reads again", () => {
  it("is its error pages", async () => {
    const config = '[errors]\n404 = "404.html"'
    await using site = await serveSite(config, { "404.html": "old page" })
    const page = async () => (await site.get("/nothing", { accept: "text/html" })).text
    assert.equal(await page(), "old page")
    site.write({ "404.html": "new page" })
    assert.equal(await page(), "old page")
    await site.reload()
    assert.equal(await page(), "new page")
    assert.equal((await site.get("/__bext/nothing", { accept: "text/html" })).text, "new page")
  })

  it("is the folder of files, when a link leads elsewhere now", async () => {
    await using site = await serveSite('[app]\nstatic = "public"', {
      "one/index.html": "one",
      "two/index.html": "two",
      public: { link: "one" },
    })
    assert.equal((await site.get()).text, "one")
    rmSync(`${site.folder}/public`)
    site.write({ public: { link: "two" } })
    await site.reload()
    assert.equal((await site.get()).text, "two")
  })

  it("is what plugins may fetch in private ranges, with no connection left from before", async () => {
    await using app = await startGatedApp()
    const source = `export async function onRequest() {
      try { return new Response(await (await bext.fetch("${app.url}/")).text()) } catch (error) { return new Response(error.code) }
    }`
    const grant = `[plugins.probe.grant]\nallowed_urls = ["${app.url}/**"]\n`
    const allowed = `${grant}[fetch]\nallow_private = ["127.0.0.1:${app.port}"]`
    await using site = await serveSite(
      grant,
      plugin("probe", source, `[permissions]\nallowed_urls = ["${app.url}/**"]`),
    )
    assert.equal((await site.get()).text, "E_FETCH_FORBIDDEN")
    await site.reload(allowed)
    const answer = site.get()
    ;(await app.next()).end("from inside")
    assert.equal((await answer).text, "from inside")
    await site.reload(grant)
    assert.equal((await site.get()).text, "E_FETCH_FORBIDDEN")
  })

  it("is whether requests are logged", async () => {
    await using site = await serveSite("")
    const logged = () => site.lines.filter(({ msg }) => msg === "request").length
    await site.get()
    assert.equal(logged(), 0)
    const config = site.parse("")
    const prepared = await site.server.prepare({ ...config, log: { ...config.log, access: true } })
    prepared.commit()
    await site.get()
    assert.equal(logged(), 1)
  })
})

/** What a snapshot that was thrown away must not change. */
function traces({ server }: Site) {
  const { snapshot, retiring, instances, requestsInFlight } = server.status()
  return { snapshot, retiring, instances, requestsInFlight }
}
