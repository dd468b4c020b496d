import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { hostnameOf, parseAuthority } from "../../src/http/parse-authority.ts"

describe("parseAuthority", () => {
  for (const [text, authority, hostname] of [
    ["Example.COM", "example.com", "example.com"],
    ["a:8080", "a:8080", "a"],
    ["a:", "a", "a"],
    ["127.0.0.1:3000", "127.0.0.1:3000", "127.0.0.1"],
    ["[::1]", "[::1]", "[::1]"],
    ["[2001:DB8::1]:443", "[2001:db8::1]:443", "[2001:db8::1]"],
    ["under_score.example", "under_score.example", "under_score.example"],
  ] as const) {
    it(`reads ${text}`, () => {
      assert.equal(parseAuthority(text), authority)
      assert.equal(hostnameOf(authority), hostname)
    })
  }

  for (const text of [
    "",
    ":80",
    "a b",
    "a,b",
    "a/b",
    "a@b",
    "user:pass@a",
    "a:b",
    "a:65536",
    "a:1:2",
    "a:-1",
    "a:+1",
    "a?b",
    "a#b",
    "a\\b",
    "a%2eb",
    "a\tb",
    "é",
    "[::1",
    "[::1]x",
    "[::1%25eth0]",
    "[127.0.0.1]",
    "::1",
    "x".repeat(256),
  ]) {
    it(`refuses ${JSON.stringify(text.slice(0, 20))}`, () => {
      assert.throws(() => parseAuthority(text), { code: "E_REQUEST_INVALID" })
    })
  }
})
