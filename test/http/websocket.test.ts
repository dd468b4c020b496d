import assert from "node:assert/strict"
import { describe, it, type TestContext } from "node:test"
import { configSchema } from "../../src/config/schema.ts"
import { createRouter } from "../../src/handlers/route.ts"
import { createOriginMatcher } from "../../src/middleware/origin-matcher.ts"
import { respondWith } from "../handlers/respond-with.ts"
import { ask, open, startEcho } from "../support/websockets.ts"
import { type ServerSettings, serve } from "./serve-test.ts"

async function proxy(t: TestContext, upstream: string, settings: ServerSettings = {}, origins: string[] = []) {
  const config = configSchema.parse({ app: { upstream, websockets: true, upstream_timeout: "2s" } })
  const router = createRouter(config, undefined, createOriginMatcher(origins))
  t.after(() => router.close?.())
  return serve(t, respondWith(router), settings)
}

describe("a websocket through the server", () => {
  it("carries messages both ways", async (t) => {
    const app = await startEcho(t)
    const server = await proxy(t, app.url)
    const socket = await open(t, `${server.url}/chat?room=1`)
    assert.equal((await ask(socket, "hello")).toString(), "hello")
    assert.equal(server.http.websockets.open, 1)
  })
})
