import assert from "node:assert/strict"
import { once } from "node:events"
import { rmSync, symlinkSync } from "node:fs"
import { createServer } from "node:http"
import { type AddressInfo, connect } from "node:net"
import { describe, it } from "node:test"
import { runBext } from "../cli/run-bext.ts"
import { until } from "../http/serve-test.ts"
import { createProject, serveChild } from "../support/serve.ts"

const SERVER = '[server]\nlisten = "127.0.0.1:0"\ngrace = "10s"\n[log]\nformat = "json"\n'
const MANIFEST = '[manifest]\nname = "mine"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n'
const PLUGIN = { "plugins/mine/plugin.toml": MANIFEST, "plugins/mine/index.js": "export function onRequest() {}" }
const WITH_PLUGIN = `${SERVER}[app]\nstatic = "public"\n[plugins.mine]\n`

interface Refusal {
  readonly files: Readonly<Record<string, string>>
  /** What standard error shows: code, place and what to do. */
  readonly shows: readonly RegExp[]
}

const REFUSALS: Readonly<Record<string, Refusal>> = {
  "a misspelt key": {
    files: { "bext.config.toml": `${SERVER}[app]\nstatik = "public"\n` },
    shows: [/E_CONFIG_INVALID/, /bext\.config\.toml:7:1 .*statik/, /static/],
  },
  "a value of the wrong type": {
    files: { "bext.config.toml": `${SERVER}[app]\nstatic = 1\n` },
    shows: [/E_CONFIG_INVALID/, /bext\.config\.toml:7:10 .*app\.static/],
  },
  "a broken line": {
    files: { "bext.config.toml": `${SERVER}[app\nstatic = "public"\n` },
    shows: [/E_CONFIG_INVALID/, /bext\.config\.toml:6:\d+/],
  },
  "a folder that is not there": {
    files: { "bext.config.toml": `${SERVER}[app]\nstatic = "nowhere"\n` },
    shows: [/E_CONFIG_INVALID/, /bext\.config\.toml:7:10 .*app\.static: .*nowhere/],
  },
  "a glob that is none": {
    files: { "bext.config.toml": `${WITH_PLUGIN}match = [{ path = "app/**" }]\n`, ...PLUGIN },
    shows: [/E_CONFIG_INVALID/, /bext\.config\.toml:9:\d+ .*plugins\.mine\.match/],
  },
  "a plugin that is not there": {
    files: { "bext.config.toml": WITH_PLUGIN },
    shows: [/E_PLUGIN_NOT_FOUND/, /mine/, /plugins.mine/],
  },
  "a plugin folder without a manifest": {
    files: { "bext.config.toml": WITH_PLUGIN, "plugins/mine/index.js": PLUGIN["plugins/mine/index.js"] },
    shows: [/E_PLUGIN_NOT_FOUND|E_PLUGIN_MANIFEST_INVALID/, /plugin\.toml/],
  },
  "a manifest with an unknown capability": {
    files: {
      "bext.config.toml": WITH_PLUGIN,
      ...PLUGIN,
      "plugins/mine/plugin.toml": MANIFEST.replace("middleware", "middelware"),
    },
    shows: [/E_PLUGIN_MANIFEST_INVALID/, /plugin\.toml:4:\d+ .*capabilities/, /middleware/],
  },
  "a syntax error in a plugin": {
    files: {
      "bext.config.toml": WITH_PLUGIN,
      ...PLUGIN,
      "plugins/mine/index.js": "export function onRequest(ctx) {\n  if (ctx.path ==== 1) return\n}\n",
    },
    shows: [/E_PLUGIN_LOAD_FAILED/, /index\.js:2:19/],
  },
  "a syntax error in a file that a plugin imports": {
    files: {
      "bext.config.toml": WITH_PLUGIN,
      ...PLUGIN,
      "plugins/mine/index.js": 'import "./lib/other.js"\nexport function onRequest() {}\n',
      "plugins/mine/lib/other.js": "\n\nconst 1 = 2\n",
    },
    shows: [/E_PLUGIN_LOAD_FAILED/, /lib\/other\.js:3:7/],
  },
  "a TypeScript enum": {
    files: {
      "bext.config.toml": WITH_PLUGIN,
      "plugins/mine/plugin.toml": MANIFEST,
      "plugins/mine/index.ts": "enum Colour { Red }\nexport function onRequest() { return Colour.Red }\n",
    },
    shows: [/E_PLUGIN_LOAD_FAILED/, /index\.ts:1:1/, /enum/],
  },
  "a misspelt hook": {
    files: { "bext.config.toml": WITH_PLUGIN, ...PLUGIN, "plugins/mine/index.js": "export function onRequset() {}" },
    shows: [/E_PLUGIN_HOOK_MISMATCH/, /onRequest/],
  },
  "a hook without its capability": {
    files: {
      "bext.config.toml": WITH_PLUGIN,
      ...PLUGIN,
      "plugins/mine/index.js": "export function onRequest() {}\nexport function onServerStart() {}",
    },
    shows: [/E_PLUGIN_HOOK_MISMATCH/, /lifecycle/],
  },
  "a plugin that never finishes loading": {
    files: { "bext.config.toml": WITH_PLUGIN, ...PLUGIN, "plugins/mine/index.js": "for (;;) {}" },
    shows: [/E_LIMIT_CPU/, /mine/],
  },
  "a manifest without capabilities": {
    files: {
      "bext.config.toml": WITH_PLUGIN,
      ...PLUGIN,
      "plugins/mine/plugin.toml": MANIFEST.replace(/capabilities.*/, ""),
    },
    shows: [/E_PLUGIN_HOOK_MISMATCH/, /add "middleware" to manifest\.capabilities/],
  },
  "an environment variable that is missing": {
    files: {
      "bext.config.toml": `${WITH_PLUGIN}[plugins.mine.secrets]\nKEY = "env:NOT_SET_ANYWHERE"\n`,
      ...PLUGIN,
    },
    shows: [/E_CONFIG_SECRET_MISSING/, /NOT_SET_ANYWHERE/],
  },
}

