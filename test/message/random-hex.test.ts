import assert from "node:assert/strict"
import { it } from "node:test"
import { randomHex } from "../../src/message/random-hex.ts"

it("gives as many hex digits as asked for, and never the same twice", () => {
  const seen = new Set<string>()
  for (let i = 0; i < 1000; i++) {
    for (const count of [16, 32]) {
      const id = randomHex(count)
      assert.match(id, new RegExp(`^[0-9a-f]{${count}}$`))
      assert.ok(!seen.has(id.slice(0, 16)))
      seen.add(id.slice(0, 16))
    }
  }
  assert.equal(randomHex(4096).length, 4096)
})
