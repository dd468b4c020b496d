import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

describe("a server that sends a byte at a time", () => {
  it("costs a plugin's fetch the bytes it sends, not a hundred times as many", async () => {
    const child = fileURLToPath(new URL("./children/fetch-crumbs.ts", import.meta.url))
    const { stdout } = await promisify(execFile)(process.execPath, ["--max-old-space-size=128", child])
    assert.equal(stdout.trim(), "8000000")
  })
})
