import assert from "node:assert/strict"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, it } from "node:test"
import { setTimeout as pause } from "node:timers/promises"
import { open } from "lmdb"
import { LmdbEnvironment } from "../../src/state/lmdb-environment.ts"

describe("LMDB environment", () => {
  it("finds a commit that LMDB had counted already when it could not be read yet", async (t) => {
    const dir = mkdtempSync(join(tmpdir(), "bext-environment-"))
    t.after(() => rmSync(dir, { recursive: true, force: true }))
    const root = open<Buffer, Buffer>({
      path: join(dir, "state"),
      maxDbs: 2,
      encoding: "binary",
      keyEncoding: "binary",
      separateFlushed: true,
    })
    // The count that a process sees between LMDB's two steps: that of a commit that comes after its first look.
    t.mock.method(root, "getStats", () => ({ lastTxnId: 1_000 }))
    await using environment = new LmdbEnvironment(root, dir, { error: (_detail, message) => assert.fail(message) })
    const values = environment.database("values")
    const key = Buffer.from("key")
    let seen = "nothing yet"
    environment.onCommit(() => {
      seen = values.get(key)?.toString() ?? "looked, not there"
    })
    while (seen === "nothing yet") await pause(5)
    // It looks on for a second after a new count.
    await pause(1_200)
    await environment.batch(() => void values.put(key, Buffer.from("committed")))
    for (const endMs = performance.now() + 20_000; seen !== "committed" && performance.now() < endMs; ) await pause(20)
    assert.equal(seen, "committed")
  })

  it("tells once that what others committed cannot be read, looks again, and does not end the process", async (t) => {
    const dir = mkdtempSync(join(tmpdir(), "bext-environment-"))
    t.after(() => rmSync(dir, { recursive: true, force: true }))
    const root = open<Buffer, Buffer>({
      path: join(dir, "state"),
      maxDbs: 2,
      encoding: "binary",
      keyEncoding: "binary",
    })
    const logged: string[] = []
    await using environment = new LmdbEnvironment(root, dir, { error: (_detail, message) => logged.push(message) })
    let looks = 0
    environment.onCommit(() => {
      looks++
      throw new Error("an input/output error")
    })
    while (looks < 3) await pause(5)
    assert.equal(logged.length, 1)
    assert.match(logged[0]!, /cannot read what others committed .*an input\/output error \[E_STATE_UNAVAILABLE\]$/)
  })
})
