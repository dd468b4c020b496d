import assert from "node:assert/strict"
import { writeFileSync } from "node:fs"
import { describe, it } from "node:test"
import { loadConfig } from "../../src/config/load-config.ts"
import { createServer } from "../../src/create-server.ts"
import { startLoginApp } from "../support/login-app.ts"
import { createProject } from "../support/serve.ts"

process.env.BEXT_TEST_OLD_KEY = "the secret of the days before the reload"
process.env.BEXT_TEST_NEW_KEY = "the secret of the days after the reload!"

const RULE = '[[middleware.rate_limit.rules]]\npath = "/account"\nrequests = 50\nwindow = "1h"\nby = "user"\n'

describe("a reload", () => {
  it("keeps sessions, what ended, and the counts of rules that did not change, while the secret is exchanged", async () => {
    await using app = await startLoginApp()
    const config = (secrets: string, requests: number, before = "") => `
[server]
listen = "127.0.0.1:0"
[log]
level = "silent"
[app]
upstream = "${app.origin}"
forward_user = true
[middleware.rate_limit]
requests = ${requests}
window = "1h"
${before}${RULE}
[middleware.session]
secrets = [${secrets}]
login_paths = ["/login", "/logout"]
`
    using project = createProject({ "bext.config.toml": config('"env:BEXT_TEST_OLD_KEY"', 500) })
    const file = project.path("bext.config.toml")
    await using server = await createServer(loadConfig(file), { folder: project.folder })
    const { url } = await server.listen()
    const send = (path: string, init: RequestInit = {}) => fetch(url + path, { redirect: "manual", ...init })
    const login = async () => {
      const { headers } = await send("/login", { method: "POST", body: "name=ada" })
      return headers.getSetCookie()[0]!.split(";")[0]!
    }
    const use = async (cookie: string) => {
      const response = await send("/account", { headers: { cookie } })
      const left = Array.from(
        response.headers.get("ratelimit")!.matchAll(/"(.*?)";r=(\d+)/g),
        ([, rule, r]) => `${rule} ${r}`,
      )
      return [/id="who">(\w+)/.exec(await response.text())![1], ...left]
    }
    const reload = async (text: string) => {
      writeFileSync(file, text)
      ;(await server.prepare(loadConfig(file))).commit()
    }

    const [kept, ended] = [await login(), await login()]
    await send("/logout", { method: "POST", headers: { cookie: ended } })
    assert.deepEqual(await use(kept), ["ada", "default 496", "rule-1 49"])

    const other = '[[middleware.rate_limit.rules]]\npath = "/x"\nrequests = 1\nwindow = "1h"\n'
    await reload(config('"env:BEXT_TEST_NEW_KEY", "env:BEXT_TEST_OLD_KEY"', 400, other))
    assert.deepEqual(await use(kept), ["ada", "default 399", "rule-2 48"])
    assert.equal((await use(ended))[0], "nobody")
    const fresh = await login()

    await reload(config('"env:BEXT_TEST_NEW_KEY"', 400, other))
    assert.equal((await use(fresh))[0], "ada")
    assert.equal((await use(kept))[0], "nobody")
  })
})
