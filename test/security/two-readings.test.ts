import assert from "node:assert/strict"
import { createServer, request as httpRequest } from "node:http"
import type { AddressInfo } from "node:net"
import { describe, it } from "node:test"
import { matchesUrl, parseUrlPattern } from "../../src/host/url-pattern.ts"
import { normaliseTarget } from "../../src/http/normalise-path.ts"
import { findPathFault } from "../../src/plugins/check-path.ts"
import { serve } from "../support/serve.ts"

/** Ordinary names to most, dot segments to servlet containers, which take parameters off first. */
const DOTS_WITH_PARAMETER = ["/public/..;/admin", "/public/..;x=1/admin", "/public/.;/admin", "/..;"]

describe("a path that apps read in different ways", () => {
  for (const path of DOTS_WITH_PARAMETER) {
    it(`${path} is refused, from clients and from guests`, () => {
      assert.throws(() => normaliseTarget("GET", path), { code: "E_PATH_INVALID" })
      assert.throws(() => normaliseTarget("GET", path.replace(";", "%3B")), { code: "E_PATH_INVALID" })
      assert.equal(findPathFault(path), "contains a dot segment")
    })
  }

  it("with parameters elsewhere, or more dots, is a path like any other", () => {
    for (const path of ["/a;b=..", "/a;/b", "/...;/x", "/a..;/x", "/.well-known;v=1/x"]) {
      assert.equal(normaliseTarget("GET", path).path, path)
      assert.equal(findPathFault(path), undefined)
    }
  })

  it("does not lead a guest's fetch out of the folder it is allowed", () => {
    const pattern = parseUrlPattern("https://a.example/v1/**")
    for (const trick of ["..;/admin", "..;x/admin", "%2e%2e;/admin", "..%3b/admin", "..%253b/admin", ".;/..;/admin"]) {
      assert.equal(matchesUrl(pattern, new URL(`https://a.example/v1/${trick}`)), false, trick)
    }
    assert.ok(matchesUrl(pattern, new URL("https://a.example/v1/a;b=..")))
  })
})

describe("a header that says of a request what only the server may say", () => {
  it("comes from no client and from no guest, in any spelling an app could take for it", async (t) => {
    const seen: Record<string, unknown>[] = []
    const app = createServer((incoming, outgoing) => {
      seen.push(incoming.headers)
      outgoing.end()
    })
    t.after(() => app.close())
    await new Promise<void>((resolve) => app.listen(0, "127.0.0.1", resolve))
    const names = ["x-real-ip", "x_real_ip", "X-Real_IP", "x-request-id", "x_request_id"]
    await using server = await serve(
      `[app]\nupstream = "http://127.0.0.1:${(app.address() as AddressInfo).port}"\n[plugins.speak]\n`,
      {
        "plugins/speak/plugin.toml": `[manifest]\nname = "speak"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n`,
        "plugins/speak/index.js": `export function onRequest(ctx) {
          for (const name of ${JSON.stringify(names)}) try { ctx.request.setHeader(name, "203.0.113.9") } catch {}
        }`,
      },
    )
    const headers = Object.fromEntries(names.map((name) => [name, "203.0.113.9"]))
    const status = await new Promise((resolve, reject) => {
      const sent = httpRequest(server.url, { headers, agent: false }, (response) => {
        response.resume()
        resolve(response.statusCode)
      })
      sent.on("error", reject).end()
    })
    assert.equal(status, 200)
    for (const [name, value] of Object.entries(seen[0]!)) {
      assert.notEqual(value, "203.0.113.9", name)
    }
  })
})
