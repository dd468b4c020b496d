import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { onTerminal } from "../cli/on-terminal.ts"
import { runBext } from "../cli/run-bext.ts"
import { freePort } from "../support/free-port.ts"
import { createProject, serveChild, serveInChild } from "../support/serve.ts"
import { parseMetrics } from "../telemetry/parse-metrics.ts"
import { ENV, HELLO, TOKEN } from "./admin-project.ts"
import { ask } from "./ask.ts"

const BEXT = fileURLToPath(new URL("../../src/cli/bext.ts", import.meta.url))
const SITE = '[app]\nstatic = "public"\n[plugins.hello] # greets\non_error = "closed"\n'

describe("bext with a running server of two processes", { concurrency: 2 }, () => {
  it("shows, reloads, quarantines and releases over the socket", async () => {
    await using site = await serveInChild(SITE, HELLO, { processes: 2 })
    const bext = (...args: string[]) => runBext(args, { cwd: site.folder })
    for (let index = 0; index < 6; index++) await fetch(`${site.url}/plugin`)
    await fetch(`${site.url}/plugin/throw`)

    const status = await bext("status")
    assert.deepEqual([status.code, status.err], [0, ""])
    assert.equal(status.out.match(/^ +\d+ +serving/gm)?.length, 2)
    assert.match(status.out, /^ +\d+ +serving, leads/m)
    assert.match(status.out, /^ +hello +1\.2\.3 +inline +7 +1 .*B$/m)
    assert.match(status.out, /hello failed: 1 × E_GUEST_THREW/)
    assert.ok(!status.out.includes("\u001b"), "the guest's text is escaped, and there are no colours in a pipe")
    const json = JSON.parse((await bext("status", "--json")).out)
    assert.equal(json.processes.length, 2)
    assert.equal(json.plugins[0].calls, 7)

    const quarantine = await bext("plugin", "quarantine", "hello", "--reason", "too \u001b[2Jloud")
    assert.deepEqual([quarantine.code, quarantine.err], [0, ""])
    for (let index = 0; index < 4; index++) assert.equal((await fetch(`${site.url}/plugin`)).status, 503)
    assert.match(
      (await bext("status")).out,
      /^hello was taken out of service by an operator .* ago: too \\u\{1b\}\[2Jloud/m,
    )
    assert.equal((await bext("plugin", "release", "hello")).code, 0)
    for (let index = 0; index < 4; index++) assert.equal((await fetch(`${site.url}/plugin`)).status, 200)

    writeFileSync(join(site.folder, "plugins/hello/index.js"), 'export const onRequest = () => new Response("new")')
    const reload = await bext("reload")
    assert.equal(reload.code, 0, reload.err)
    assert.match(reload.out, /^reloaded in .*\n {2}loaded {3}hello\n$/)
    for (let index = 0; index < 4; index++) assert.equal(await (await fetch(`${site.url}/x`)).text(), "new")
    writeFileSync(join(site.folder, "plugins/hello/index.js"), "export const onRequest = (")
    const refused = await bext("reload")
    assert.equal(refused.code, 1)
    assert.match(refused.err, /error E_PLUGIN_LOAD_FAILED: hello/)
    assert.equal(await (await fetch(`${site.url}/x`)).text(), "new")
    assert.match((await bext("status")).out, /^last reload failed .* by admin/m)

    const logs = await bext("logs", "--plugin", "hello", "--lines", "2")
    const lines = logs.out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
    assert.ok(lines.length > 0 && lines.length <= 2)
    assert.ok(lines.every(({ plugin }) => plugin === "hello"))
    assert.equal(await site.end("SIGTERM"), 0)
    assert.ok(!existsSync(join(site.folder, ".bext/admin.sock")))
    const gone = await bext("status")
    assert.equal(gone.code, 1)
    assert.match(gone.err, /E_ADMIN_UNREACHABLE: .*no server is running there\n\n {2}what to do: start the server/)
  })

  it("shows the log on a terminal as the server would, with what plugins wrote made harmless", async (t) => {
    using project = createProject({ ...TALKATIVE, "bext.config.toml": LOGGED })
    await using site = await serveChild([], { folder: project.folder, processes: 2 })
    await fetch(`${site.url}/plugin/say`)
    await fetch(`${site.url}/other`)
    const { code, out } = await onTerminal(t, ["logs"], site.folder, [])
    assert.equal(code, 0)
    assert.match(out, /^\[[\d:.]+\] .*INFO.*: .*"path":"\/other"/m)
    const json = await onTerminal(t, ["logs", "--json", "--plugin", "hello"], site.folder, [])
    assert.equal(json.out.trim().split("\r\n").length, 1)
    assert.match(JSON.parse(json.out).msg, /cleared/)
    for (const text of [out, json.out]) {
      assert.match(text, /cleared/)
      assert.ok(!text.includes("\u001b[2J") && !text.includes("\u009b2J"), "the screen was not cleared")
    }
  })

  it("follows the log of both until the server ends", async (t) => {
    using project = createProject({ ...TALKATIVE, "bext.config.toml": LOGGED })
    await using site = await serveChild([], { folder: project.folder, processes: 2 })
    const child = spawn(process.execPath, [BEXT, "logs", "-f", "--lines", "0"], { cwd: site.folder })
    t.after(() => child.kill("SIGKILL"))
    const closed = once(child, "close")
    let out = ""
    child.stdout.setEncoding("utf8").on("data", (chunk) => {
      out += chunk
    })
    let number = 0
    await until(async () => {
      await fetch(`${site.url}/plugin/${number++}`)
      return out.split("\n").length > 10
    })
    await site.end("SIGTERM")
    const [code] = await closed
    assert.equal(code, 0)
    const paths = out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).path)
      .filter(Boolean)
    assert.equal(new Set(paths).size, paths.length, "no line twice")
  })

  it("adds up the metrics of both, and loses none when one is killed", async () => {
    await using site = await serveInChild(SITE, HELLO, { processes: 2 })
    const where = { socketPath: join(site.folder, ".bext/admin.sock") }
    for (let index = 0; index < 40; index++) await fetch(`${site.url}/plugin`)
    const count = async () => {
      const families = parseMetrics((await ask(where, "/metrics")).text)
      const get = (name: string, labels: string) => families.get(name)?.samples.get(`${name}{${labels}}`)
      return {
        requests: get("bext_http_requests_total", 'method="GET",status="200"'),
        calls: get("bext_plugin_calls_total", 'hook="on_request",plugin="hello"'),
        serving: get("bext_processes", 'state="serving"'),
        crashes: get("bext_process_crashes_total", ""),
      }
    }
    assert.deepEqual(await count(), { requests: 40, calls: 40, serving: 2, crashes: 0 })
    const { processes } = (await ask(where, "/v1/status")).json()
    process.kill(processes[0].pid, "SIGKILL")
    await until(async () => {
      const { serving, crashes } = await count()
      return serving === 2 && crashes === 1
    })
    assert.deepEqual(await count(), { requests: 40, calls: 40, serving: 2, crashes: 1 })
    await fetch(`${site.url}/plugin`)
    assert.equal((await count()).requests, 41)
  })

  it("is never reached by a plugin's fetch, whatever the operator allows it", async () => {
    const port = await freePort()
    const config = `[app]
static = "public"
[admin]
listen = "127.0.0.1:${port}"
token = "env:BEXT_ADMIN_TOKEN"
metrics_token = "env:BEXT_METRICS_TOKEN"
[fetch]
allow_private = ["127.0.0.1:${port}"]
[plugins.spy]
[plugins.spy.grant]
allowed_urls = ["http://127.0.0.1:${port}/**", "http://localhost:${port}/**"]
`
    const spy = {
      "plugins/spy/plugin.toml": `[manifest]\nname = "spy"\nversion = "1.0.0"\ncapabilities = ["middleware"]
[permissions]\nallowed_urls = ["http://127.0.0.1:${port}/**", "http://localhost:${port}/**"]\n`,
      "plugins/spy/index.js": `export async function onRequest(ctx) {
  const headers = { authorization: "Bearer ${TOKEN}", "content-type": "application/json" }
  try {
    const response = await bext.fetch("http://" + ctx.query + ":${port}/v1/plugins/spy/quarantine", { method: "POST", headers, body: '{"reason":"x"}' })
    return new Response(String(response.status))
  } catch (error) {
    return new Response(error.code)
  }
}`,
    }
    await using site = await serveInChild(config, spy, { processes: 2, env: ENV })
    const headers = { authorization: `Bearer ${TOKEN}` }
    assert.equal((await ask({ port }, "/v1/status", { headers })).status, 200, "it is there")
    for (const host of ["127.0.0.1", "localhost"]) {
      for (let index = 0; index < 4; index++) {
        assert.equal(await (await fetch(`${site.url}/?${host}`)).text(), "E_FETCH_FORBIDDEN", host)
      }
    }
    const args = ["status", "--json", "--admin", `http://127.0.0.1:${port}`]
    const remote = await runBext(args, { env: { BEXT_ADMIN_TOKEN: TOKEN } })
    assert.equal(JSON.parse(remote.out).plugins[0].quarantine, null)
    const without = await runBext(args)
    assert.equal(without.code, 1)
    assert.match(without.err, /error E_ADMIN_TOKEN/)
    // Found by the configuration, with the token from the variable that it names.
    const here = await runBext(["status"], { cwd: site.folder, env: ENV })
    assert.equal(here.code, 0, here.err)
  })

  it("moves the admin listener with a reload, and keeps it where it is when the new settings are wrong", async () => {
    await using site = await serveInChild(SITE, HELLO, { processes: 2, env: { ...ENV, SHORT: "short" } })
    const file = join(site.folder, "bext.config.toml")
    const old = readFileSync(file, "utf8")
    const reload = () => runBext(["reload", "--admin", "unix:.bext/admin.sock"], { cwd: site.folder })
    const port = await freePort()
    const settings = `${old}[admin]\nlisten = "127.0.0.1:${port}"\ntoken = `
    writeFileSync(file, `${settings}"env:SHORT"\n`)
    assert.match((await reload()).err, /E_CONFIG_INVALID.*admin\.token: the value of env:SHORT has 5 characters/s)
    const check = await runBext(["check"], { cwd: site.folder, env: { SHORT: "short" } })
    assert.match(check.err, /admin\.token: the value of env:SHORT has 5 characters/)
    writeFileSync(file, `${settings}"env:MISSING"\n`)
    assert.match((await reload()).err, /E_CONFIG_SECRET_MISSING/)
    writeFileSync(file, `${settings}"env:BEXT_ADMIN_TOKEN"\n`)
    const moved = await reload()
    assert.equal(moved.code, 0, moved.err)
    await until(async () => (await runBext(["status"], { cwd: site.folder, env: ENV })).code === 0)
    assert.ok(!existsSync(join(site.folder, ".bext/admin.sock")))
    assert.equal(await (await fetch(`${site.url}/plugin`)).text(), "plugin")
  })

  it("grants what a plugin asks for, keeps the rest of the file, and reloads", async (t) => {
    const asks = {
      ...HELLO,
      "plugins/hello/plugin.toml": `${HELLO["plugins/hello/plugin.toml"]}[permissions]\nidentity = true\nqueues = []\nset_cookies = ["a", "b"]\n`,
    }
    const granted = `${SITE}\n[plugins.hello.grant]   # decided in May\nidentity = true  # yes\nset_cookies = ["a", "b"]\n`
    await using site = await serveInChild(granted, asks, { processes: 2 })
    const file = join(site.folder, "bext.config.toml")
    const bext = (...args: string[]) => runBext(args, { cwd: site.folder })
    const nothing = await bext("plugin", "grant", "hello")
    assert.deepEqual([nothing.code, nothing.err], [0, ""])
    assert.match(nothing.out, /hello asks for nothing that is not decided already/)

    const manifest = join(site.folder, "plugins/hello/plugin.toml")
    writeFileSync(
      manifest,
      readFileSync(manifest, "utf8").replace('["a", "b"]', '["a", "b", "c"]\nrewrite_path = true'),
    )
    assert.match((await bext("reload")).err, /E_GRANT_MISSING/)
    const before = readFileSync(file, "utf8")
    const refused = await bext("plugin", "grant", "hello")
    assert.equal(refused.code, 2)
    assert.match(refused.out, /hello may already\n {2}- set the cookies a, b\n {2}- decide who/)
    assert.match(refused.out, /hello asks for permission to\n {2}- set the cookies c\n {2}- change the path/)
    assert.match(refused.err, /nobody to ask, and nothing was changed/)
    assert.equal(readFileSync(file, "utf8"), before)

    const declined = await onTerminal(t, ["plugin", "grant", "hello"], site.folder, [[/Allow this\? \[y\/N\]/, "\r"]])
    assert.equal(declined.code, 1)
    assert.match(declined.out, /not allowed; nothing was changed/)
    assert.equal(readFileSync(file, "utf8"), before)

    const done = await onTerminal(t, ["plugin", "grant", "hello"], site.folder, [[/Allow this\? \[y\/N\]/, "y\r"]])
    assert.equal(done.code, 0, done.out)
    assert.match(
      done.out,
      /wrote \[plugins\.hello\.grant\] into bext\.config\.toml\r\nreloaded in .*\r\n {2}loaded {3}hello/,
    )
    const expected = before.replace(
      'set_cookies = ["a", "b"]\n',
      'set_cookies = ["a", "b", "c"]\nrewrite_path = true\n',
    )
    assert.equal(readFileSync(file, "utf8"), expected)
    const wrong = await bext("plugin", "grant", "helo")
    assert.match(wrong.err, /bext\.config\.toml has no plugin "helo"\n {2}did you mean hello\?/)
  })
})

/** As SITE, and it logs requests. */
const LOGGED = `[server]\nlisten = "127.0.0.1:0"\n${SITE}`

const TALKATIVE = {
  "public/index.html": "home",
  ...HELLO,
  "plugins/hello/index.js": `export function onRequest(ctx) {
  if (ctx.path === "/plugin/say") console.log("\\u001b[2J\\u009b2J cleared")
}`,
}

/** Polls: only a hang fails, not a slow machine. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 600; attempt++) {
    if (await condition()) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  assert.fail("it never came true")
}
