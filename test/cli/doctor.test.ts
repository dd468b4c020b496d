import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { join } from "node:path"
import { describe, it } from "node:test"
import { probeIsolation } from "../../src/create-tiers.ts"
import { CLOSED } from "../support/closed-checkout.ts"
import { AS_NOBODY, WITHOUT_BUBBLEWRAP } from "./machines.ts"
import { runBext } from "./run-bext.ts"

const ENTRY = join(import.meta.dirname, "../../src/cli/bext.ts")
const { level } = await probeIsolation()
const isRoot = process.geteuid?.() === 0
const needsRoot = (!isRoot || level !== "full") && "needs root, bubblewrap and cgroups"

function doctorIn(...words: string[]): Promise<{ code: number | null; out: string }> {
  const [program = "", ...args] = [...words, process.execPath, ENTRY, "doctor"]
  return new Promise((done) => {
    const env = { PATH: process.env.PATH, NODE_DISABLE_COMPILE_CACHE: "1" }
    const child = execFile(program, args, { cwd: "/", env, timeout: 60_000 }, (_error, out) =>
      done({ code: child.exitCode, out }),
    )
  })
}

describe("what bext doctor says of the isolation of programs", { concurrency: 2 }, () => {
  it("is what the server's own launcher finds", async () => {
    const { code, out } = await runBext(["doctor"])
    assert.equal(code, 0)
    assert.match(
      out,
      new RegExp(`^${level === "full" ? "ok  " : "warn"} +programs \\(nsjail\\) +isolation level ${level}: `, "m"),
    )
  })

  it("as nobody: the level without cgroups, and what is missing", { skip: needsRoot || CLOSED }, async () => {
    const { code, out } = await doctorIn(...AS_NOBODY)
    assert.equal(code, 0)
    assert.match(out, /^warn +programs \(nsjail\) +isolation level namespaces: .*; as this user/m)
    assert.match(out, /^ {20,}.*memory, processes and CPU of a program.* as a whole/m)
    assert.match(out, /^ {20,}plugins with min_isolation = "full" do not load; others do$/m)
  })

  it("as root without bubblewrap: the package, and that no program loads", { skip: needsRoot }, async () => {
    const { code, out } = await doctorIn(...WITHOUT_BUBBLEWRAP)
    assert.equal(code, 0)
    assert.match(out, /^warn +programs \(nsjail\) +isolation level process: .*; as root/m)
    assert.match(out, /^ {20,}bubblewrap is not installed: install the package bubblewrap$/m)
    assert.match(out, /^ {20,}as long as bext is started by root, .* do not load \(E_ISOLATION\)$/m)
  })

  it("as nobody without bubblewrap: that programs have to be trusted", { skip: needsRoot || CLOSED }, async () => {
    const { code, out } = await doctorIn(...WITHOUT_BUBBLEWRAP, ...AS_NOBODY)
    assert.equal(code, 0)
    assert.match(
      out,
      /^warn +programs \(nsjail\) +isolation level process: no isolation but resource limits; as this user/m,
    )
    assert.match(out, /min_isolation = "process": can you trust them\?$/m)
  })
})
