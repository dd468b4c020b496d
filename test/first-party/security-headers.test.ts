import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { serve } from "../support/serve.ts"

const PLUGIN = '[app]\nstatic = "public"\n[plugins.security-headers]\nsandbox = "quickjs"\n'

describe("security-headers", () => {
  it("protects every answer, errors included, with its defaults", async () => {
    await using site = await serve(PLUGIN)
    for (const path of ["/", "/absent"]) {
      const { headers } = await fetch(site.url + path)
      assert.equal(headers.get("x-frame-options"), "DENY")
      assert.equal(headers.get("x-content-type-options"), "nosniff")
      assert.equal(headers.get("referrer-policy"), "strict-origin-when-cross-origin")
      assert.equal(headers.get("cross-origin-opener-policy"), "same-origin")
    }
  })

  it("takes the overview's configuration", async () => {
    await using site = await serve(
      `${PLUGIN}[plugins.security-headers.config]\nhsts_max_age = 31536000\nx_frame_options = "SAMEORIGIN"\n`,
    )
    const { headers } = await fetch(site.url)
    assert.equal(headers.get("x-frame-options"), "SAMEORIGIN")
  })

  it("sends HSTS over HTTPS only", async () => {
    const config = `${PLUGIN}[plugins.security-headers.config]\nhsts_max_age = 60\n`
    const forwarded = { headers: { "x-forwarded-proto": "https" } }
    await using direct = await serve(config)
    const spoofed = await fetch(direct.url, forwarded)
    assert.equal(spoofed.headers.get("strict-transport-security"), null, "nobody is trusted to say https")

    await using proxied = await serve(config, {}, 'trusted_proxies = ["127.0.0.1/32"]')
    const secure = await fetch(proxied.url, forwarded)
    assert.equal(secure.headers.get("strict-transport-security"), "max-age=60; includeSubDomains")
    assert.equal((await fetch(proxied.url)).headers.get("strict-transport-security"), null)
  })

  it("leaves a header alone that the app set, unless told to override", async () => {
    const app = {
      "plugins/app/plugin.toml": '[manifest]\nname = "app"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n',
      "plugins/app/index.js":
        'export const onRequest = () => new Response("app", { headers: { "x-frame-options": "SAMEORIGIN" } })',
    }
    await using polite = await serve(`${PLUGIN}[plugins.app]\npriority = 700\n`, app)
    assert.equal((await fetch(polite.url)).headers.get("x-frame-options"), "SAMEORIGIN")
    await using strict = await serve(
      `${PLUGIN}[plugins.security-headers.config]\noverride = true\n[plugins.app]\npriority = 700\n`,
      app,
    )
    assert.equal((await fetch(strict.url)).headers.get("x-frame-options"), "DENY")
  })

  it("refuses a misspelt setting with the right one", async () => {
    await assert.rejects(serve(`${PLUGIN}[plugins.security-headers.config]\nhsts_max_ag = 1\n`), (error: Error) => {
      assert.match(error.message, /hsts_max_ag\b/)
      assert.match(error.message, /hsts_max_age/)
      return true
    })
  })
})
