import assert from "node:assert/strict"
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, it, type TestContext } from "node:test"
import { setTimeout as delay } from "node:timers/promises"
import { FileStamps } from "../../src/plugins/file-stamps.ts"

/** Epoch seconds. */
const LONG_AGO = 1

describe("a file that was noted", () => {
  const changes: Record<string, (path: string, folder: string) => void> = {
    "written again with other text of the same length": (path) => writeFileSync(path, "b"),
    "written again, and its time set back": (path) => {
      writeFileSync(path, "b")
      utimesSync(path, LONG_AGO, LONG_AGO)
    },
    "replaced by another one": (path, folder) => {
      writeFileSync(join(folder, "other"), "a")
      renameSync(join(folder, "other"), path)
    },
    removed: (path) => rmSync(path),
    "replaced by a folder": (path) => {
      rmSync(path)
      mkdirSync(path)
    },
    "replaced by a link": (path, folder) => {
      renameSync(path, join(folder, "other"))
      writeFileSync(join(folder, "third"), "a")
      symlinkSync("third", path)
    },
  }
  for (const [what, change] of Object.entries(changes)) {
    it(`has changed when it was ${what}`, async (t) => {
      const { stamps, path, folder } = noted(t)
      // File systems tell times apart by some milliseconds.
      await delay(20)
      assert.equal(stamps.unchanged(), true)
      change(path, folder)
      assert.equal(stamps.unchanged(), false)
    })
  }

  it("has changed when what a link leads to has", (t) => {
    const folder = temporary(t)
    writeFileSync(join(folder, "target"), "a")
    symlinkSync("target", join(folder, "file"))
    const stamps = new FileStamps()
    stamps.note(join(folder, "file"))
    assert.equal(stamps.unchanged(), true)
    writeFileSync(join(folder, "target"), "longer")
    assert.equal(stamps.unchanged(), false)
  })

  it("is not changed by its neighbours", (t) => {
    const { stamps, folder } = noted(t)
    stamps.note(folder)
    writeFileSync(join(folder, "other"), "")
    assert.equal(stamps.unchanged(), true)
  })
})

describe("a path without a file", () => {
  it("has changed when there is one", (t) => {
    const folder = temporary(t)
    const stamps = new FileStamps()
    stamps.note(join(folder, "file"))
    assert.equal(stamps.unchanged(), true)
    writeFileSync(join(folder, "file"), "a")
    assert.equal(stamps.unchanged(), false)
  })

  it("is no reason to fail, however odd it is", (t) => {
    const { stamps, path } = noted(t)
    symlinkSync("loop", `${path}-loop`)
    for (const odd of [`${path}/below`, `${path}\0`, "x".repeat(5_000)]) stamps.note(odd)
    assert.equal(stamps.unchanged(), true)
  })
})

it("more paths than a plugin can have are not remembered, and count as changed", () => {
  const stamps = new FileStamps()
  for (let i = 0; i < 2_000; i++) stamps.note(`/nowhere/${i}`)
  assert.equal(stamps.unchanged(), true)
  stamps.note("/nowhere/one-more")
  assert.equal(stamps.unchanged(), false)
})

function noted(t: TestContext) {
  const folder = temporary(t)
  const path = join(folder, "file")
  writeFileSync(path, "a")
  utimesSync(path, LONG_AGO, LONG_AGO)
  const stamps = new FileStamps()
  stamps.note(path)
  return { stamps, path, folder }
}

function temporary(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "bext-stamps-"))
  t.after(() => rmSync(folder, { recursive: true }))
  return folder
}
