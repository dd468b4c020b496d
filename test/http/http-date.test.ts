import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { parseHttpDate } from "../../src/http/http-date.ts"

describe("parseHttpDate", () => {
  for (const text of ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]) {
    it(`reads ${text}`, () => assert.equal(parseHttpDate(text), Date.UTC(1994, 10, 6, 8, 49, 37)))
  }

  it("reads two-digit years as the nearest past when they lie more than 50 years ahead", () => {
    const soon = (new Date().getUTCFullYear() + 49) % 100
    const year = new Date(
      parseHttpDate(`Sunday, 06-Nov-${String(soon).padStart(2, "0")} 08:49:37 GMT`)!,
    ).getUTCFullYear()
    assert.ok(Math.abs(year - new Date().getUTCFullYear()) <= 51, String(year))
  })

  for (const text of [
    "",
    "now",
    "0",
    "1994-11-06T08:49:37Z",
    "Sun, 06 Nov 1994 08:49:37",
    "Sun, 06 Nov 1994 08:49:37 +0000",
    "Sun, 31 Feb 1994 08:49:37 GMT",
    "Sun, 06 Foo 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 24:49:37 GMT",
    "Sun, 6 Nov 1994 08:49:37 GMT",
  ]) {
    it(`ignores ${JSON.stringify(text)}`, () => assert.equal(parseHttpDate(text), undefined))
  }
})
