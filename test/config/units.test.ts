import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { duration, size } from "../../src/config/units.ts"

describe("duration", () => {
  for (const [text, ms] of [
    ["1ms", 1],
    ["10s", 10_000],
    ["1m", 60_000],
    ["2h", 7_200_000],
    ["7d", 604_800_000],
  ] as const) {
    it(`reads ${text}`, () => assert.equal(duration().parse(text), ms))
  }

  for (const text of [
    "",
    "10",
    "s",
    "-1s",
    "1.5s",
    "1e3s",
    " 1s",
    "1s\n",
    "0s",
    "25d",
    "9999999999999s",
    "1 s",
    "1S",
    "1constructor",
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.equal(duration().safeParse(text).success, false))
  }
})

describe("size", () => {
  it("counts in powers of 1024", () => {
    assert.deepEqual(
      ["512b", "64kb", "10mb", "1gb"].map((text) => size().parse(text)),
      [512, 65_536, 10_485_760, 1_073_741_824],
    )
  })

  it("refuses nothing, more than a terabyte and other spellings", () => {
    for (const text of ["0kb", "1025gb", "1tb", "10MB", "10 mb", "1kib"]) {
      assert.equal(size().safeParse(text).success, false, text)
    }
  })

  it("says how to write what was meant", () => {
    const issue = size().safeParse("10 MiB").error?.issues[0]
    assert.equal(issue?.code === "custom" && issue.params?.fix, 'write "10mb"')
  })
})
