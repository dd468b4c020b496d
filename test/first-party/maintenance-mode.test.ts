import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { serve } from "../support/serve.ts"

const PLUGIN = '[app]\nstatic = "public"\n[plugins.maintenance-mode]\n'

describe("maintenance-mode", () => {
  it("answers 503 with a page for browsers and JSON for others", async () => {
    await using site = await serve(
      `${PLUGIN}[plugins.maintenance-mode.config]\ntitle = "A <b> & C"\nretry_after_seconds = 7\n`,
    )
    const page = await fetch(site.url, { headers: { accept: "text/html" } })
    assert.equal(page.status, 503)
    assert.equal(page.headers.get("retry-after"), "7")
    assert.equal(page.headers.get("cache-control"), "no-store")
    assert.match(await page.text(), /<h1>A &lt;b&gt; &amp; C<\/h1>/)
    const json = await fetch(site.url)
    assert.equal(json.headers.get("content-type"), "application/json")
    assert.equal(((await json.json()) as { title: string }).title, "A <b> & C")
  })

  it("lets exempt addresses and unmatched paths through", async () => {
    await using exempt = await serve(`${PLUGIN}[plugins.maintenance-mode.config]\nexempt_addresses = ["127.0.0.1"]\n`)
    assert.equal((await fetch(exempt.url)).status, 200)
    await using partly = await serve(`${PLUGIN}match = [{ path = "/shop/**" }]\n`)
    assert.equal((await fetch(partly.url)).status, 200)
    assert.equal((await fetch(`${partly.url}/shop/cart`)).status, 503)
  })

  it("does nothing when it is not enabled", async () => {
    await using site = await serve(`${PLUGIN}[plugins.maintenance-mode.config]\nenabled = false\n`)
    assert.equal((await fetch(site.url)).status, 200)
  })
})
