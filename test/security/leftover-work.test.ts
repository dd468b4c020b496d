import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { setTimeout as wait } from "node:timers/promises"
import { serve } from "../support/serve.ts"

/** `seen()` tells what the leftover work of the request before found. */
const serveGuest = (body: string, hooks: string) =>
  serve('[app]\nstatic = "public"\n[plugins.hold]\n', {
    "plugins/hold/plugin.toml": `[manifest]\nname = "hold"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n[sandbox]\nbody = "${body}"\n`,
    "plugins/hold/index.js": `
      let seen = ""
      const look = (read) => new Promise((done) => setTimeout(done, 100)).then(() => {
        try { seen = "has " + read().length } catch (error) { seen = error.code }
      })
      ${hooks}`,
  })

async function poll(url: string): Promise<string> {
  for (let tries = 0; tries < 600; tries++) {
    const seen = await (await fetch(`${url}/seen`)).text()
    if (seen !== "") return seen
    await wait(20)
  }
  return ""
}

describe("work that a guest leaves behind its answer", () => {
  it("does not keep the request's body, which the budget of buffered bodies no longer counts", async () => {
    await using server = await serveGuest(
      "request",
      `export function onRequest(ctx) {
        if (ctx.path === "/seen") return new Response(seen)
        ctx.waitUntil(look(() => ctx.body.bytes()))
        return new Response(String(ctx.body.bytes().length))
      }`,
    )
    const response = await fetch(server.url, { method: "POST", body: "x".repeat(1000) })
    assert.equal(await response.text(), "1000")
    assert.equal(await poll(server.url), "E_BODY_NOT_DECLARED")
  })

  it("does not keep a body that the guest put in its place", async () => {
    await using server = await serveGuest(
      "request",
      `export function onRequest(ctx) {
        if (ctx.path === "/seen") return new Response(seen)
        ctx.request.setBody("y".repeat(500))
        ctx.waitUntil(look(() => ctx.body.bytes()))
      }`,
    )
    await (await fetch(server.url)).text()
    assert.equal(await poll(server.url), "has 0")
  })

  it("does not keep the response's body", async () => {
    await using server = await serveGuest(
      "response",
      `export function onRequest(ctx) { if (ctx.path === "/seen") return new Response(seen) }
      export function onResponse(ctx) {
        if (ctx.path !== "/seen") ctx.waitUntil(look(() => ctx.response.body.bytes()))
      }`,
    )
    assert.match(await (await fetch(server.url)).text(), /home/)
    assert.equal(await poll(server.url), "E_BODY_NOT_DECLARED")
  })
})
