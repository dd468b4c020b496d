import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { compileGlob } from "../../src/host/glob.ts"

const rows: [pattern: string, matches: string[], misses: string[]][] = [
  ["/a", ["/a"], ["/a/", "/ab", "/A", ""]],
  ["/*", ["/", "/a", "/.env"], ["/a/b", ""]],
  ["/a/*", ["/a/", "/a/b"], ["/a", "/a/b/c"]],
  ["/api/**", ["/api", "/api/", "/api/v1/x", "/api/.git/x"], ["/apix", "/ap", "/x/api/"]],
  ["/**", ["/", "/a", "/a/b"], ["a"]],
  ["**", ["", "a", "/a/b"], []],
  ["/a/**/b", ["/a/b", "/a/x/b", "/a/x/y/b"], ["/a", "/ab", "/a/xb", "/a/b/c"]],
  ["**/b", ["b", "a/b", "/a/c/b"], ["ab", "a/bb"]],
  ["/a**b", ["/ab", "/a/x/b", "/axb"], ["/a/x/c"]],
  ["/a/***/b", ["/a/b", "/a/x/y/b"], ["/ab"]],
  ["/*/x/**", ["/a/x", "/a/x/b/c"], ["/a/b/x", "/a/xy"]],
  ["/*/**", ["/", "/a", "/a/b/c"], ["a"]],
  ["/*.png", ["/.png", "/a.b.png"], ["/a/b.png", "/a.pngx"]],
  ["/a+(b)?.[c]", ["/a+(b)?.[c]"], ["/aab.c"]],
  ["ab_*", ["ab_", "ab_test"], ["ab", "xab_", "ab_/x"]],
  ["*ab*ab*", ["abab", "xxabxabxx", "ababab"], ["ab", "aba", "ab/ab"]],
]

describe("glob", () => {
  for (const [pattern, matches, misses] of rows) {
    it(`${pattern} matches what its stars say and nothing else`, () => {
      const match = compileGlob(pattern)
      for (const text of matches) assert.equal(match(text), true, text)
      for (const text of misses) assert.equal(match(text), false, text)
    })
  }

  it("stops a star at dots when the separator is a dot", () => {
    const match = compileGlob("*.example.com", { separator: "." })
    assert.equal(match("api.example.com"), true)
    assert.equal(match("a.b.example.com"), false)
    assert.equal(match("example.com"), false)
    assert.equal(match("api.example.com.evil.org"), false)
  })

  it("agrees with a regular expression on every short pattern and text", () => {
    const letters = ["a", "/", "*"]
    const texts = words(["a", "/", "b"], 5)
    for (const pattern of words(letters, 5)) {
      const match = compileGlob(pattern)
      const reference = toRegExp(pattern)
      for (const text of texts) assert.equal(match(text), reference.test(text), `${pattern} on ${text}`)
    }
  })

  it("does work proportional to pattern times text on patterns that make backtracking matchers explode", () => {
    const text = "a".repeat(20_000)
    for (const pattern of [
      `${"*a".repeat(200)}*b`,
      `${"**a".repeat(200)}b`,
      `${"**/".repeat(200)}b`,
      "*".repeat(1024),
    ]) {
      assert.equal(compileGlob(pattern)(text), pattern === "*".repeat(1024))
    }
  })

  it("refuses patterns over 1024 characters", () => {
    assert.throws(() => compileGlob("*".repeat(1025)), RangeError)
  })
})

function words(letters: readonly string[], longest: number): string[] {
  let layer = [""]
  const all = [""]
  for (let length = 0; length < longest; length++) {
    layer = layer.flatMap((word) => letters.map((letter) => word + letter))
    all.push(...layer)
  }
  return all
}

function toRegExp(pattern: string): RegExp {
  const source = pattern
    .replace(/\*{2,}/g, "**")
    .replace(/(^|\/)\*\*\//g, "$1<segments>")
    .replace(/\/\*\*$/, "<tail>")
    .replaceAll("**", "<any>")
    .replaceAll("*", "[^/]*")
    .replaceAll("<segments>", "(?:.*/)?")
    .replaceAll("<tail>", "(?:/.*)?")
    .replaceAll("<any>", ".*")
  return new RegExp(`^${source}$`, "s")
}
