import assert from "node:assert/strict"
import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, it, type TestContext } from "node:test"
import { FileStamps } from "../../src/plugins/file-stamps.ts"
import { treeStampOf } from "../../src/plugins/tree-stamp.ts"

function tree(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "bext-tree-"))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  mkdirSync(join(folder, "lib/inner"), { recursive: true })
  writeFileSync(join(folder, "main.py"), "a")
  writeFileSync(join(folder, "lib/inner/words"), "a")
  symlinkSync("main.py", join(folder, "link"))
  return folder
}

describe("a folder that was noted", () => {
  const changes: Record<string, (folder: string) => void> = {
    "a file deep in it was written": (folder) => writeFileSync(join(folder, "lib/inner/words"), "b"),
    "a file was written, and its time set back": (folder) => {
      writeFileSync(join(folder, "main.py"), "b")
      utimesSync(join(folder, "main.py"), 1, 1)
    },
    "a file was added": (folder) => writeFileSync(join(folder, "lib/new"), ""),
    "an empty folder was added": (folder) => mkdirSync(join(folder, "lib/new")),
    "a file is gone": (folder) => rmSync(join(folder, "lib/inner/words")),
    "a file has another name": (folder) => renameSync(join(folder, "main.py"), join(folder, "other.py")),
    "a file may be executed": (folder) => chmodSync(join(folder, "main.py"), 0o755),
    "a link leads elsewhere": (folder) => {
      rmSync(join(folder, "link"))
      symlinkSync("lib", join(folder, "link"))
    },
    "it is gone": (folder) => rmSync(folder, { recursive: true }),
  }
  for (const [what, change] of Object.entries(changes)) {
    it(`has changed when ${what}`, (t) => {
      const folder = tree(t)
      const stamps = new FileStamps()
      stamps.noteTree(folder)
      assert.equal(stamps.unchanged(), true)
      change(folder)
      assert.equal(stamps.unchanged(), false)
    })
  }

  it("has not changed by what tools put there, nor by what a link leads out to", (t) => {
    const folder = tree(t)
    const outside = tree(t)
    symlinkSync(outside, join(folder, "outside"))
    symlinkSync(folder, join(folder, "itself"))
    const before = treeStampOf(folder)
    assert.notEqual(before, null)
    for (const name of [".git", "node_modules", "__pycache__", ".venv", "venv"]) {
      mkdirSync(join(folder, "lib", name))
      writeFileSync(join(folder, "lib", name, "file"), "")
    }
    writeFileSync(join(outside, "main.py"), "b")
    assert.equal(treeStampOf(folder), before)
  })

  it("with more files than a plugin has is never known to be unchanged", (t) => {
    const folder = tree(t)
    for (let index = 0; index < 2_000; index++) writeFileSync(join(folder, `file${index}`), "")
    assert.equal(treeStampOf(folder), null)
    const stamps = new FileStamps()
    stamps.noteTree(folder)
    assert.equal(stamps.unchanged(), false)
  })

  it("that goes deeper than anybody looks is never known to be unchanged", (t) => {
    const folder = tree(t)
    mkdirSync(join(folder, ...Array.from({ length: 40 }, () => "deeper")), { recursive: true })
    assert.equal(treeStampOf(folder), null)
  })
})
