import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { createOriginMatcher } from "../../src/middleware/origin-matcher.ts"

function check(patterns: string[], allowed: string[], refused: string[]): void {
  const matches = createOriginMatcher(patterns)
  // Twice: the second answer comes from the remembered decisions.
  for (const round of ["first", "second"]) {
    for (const origin of allowed) assert.equal(matches(origin), true, `${origin} (${round})`)
    for (const origin of refused) assert.equal(matches(origin), false, `${origin} (${round})`)
  }
}

describe("createOriginMatcher", () => {
  it("takes an exact origin and nothing that only looks like it", () => {
    check(
      ["https://example.com"],
      ["https://example.com"],
      [
        "http://example.com",
        "https://example.com:8443",
        "https://example.com/",
        "https://EXAMPLE.com",
        "HTTPS://example.com",
        "https://example.com.evil.net",
        "https://evil-example.com",
        "https://evil.net#https://example.com",
        "https://user@example.com",
        "https://example.com@evil.net",
        "https://example.com ",
        "https://example.com, https://example.com",
        "",
        "null",
      ],
    )
  })

  it("keeps the star of a glob inside one label of the host", () => {
    check(
      ["https://*.example.com"],
      ["https://a.example.com", "https://pr-12.example.com"],
      [
        "https://example.com",
        "https://a.b.example.com",
        "https://evil.net/.example.com",
        "https://evil.net?.example.com",
        "https://evil.net#.example.com",
        "https://user:x@a.example.com",
        "https://a.example.com:444",
        "https://a.example.com.evil.net",
        "https://aexample.com",
        "http://a.example.com",
        "https://A.example.com",
        "https://a.example.com\n",
      ],
    )
  })

  it("lets two stars stand for several labels", () => {
    check(
      ["https://**.example.com"],
      ["https://a.example.com", "https://a.b.example.com"],
      ["https://example.com", "https://a.b.example.com.evil.net", "https://evil.net:1.example.com"],
    )
  })

  it("matches a port only where the glob has one", () => {
    check(
      ["http://localhost*", "http://127.0.0.1:*"],
      ["http://localhost", "http://127.0.0.1:5173"],
      ["http://localhost:3000", "http://127.0.0.1", "http://127.0.0.1:5173.evil.net", "http://127.0.0.1:x"],
    )
  })

  it("holds a regex to the whole origin, every alternative of it", () => {
    check(
      ["/https:\\/\\/app-\\d+\\.example\\.com|https:\\/\\/b\\.example\\.com/"],
      ["https://app-12.example.com", "https://b.example.com"],
      [
        "https://app-12.example.com.evil.net",
        "https://evil.net/https://app-12.example.com",
        "xhttps://b.example.com",
        "https://b.example.com:81",
        "https://app-12.example.com\nhttps://evil.net",
      ],
    )
  })

  it("never shows a regex what is not a serialised origin", () => {
    check(
      ["/.*/"],
      ["https://anything.example"],
      ["https://a@b", "https://a/b", "https://a b", "null", "", "x".repeat(301)],
    )
  })

  it("answers at once for a regex that would make a backtracking engine spin", () => {
    check(
      ["/https:\\/\\/(a+)+\\.example\\.com/"],
      ["https://aaa.example.com"],
      [`https://${"a".repeat(250)}!`, `https://${"a".repeat(250)}`],
    )
  })

  it("takes the opaque origin only when it is listed", () => {
    check(["null"], ["null"], ["https://null"])
    check(["/.*/", "https://*.example.com"], [], ["null"])
  })
})
