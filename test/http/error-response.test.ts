import assert from "node:assert/strict"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, it } from "node:test"
import { BextError, ERRORS, type ErrorCode, PluginError } from "../../src/errors.ts"
import { readErrorPages } from "../../src/http/error-pages.ts"
import { toErrorResponse } from "../../src/http/error-response.ts"
import { HeaderList } from "../../src/message/header-list.ts"

const context = (accept?: string) => ({
  requestId: "id<1>",
  requestHeaders: HeaderList.from(accept === undefined ? [] : [["Accept", accept]]),
})
const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

describe("toErrorResponse", () => {
  it("answers with problem+json that has the code and nothing of the message", () => {
    const error = new PluginError("E_GUEST_THREW", "shop", "secret guest text")
    const response = toErrorResponse(error, context(), new Map())
    assert.equal(response.status, 502)
    assert.equal(response.headers.get("content-type"), "application/problem+json")
    assert.deepEqual(JSON.parse(response.body as string), {
      type: "about:blank",
      title: "Bad Gateway",
      status: 502,
      code: "E_GUEST_THREW",
      request_id: "id<1>",
    })
  })

  it("has a title for every status of the error table", () => {
    for (const code of Object.keys(ERRORS) as ErrorCode[]) {
      for (const accept of [undefined, browser]) {
        const { body, status } = toErrorResponse(new BextError(code, "x"), context(accept), new Map())
        const title = accept === undefined ? JSON.parse(body as string).title : /<title>(.*)</.exec(body as string)![1]
        assert.match(title, /^(\d+ )?[A-Z][A-Za-z -]+$/, code)
        assert.equal(status, ERRORS[code].status)
      }
    }
  })

  for (const unknown of [new TypeError("internals"), "text", null, undefined, { status: 200, code: "E_FAKE" }]) {
    it(`treats ${JSON.stringify(unknown) ?? "undefined"} as E_INTERNAL`, () => {
      const response = toErrorResponse(unknown, context(), new Map())
      assert.equal(response.status, 500)
      assert.equal(JSON.parse(response.body as string).code, "E_INTERNAL")
    })
  }

  for (const [accept, html] of [
    [undefined, false],
    ["*/*", false],
    [browser, true],
    ["text/html", true],
    ["application/json", false],
    ["application/json, text/html;q=0.9", false],
    ["text/html;q=0.1, application/problem+json;q=0.2", false],
    ["text/html;q=0, */*", false],
    ["text/html;q=0", false],
    ["image/png", false],
    ["text/*", true],
  ] as const) {
    it(`answers Accept: ${accept} with ${html ? "a page" : "problem+json"}`, () => {
      const type = toErrorResponse(new BextError("E_NOT_FOUND", "x"), context(accept), new Map()).headers.get(
        "content-type",
      )
      assert.equal(type?.startsWith("text/html"), html)
    })
  }

  it("escapes the request id in its own page, which may load nothing", () => {
    const response = toErrorResponse(new BextError("E_NOT_FOUND", "x"), context(browser), new Map())
    assert.match(response.body as string, /E_NOT_FOUND/)
    assert.match(response.body as string, /id&#60;1&#62;/)
    assert.match(response.headers.get("content-security-policy")!, /default-src 'none'/)
  })

  it("fills the operator's page for that status and escapes what it fills in", (t) => {
    const folder = mkdtempSync(join(tmpdir(), "bext-pages-"))
    t.after(() => rmSync(folder, { recursive: true }))
    writeFileSync(join(folder, "404.html"), "<p>{code} {request_id} {other} $&</p>")
    const pages = readErrorPages({ "404": "404.html" }, folder)
    const response = toErrorResponse(new BextError("E_NOT_FOUND", "x"), context(browser), pages)
    assert.equal(response.body, "<p>E_NOT_FOUND id&#60;1&#62; {other} $&</p>")
    assert.equal(response.headers.get("content-security-policy"), undefined)
    assert.match(
      toErrorResponse(new BextError("E_FORBIDDEN", "x"), context(browser), pages).body as string,
      /E_FORBIDDEN/,
    )
  })

  it("names the page that cannot be read", () => {
    assert.throws(() => readErrorPages({ "502": "missing.html" }, tmpdir()), {
      code: "E_FILE_UNREADABLE",
      message: /errors\.502.*missing\.html/,
    })
  })

  it("sends the headers the failure calls for", () => {
    const error = new BextError("E_RATE_LIMITED", "x", { headers: [["Retry-After", "3"]] })
    assert.equal(toErrorResponse(error, context(), new Map()).headers.get("retry-after"), "3")
  })
})
