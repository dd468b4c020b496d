import assert from "node:assert/strict"
import { test } from "node:test"
import type { Plugin, RequestContext, RequestResult } from "../src/plugin-api.ts"
import * as api from "../src/plugin-api.ts"

function guard(ctx: RequestContext): RequestResult {
  if (ctx.user === null) return { action: "respond", status: 401, headers: { "www-authenticate": "Basic" } }
}

// What authors write must type-check; `tsc` is the assertion here.
export const shapes = [
  { onRequest: guard },
  {
    onRequest(ctx) {
      ctx.request.setHeader("x-seen", bext.storage.get("seen") ?? "never")
    },
    onResponse(ctx) {
      ctx.response.setHeader("x-a", "b")
    },
  },
  {
    async onRequest(ctx) {
      const answer = await bext.fetch("https://example.com/", { headers: [["accept", "*/*"]] })
      if (!answer.ok) return { action: "respond", status: 502, headers: [["x-path", ctx.path]], body: "no" }
      return { action: "continue" }
    },
  },
  {
    onRequest: () => new Response("hello"),
    onServerStart: async (_config, ctx) => ctx.waitUntil(bext.storage.flush()),
  },
  { onRequest: () => Response.json({}), transform: (source) => source.replaceAll("a", "b") },
  // @ts-expect-error onResponse sees no ctx.request
  { onResponse: (ctx) => ctx.request.setHeader("a", "b") },
  // @ts-expect-error not an action
  { onRequest: () => ({ action: "reply" }) },
] satisfies Plugin[]

test("bext/plugin is types only: importing it gives nothing at run time", () => {
  assert.deepEqual(Object.keys(api), [])
})
