import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { covers, matchesUrl, parseUrlPattern } from "../../src/host/url-pattern.ts"

const allows = (pattern: string, url: string) => matchesUrl(parseUrlPattern(pattern), new URL(url))

describe("URL pattern", () => {
  const rows: [pattern: string, yes: string[], no: string[]][] = [
    [
      "https://api.example.com/v1/**",
      ["https://api.example.com/v1", "https://api.example.com/v1/a/b?x=/", "https://API.example.com:443/v1/"],
      [
        "http://api.example.com/v1/",
        "https://api.example.com:8443/v1/",
        "https://api.example.com/v2",
        "https://api.example.com.evil.org/v1/",
        "https://evil.org/https://api.example.com/v1/",
        "https://api.example.com./v1/",
        "https://xapi.example.com/v1/",
      ],
    ],
    [
      "https://*.example.com/",
      ["https://a.example.com/", "https://a.example.com"],
      ["https://example.com/", "https://a.b.example.com/", "https://.example.com/", "https://a.example.com/x"],
    ],
    [
      "https://a.*.example.com",
      ["https://a.b.example.com/any/path"],
      ["https://a.example.com/", "https://b.c.example.com/"],
    ],
    [
      "http://127.0.0.1:8080",
      ["http://127.0.0.1:8080/x", "http://0x7f.1:8080/"],
      ["http://127.0.0.1/", "http://127.0.0.2:8080/"],
    ],
    ["http://[::1]:8080/*", ["http://[0:0::1]:8080/x"], ["http://[::2]:8080/x", "http://[::1]:8080/x/y"]],
    ["https://münchen.example/**", ["https://xn--mnchen-3ya.example/x"], ["https://munchen.example/"]],
    ["https://a.example/files/a%20b", ["https://a.example/files/a b"], ["https://a.example/files/a%2520b"]],
  ]
  for (const [pattern, yes, no] of rows) {
    it(`${pattern} allows just what it says`, () => {
      for (const url of yes) if (URL.canParse(url)) assert.equal(allows(pattern, url), true, url)
      for (const url of no) if (URL.canParse(url)) assert.equal(allows(pattern, url), false, url)
    })
  }

  it("is not left by dots, however they are encoded", () => {
    const tricks = ["../admin", "%2e%2e/admin", "..%2fadmin", "..%5cadmin", "%2e%2e%2fadmin", "x%2f..%2f..%2fadmin"]
    for (const trick of [...tricks, "..%252fadmin", "%252e%252e%252fadmin", "..%25252fadmin", "..\\admin", "%00"]) {
      assert.equal(allows("https://a.example/v1/**", `https://a.example/v1/${trick}`), false, trick)
    }
    for (const harmless of ["a%2Fb", "a%20b", "100%25", "..a/b"]) {
      assert.equal(allows("https://a.example/v1/**", `https://a.example/v1/${harmless}`), true, harmless)
    }
  })

  it("says what is wrong with a pattern and what to write", () => {
    const bad: [string, RegExp][] = [
      ["api.example.com/v1", /scheme, host and path/],
      ["ftp://a.example/", /scheme is http or https/],
      ["*://a.example/", /scheme is http or https/],
      ["https:///x", /host is missing/],
      ["https://user:pw@a.example/", /credentials/],
      ["https://a.example:*/", /port is one number/],
      ["https://a.example:0/", /port is one number/],
      ["https://a.example:99999/", /port is one number/],
      ["https://api-*.example.com/", /one whole label/],
      ["https://**.example.com/", /one whole label/],
      ["https://*/", /last label/],
      ["https://example.*/", /last label/],
      ["https://a.example/x?y=*", /every query/],
      ["https://a.example/#x", /every query/],
      ["http://2130706433/", /127\.0\.0\.1/],
      ["http://0x7f.0.0.1/", /127\.0\.0\.1/],
      ["http://127.1/", /127\.0\.0\.1/],
      ["https://a b.example/", /not a host name/],
      ["https://::1/", /brackets/],
      ["https://a.example/x/../y", /dot segments|scheme/],
      ["https://a.example/%2e%2e/y", /dot segments|every/],
      [`https://a.example/${"x".repeat(1100)}`, /longer than/],
    ]
    for (const [pattern, message] of bad) {
      assert.throws(() => parseUrlPattern(pattern), { name: "TypeError", message }, pattern)
    }
  })

  it("covers a pattern only when it allows everything that one allows", () => {
    const rows: [granted: string, requested: string, covered: boolean][] = [
      ["https://a.example/**", "https://a.example/v1/*", true],
      ["https://a.example", "https://a.example/x", true],
      ["https://a.example/v1/**", "https://a.example/v1/x/*/y", true],
      ["https://a.example/v1/**", "https://a.example/v1/**", true],
      ["https://a.example/v1/*", "https://a.example/v1/x", true],
      ["https://*.example.com/**", "https://api.example.com/**", true],
      ["https://*.example.com/**", "https://*.example.com/v1/**", true],
      ["https://a.example/v1/**", "https://a.example/v1**", false],
      ["https://a.example/v1/**", "https://a.example/**", false],
      ["https://a.example/v1/*", "https://a.example/v1/**", false],
      ["https://api.example.com/**", "https://*.example.com/**", false],
      ["https://a.example/**", "http://a.example/**", false],
      ["https://a.example/**", "https://a.example:8443/**", false],
      ["https://*.example.com/**", "https://a.b.example.com/**", false],
    ]
    for (const [granted, requested, covered] of rows) {
      assert.equal(covers(parseUrlPattern(granted), parseUrlPattern(requested)), covered, `${granted} ${requested}`)
    }
  })
})
