import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { encodePath } from "../../src/http/encode-path.ts"
import { normaliseTarget } from "../../src/http/normalise-path.ts"

const path = (target: string) => normaliseTarget("GET", target).path

describe("normaliseTarget", () => {
  for (const [target, expected] of [
    ["/", "/"],
    ["/a/b.html", "/a/b.html"],
    ["/a/./b", "/a/b"],
    ["/a/../b", "/b"],
    ["/a/b/..", "/a/"],
    ["/a/b/.", "/a/b/"],
    ["/../../etc/passwd", "/etc/passwd"],
    ["/..", "/"],
    ["//", "/"],
    ["//evil.example/x", "/evil.example/x"],
    ["/a//b///c", "/a/b/c"],
    ["/a//", "/a/"],
    ["/%2e%2e/x", "/x"],
    ["/a/%2E%2e/%2e/b", "/b"],
    ["/...", "/..."],
    ["/.hidden", "/.hidden"],
    ["/%41%7e", "/A~"],
    ["/caf%C3%A9", "/café"],
    ["/caf\u00c3\u00a9", "/café"],
    ["/%EF%BB%BFx", "/\ufeffx"],
    ["/%252F", "/%2F"],
    ["/%252e%252e/x", "/%2e%2e/x"],
    ["/%25", "/%"],
    ["/%3Fx", "/?x"],
    ["/a;b=c,d", "/a;b=c,d"],
  ] as const) {
    it(`turns ${target} into ${expected}`, () => assert.equal(path(target), expected))
  }

  for (const target of [
    "/a%2Fb",
    "/a%2fb",
    "/a%5Cb",
    "/a\\b",
    "/..\\x",
    "/%00",
    "/%0d%0aX",
    "/%7f",
    "/%",
    "/%4",
    "/%zz",
    "/%4\u00e9",
    "/%FF",
    "/%C0%AF",
    "/%ED%A0%80",
    "/\u00ff",
    "/a#b",
    "/a?b#c",
    "/a?\u007f",
  ]) {
    it(`refuses ${JSON.stringify(target)}`, () => assert.throws(() => path(target), { code: "E_PATH_INVALID" }))
  }

  it("keeps the query as it is, encoding only raw bytes", () => {
    assert.equal(normaliseTarget("GET", "/?a=%2F%zz&b=\\..//").query, "a=%2F%zz&b=\\..//")
    assert.equal(normaliseTarget("GET", "/a/../b?\u00c3\u00a9 x?y").query, "%C3%A9%20x?y")
    assert.equal(normaliseTarget("GET", "/a?").query, "")
  })

  it("takes the path and the authority of an absolute-form target", () => {
    const target = normaliseTarget("GET", "HTTP://Example.com:80/a/../b?q")
    assert.deepEqual(target, { path: "/b", query: "q", authority: "Example.com:80" })
    assert.deepEqual(normaliseTarget("GET", "http://a"), { path: "/", query: "", authority: "a" })
    assert.deepEqual(normaliseTarget("GET", "http://a?q"), { path: "/", query: "q", authority: "a" })
  })

  it("takes * for OPTIONS and refuses it and other forms elsewhere", () => {
    assert.equal(normaliseTarget("OPTIONS", "*").path, "*")
    for (const target of ["*", "ftp://a/", "a", "javascript:1", "http:/a", "?q"]) {
      assert.throws(() => path(target), { code: "E_REQUEST_INVALID" }, target)
    }
  })

  it("gives, for every path it accepts, one that it would leave alone once encoded again", () => {
    for (let byte = 0; byte < 256; byte++) {
      for (const template of ["/a%b", "/%", "/%/x", "/.%", "/%.%"]) {
        const target = template.replaceAll("%", `%${byte.toString(16).padStart(2, "0")}`)
        let once: string
        try {
          once = path(target)
        } catch {
          continue
        }
        assert.equal(path(encodePath(once)), once, target)
        assert.doesNotMatch(once, /\/\/|\\|\/\.\.?(\/|$)/, target)
      }
    }
  })
})
