import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { serve } from "../support/serve.ts"

const HOUR = 3600

describe("rate-limiter", () => {
  it("counts each client and answers 429 above the limit", async () => {
    await using site = await serve(
      `[app]\nstatic = "public"\n[plugins.rate-limiter.config]\nrequests = 3\nwindow_seconds = ${HOUR}\n`,
    )
    for (const remaining of [2, 1, 0]) {
      const response = await fetch(site.url)
      assert.equal(response.status, 200)
      assert.match(response.headers.get("ratelimit") ?? "", new RegExp(`^"rate-limiter";r=${remaining};t=\\d+$`))
    }
    const refused = await fetch(site.url)
    assert.equal(refused.status, 429)
    const seconds = Number(refused.headers.get("retry-after"))
    assert.ok(seconds > 0 && seconds <= HOUR)
    assert.match(((await refused.json()) as { error: string }).error, /At most 3 requests/)
  })

  it("counts each key of a header by itself, whatever it holds", async () => {
    await using site = await serve(
      `[app]\nstatic = "public"\n[plugins.rate-limiter.config]\nrequests = 1\nwindow_seconds = ${HOUR}\nkey = "header:x-api-key"\n`,
    )
    const ask = async (key: string) => (await fetch(site.url, { headers: { "x-api-key": key } })).status
    for (const key of ["one", "../two", "__proto__", "x".repeat(4000)]) {
      assert.equal(await ask(key), 200, key)
      assert.equal(await ask(key), 429, key)
    }
  })

  it("loses no request of a burst", async () => {
    await using site = await serve(
      `[app]\nstatic = "public"\n[plugins.rate-limiter.config]\nrequests = 10\nwindow_seconds = ${HOUR}\n`,
    )
    const statuses = await Promise.all(Array.from({ length: 30 }, async () => (await fetch(site.url)).status))
    assert.equal(statuses.filter((status) => status === 200).length, 10)
    assert.equal(statuses.filter((status) => status === 429).length, 20)
  })
})
