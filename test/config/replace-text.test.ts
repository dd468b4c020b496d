import assert from "node:assert/strict"
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { describe, it } from "node:test"
import { replaceText } from "../../src/config/replace-text.ts"
import { createProject } from "../support/serve.ts"

describe("replaceText", () => {
  it("keeps the mode and leaves nothing else behind", () => {
    using project = createProject({ "site.toml": "old" })
    const file = project.path("site.toml")
    chmodSync(file, 0o640)
    replaceText(file, "old", "new")
    assert.equal(readFileSync(file, "utf8"), "new")
    assert.equal(statSync(file).mode & 0o777, 0o640)
    assert.deepEqual(readdirSync(project.folder), ["site.toml"])
  })

  it("follows a link and leaves it one", () => {
    using project = createProject({ "etc/site.toml": "old" })
    symlinkSync("etc/site.toml", project.path("here.toml"))
    replaceText(project.path("here.toml"), "old", "new")
    assert.ok(lstatSync(project.path("here.toml")).isSymbolicLink())
    assert.equal(readFileSync(project.path("etc/site.toml"), "utf8"), "new")
  })

  it("leaves a file alone that somebody changed meanwhile", () => {
    using project = createProject({ "site.toml": "theirs" })
    assert.throws(() => replaceText(project.path("site.toml"), "old", "new"), { code: "E_CONFIG_EDIT" })
    assert.equal(readFileSync(project.path("site.toml"), "utf8"), "theirs")
  })

  it("says when it cannot write, and leaves nothing behind", () => {
    using project = createProject({ "site.toml": "old" })
    const file = project.path("site.toml")
    // A folder with the file's own name where the link leads: nothing can be renamed over it, not even by root.
    mkdirSync(project.path("folder"))
    assert.throws(() => replaceText(project.path("folder"), "", "new"), { code: "E_FILE_UNREADABLE" })
    assert.deepEqual(readdirSync(project.folder).sort(), ["folder", "site.toml"])
    if (process.getuid?.() === 0) return
    chmodSync(project.folder, 0o500)
    try {
      assert.throws(() => replaceText(file, "old", "new"), { code: "E_FILE_UNREADABLE" })
    } finally {
      chmodSync(project.folder, 0o700)
    }
    assert.equal(readFileSync(file, "utf8"), "old")
    writeFileSync(file, "writable again")
  })
})
