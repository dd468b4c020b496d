import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { serve } from "../support/serve.ts"

const SOURCE = `
export function onRequest(ctx) {
  const claims = { list: "[]".repeat(Number(ctx.query)).match(/../g).map(() => []) }
  try {
    ctx.setIdentity({ user: { id: "ada", claims } })
    return new Response("set")
  } catch (error) {
    return new Response(error.message)
  }
}`

describe("who a plugin says the user is", () => {
  it("is small, as every plugin behind it may carry it to another thread and the app gets it in a header", async () => {
    const manifest = `[manifest]\nname = "says"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n[permissions]\nidentity = true\n`
    await using server = await serve(
      "[plugins.says]\nlimits = { max_cpu_ms = 2000 }\n[plugins.says.grant]\nidentity = true\n",
      { "plugins/says/plugin.toml": manifest, "plugins/says/index.js": SOURCE },
    )
    const ask = async (count: number) => (await fetch(`${server.url}/?${count}`)).text()
    assert.equal(await ask(10_000), "set")
    assert.match(await ask(30_000), /^setIdentity: .* 65536 characters/)
  })
})
