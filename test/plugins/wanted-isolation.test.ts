import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { createConfig } from "../../src/config/parse-config.ts"
import { checkIsolation, wantedIsolation } from "../../src/plugins/wanted-isolation.ts"
import type { Isolation, IsolationLevel } from "../../src/sandbox/sandbox.ts"

const LEVELS: readonly IsolationLevel[] = ["process", "namespaces", "full"]

function wanted(own: IsolationLevel | undefined, all: IsolationLevel | undefined, local: boolean) {
  const input = { plugins: { a: { min_isolation: own } }, sandbox: { nsjail: { min_isolation: all } } }
  return wantedIsolation(createConfig(input, { folder: "/", env: {} }), "a", local)
}

const offered = (level: IsolationLevel, refused: string | null = null): Isolation => ({
  level,
  missing: ["bubblewrap is not installed: install the package bubblewrap"],
  cgroups: "none",
  root: refused !== null,
  refused,
})

describe("the least isolation of a program", () => {
  it("is what the operator says of the plugin, else of all, else what its origin asks for", () => {
    assert.equal(wanted("process", "full", false), "process")
    assert.equal(wanted("full", "process", true), "full")
    assert.equal(wanted(undefined, "full", true), "full")
    assert.equal(wanted(undefined, "process", false), "process")
    assert.equal(wanted(undefined, undefined, true), "process")
    assert.equal(wanted(undefined, undefined, false), "namespaces")
  })

  it("is kept: less than it is an error, the same or more is not", () => {
    for (const [least, level] of LEVELS.entries()) {
      for (const [most, machine] of LEVELS.entries()) {
        const check = () => checkIsolation("a", level, offered(machine))
        if (most < least) assert.throws(check, { code: "E_ISOLATION" }, `${level} on ${machine}`)
        else check()
      }
    }
  })

  it("cannot be lowered where root has no bubblewrap, and the package is named", () => {
    const isolation = offered("process", "bubblewrap is not installed: install the package bubblewrap")
    for (const level of LEVELS) {
      assert.throws(() => checkIsolation("a", level, isolation), {
        code: "E_ISOLATION",
        message: /^a: bubblewrap is not installed: install the package bubblewrap\. Started by another user than root/,
      })
    }
  })
})
