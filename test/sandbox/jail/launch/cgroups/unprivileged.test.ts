import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { it } from "node:test"
import { openCgroups } from "../../../../../src/sandbox/jail/launch/cgroups/open-cgroups.ts"
import { CLOSED } from "../../../../support/closed-checkout.ts"

const groups = await openCgroups()
await groups[Symbol.asyncDispose]()
const skip = process.geteuid?.() !== 0 ? "another user takes root to become" : (groups.reason ?? CLOSED)

it("control groups of root are not used by somebody else, with the reason and what to do", { skip }, () => {
  const nobody = { uid: 65534, gid: 65534 }
  const { stdout, stderr } = spawnSync(process.execPath, [join(import.meta.dirname, "machine/where.ts")], {
    ...nobody,
    env: {},
    cwd: "/",
    encoding: "utf8",
    timeout: 60_000,
  })
  assert.match(stdout, /^found /, stderr)
  const { version, reason } = JSON.parse(stdout.slice("found ".length))
  assert.equal(version, "none")
  assert.match(
    reason,
    /bext may not make or change control groups in \/.*: run it as root, or where version 2 is delegated/,
  )
})
