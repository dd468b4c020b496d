import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { text } from "node:stream/consumers"
import { describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { CLOSED } from "../../../support/closed-checkout.ts"
import { NOT_ROOT } from "./launchers.ts"

/** Run by an ordinary user, the suite has them as they are. */
const FILES = ["jail-view", "launching", "ending", "process-level", "inherited"]

const ORDINARY = { uid: 65534, gid: 65534 }

describe("started by an ordinary user", { skip: NOT_ROOT || CLOSED }, () => {
  for (const name of FILES) {
    it(`jails are as ${name}.test.ts says`, async () => {
      const file = fileURLToPath(new URL(`${name}.test.ts`, import.meta.url))
      // With the variable, its results would be those of this runner.
      const { NODE_TEST_CONTEXT: _, ...env } = process.env
      const child = spawn(process.execPath, ["--test-reporter=tap", file], {
        ...ORDINARY,
        cwd: "/",
        env,
        stdio: ["ignore", "pipe", "pipe"],
      })
      const [said, complained, [code]] = await Promise.all([
        text(child.stdout),
        text(child.stderr),
        once(child, "exit"),
      ])
      assert.equal(code, 0, `${failuresIn(said)}\n${complained}`)
      assert.match(said, /^# pass [1-9]/m)
    })
  }
})

function failuresIn(tap: string): string {
  const from = tap.search(/^\s*not ok/m)
  return from === -1 ? "" : tap.slice(from, from + 2000)
}
