import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { format, inspect } from "node:util"
import { Secret } from "../../src/config/secret.ts"

describe("a secret", () => {
  it("has no value until it is resolved", () => {
    assert.throws(() => new Secret("env:KEY").reveal(), TypeError)
    assert.equal(new Secret("env:KEY").resolve({}), false)
    assert.equal(new Secret("env:KEY").resolve({ KEY: "" }), false)
  })

  it("gives its value only when asked for it", () => {
    const secret = new Secret("env:KEY")
    assert.equal(secret.resolve({ KEY: "hunter2" }), true)
    assert.equal(secret.reveal(), "hunter2")
    const printed = [
      `${secret}`,
      JSON.stringify({ secret }),
      inspect(secret, { showHidden: true }),
      format("%o", secret),
    ]
    for (const text of printed) assert.doesNotMatch(text, /hunter2/)
    assert.deepEqual(Object.keys(secret), ["variable"])
    assert.doesNotMatch(JSON.stringify(structuredClone({ ...secret })), /hunter2/)
  })
})
