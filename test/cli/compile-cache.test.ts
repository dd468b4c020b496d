import assert from "node:assert/strict"
import { chmodSync, chownSync, mkdirSync, readdirSync, statSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { runBext, temporaryFolder } from "./run-bext.ts"

const HELP = ["--help"]

test("compiled modules are kept in a folder of this user's own", async (t) => {
  const cache = temporaryFolder(t)
  assert.equal((await runBext(HELP, { env: { XDG_CACHE_HOME: cache } })).code, 0)
  const folder = join(cache, "bext", "compiled")
  assert.equal(statSync(folder).mode & 0o777, 0o700)
  assert.notEqual(readdirSync(folder).length, 0)
})

test("no code is taken from a folder that others can write to", async (t) => {
  const cache = temporaryFolder(t)
  const folder = join(cache, "bext", "compiled")
  mkdirSync(folder, { recursive: true })
  chmodSync(folder, 0o777)
  assert.equal((await runBext(HELP, { env: { XDG_CACHE_HOME: cache } })).code, 0)
  assert.deepEqual(readdirSync(folder), [])
})

test("no code is taken from below a folder in which others could put another one in its place", async (t) => {
  for (const level of [".", "bext"]) {
    const cache = temporaryFolder(t)
    const folder = join(cache, "bext", "compiled")
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    chmodSync(join(cache, level), 0o777)
    assert.equal((await runBext(HELP, { env: { XDG_CACHE_HOME: cache } })).code, 0)
    assert.deepEqual(readdirSync(folder), [], level)
  }
})

test("a root that has another user's home leaves nothing in it", { skip: process.getuid?.() !== 0 }, async (t) => {
  const cache = temporaryFolder(t)
  chownSync(cache, 65_534, 65_534)
  assert.equal((await runBext(HELP, { env: { XDG_CACHE_HOME: cache } })).code, 0)
  assert.deepEqual(readdirSync(cache), [])
})

test("a home that cannot be written to is no reason not to start", async () => {
  assert.equal((await runBext(HELP, { env: { XDG_CACHE_HOME: "/proc/no-such" } })).code, 0)
})
