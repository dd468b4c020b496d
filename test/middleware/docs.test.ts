import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { describe, it } from "node:test"
import { setTimeout as delay } from "node:timers/promises"
import { parseConfig } from "../../src/config/parse-config.ts"
import { createAuth } from "../../src/middleware/auth.ts"
import { createAuthorisationGate } from "../../src/middleware/authorisation-gate.ts"
import { createCors } from "../../src/middleware/cors.ts"
import { createRateLimits } from "../../src/middleware/rate-limit.ts"
import { createTenantResolver } from "../../src/middleware/tenant.ts"
import { freePort } from "../support/free-port.ts"
import { createProject, serve } from "../support/serve.ts"
import { Site } from "./session-site.ts"

const file = new URL("../../docs/middleware.md", import.meta.url).pathname
const text = readFileSync(file, "utf8")
const env = { SESSION_KEY: "the secret of what the documentation shows" }

function blocks(language: string): string[] {
  return Array.from(text.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, "gms")), (match) => match[1]!)
}

describe("docs/middleware.md", () => {
  it("shows one configuration that loads and starts every middleware", async (t) => {
    const examples = blocks("toml")
    assert.equal(examples.length, 7)
    const { middleware, tenants } = parseConfig(examples.join("\n"), { file, env })
    createCors(middleware.cors!)
    createRateLimits(middleware.rate_limit!)
    createAuth(middleware.auth!, { warn: assert.fail })
    createAuthorisationGate(middleware.auth!)
    createTenantResolver(middleware.tenant!, { tenants })
    const { secrets: _, ...session } = middleware.session!
    assert.deepEqual(session.login_paths, ["/login", "/logout"])
    assert.ok(await Site.open(t, { session: { login_paths: session.login_paths } }))
    assert.equal(middleware.tracing.server_timing, "loopback")
  })

  it("shows an app with which people log in, are known and log out", { timeout: 60_000 }, async (t) => {
    const [source, ...more] = blocks("js")
    assert.equal(more.length, 0)
    const port = await freePort()
    using project = createProject({ "app.mjs": source! })
    const child = spawn(process.execPath, ["app.mjs"], {
      cwd: project.folder,
      env: { ...process.env, PORT: String(port) },
      stdio: "inherit",
    })
    t.after(async () => {
      child.kill()
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit")
    })
    const shown = blocks("toml").find((block) => block.includes("[middleware.session]"))!
    process.env.SESSION_KEY = env.SESSION_KEY
    const gate = '[middleware.auth]\npublic = ["/", "/login"]'
    await using site = await serve(`${shown.replace(":4000", `:${port}`)}\n${gate}`)

    const send = (method: string, path: string, init: RequestInit = {}) =>
      fetch(site.url + path, { method, redirect: "manual", ...init })
    while ((await send("GET", "/login")).status === 502) await delay(20)

    assert.equal((await send("GET", "/account")).status, 401)
    const login = await send("POST", "/login", { body: new URLSearchParams({ name: "ada" }) })
    assert.deepEqual([login.status, login.headers.get("location")], [303, "/account"])
    const headers = { cookie: login.headers.getSetCookie()[0]!.split(";")[0]! }
    assert.equal(await (await send("GET", "/account", { headers })).text(), "Hello ada, admin")
    assert.equal((await send("POST", "/logout", { headers })).status, 303)
    assert.equal((await send("GET", "/account", { headers })).status, 401)
  })
})