describe("bext serve refuses to start", { concurrency: 2 }, () => {
  for (const [what, { files, shows }] of Object.entries(REFUSALS)) {
    it(`with ${what}, and says where`, async () => {
      using project = createProject({ "public/index.html": "home", ...files })
      const { code, out, err } = await runBext(["serve"], { cwd: project.folder })
      assert.equal(code, 1, err)
      assert.doesNotMatch(out, /listens/)
      for (const pattern of shows) assert.match(err, pattern)
      assert.doesNotMatch(err, /^\s+at .*(src|node_modules)\//m, "no stack of bext itself")
    })
  }

  for (const file of ["bext.config.toml", "plugins/mine/plugin.toml", "plugins/mine/index.js", "public"]) {
    // What permissions forbid, root may read; this nobody can.
    it(`when ${file} cannot be read, and names it`, async () => {
      using project = createProject({ "bext.config.toml": WITH_PLUGIN, ...PLUGIN, "public/index.html": "home" })
      rmSync(project.path(file), { recursive: true })
      symlinkSync(project.path(file), project.path(file))
      const { code, err } = await runBext(["serve"], { cwd: project.folder })
      assert.equal(code, 1)
      assert.match(err, /^error E_[A-Z_]+: /)
      assert.ok(err.includes(file.split("/").at(-1)!), err)
      assert.doesNotMatch(err, /E_INTERNAL/)
    })
  }

  it("when the configuration's port is in use", async () => {
    const other = createServer().listen(0, "127.0.0.1")
    await once(other, "listening")
    const { port } = other.address() as AddressInfo
    using project = createProject({ "bext.config.toml": WITH_PLUGIN, ...PLUGIN, "public/index.html": "home" })
    const { code, err } = await runBext(["serve"], { cwd: project.folder, env: { PORT: String(port) } })
    assert.equal(code, 1)
    assert.match(err, new RegExp(`^error E_PORT_IN_USE: .*127\\.0\\.0\\.1:${port} is in use`))
    other.close()
    await using site = await serveChild([], { folder: project.folder, env: { PORT: String(port) } })
    assert.equal((await fetch(site.url)).status, 200)
  })
})

describe("bext serve, told to stop", () => {
  const SLOW = `
    export async function onRequest(ctx) {
      if (ctx.path === "/wait") {
        await new Promise((done) => setTimeout(done, 800))
        return new Response("done")
      }
      if (ctx.path === "/forever") await new Promise(() => {})
    }
    export function onServerStop() { console.log("stopped well") }`
  const project = (grace: string) =>
    createProject({
      "bext.config.toml": WITH_PLUGIN.replace("10s", grace),
      "plugins/mine/plugin.toml": MANIFEST.replace('"middleware"', '"middleware", "lifecycle"'),
      "plugins/mine/index.js": SLOW,
      "public/index.html": "home",
    })

  it("finishes what is in flight, takes nothing new, runs the plugins' stop hooks and ends with 0", async () => {
    using site = project("10s")
    await using server = await serveChild([], { folder: site.folder })
    const waiting = fetch(`${server.url}/wait`)
    await inFlight(server)
    const ended = server.end("SIGTERM")
    await until(() => server.output().includes("SIGTERM: finishing what is in flight"), "it says so")
    const late = connect(Number(new URL(server.url).port), "127.0.0.1")
    const [refusal] = await once(late, "error")
    assert.equal(refusal.code, "ECONNREFUSED")
    const response = await waiting
    assert.deepEqual([response.status, await response.text()], [200, "done"])
    assert.equal(await ended, 0)
    assert.match(server.output(), /stopped well/)
  })

  it("gives up on what takes longer than the grace period", async () => {
    using site = project("300ms")
    await using server = await serveChild([], { folder: site.folder })
    const waiting = assert.rejects(fetch(`${server.url}/forever`))
    await inFlight(server)
    assert.equal(await server.end("SIGTERM"), 0)
    await waiting
  })

  it("ends at once when it is told twice", async () => {
    using site = project("60s")
    await using server = await serveChild([], { folder: site.folder })
    const waiting = assert.rejects(fetch(`${server.url}/forever`))
    await inFlight(server)
    const ended = server.end("SIGINT")
    await until(() => server.output().includes("again: stop now"), "it says so")
    process.kill(server.pid, "SIGINT")
    assert.equal(await ended, "SIGINT")
    await waiting
  })
})

/** Returns once a request that was sent before has reached the server: one more has been answered. */
async function inFlight({ url }: { url: string }): Promise<void> {
  await (await fetch(url)).text()
}
