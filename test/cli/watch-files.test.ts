import assert from "node:assert/strict"
import { mkdirSync, renameSync, rmSync, unlinkSync, writeFileSync } from "node:fs"
import { relative } from "node:path"
import { describe, it } from "node:test"
import { FileWatcher } from "../../src/cli/watch-files.ts"
import { createProject, type Project } from "../support/serve.ts"

/** A watcher whose reports are awaited one after the other. */
function watching(project: Project, paths: readonly string[]) {
  const reports: string[][] = []
  let wake = () => {}
  const watcher = new FileWatcher((files) => {
    reports.push(files.map((file) => relative(project.folder, file)).sort())
    wake()
  })
  watcher.watch(paths.map((path) => project.path(path)))
  return {
    watcher,
    async next(): Promise<string[]> {
      while (reports.length === 0) await new Promise<void>((done) => (wake = done))
      return reports.shift()!
    },
    [Symbol.dispose]: () => watcher[Symbol.dispose](),
  }
}

describe("FileWatcher", () => {
  it("reports a file that is written, renamed over, deleted and made again", async () => {
    using project = createProject({ "site.toml": "1", "other.txt": "" })
    using files = watching(project, ["site.toml"])
    writeFileSync(project.path("other.txt"), "not watched")
    writeFileSync(project.path("site.toml"), "22")
    assert.deepEqual(await files.next(), ["site.toml"])
    writeFileSync(project.path("site.toml~"), "333")
    renameSync(project.path("site.toml~"), project.path("site.toml"))
    assert.deepEqual(await files.next(), ["site.toml"])
    unlinkSync(project.path("site.toml"))
    assert.deepEqual(await files.next(), ["site.toml"])
    writeFileSync(project.path("site.toml"), "4")
    assert.deepEqual(await files.next(), ["site.toml"])
  })

  it("reports everything in a folder, new folders too, in one go, and leaves out packages and hidden files", async () => {
    using project = createProject({
      "plugin/src/index.js": "",
      "plugin/node_modules/x/index.js": "",
      "plugin/.git/HEAD": "",
    })
    using files = watching(project, ["plugin"])
    writeFileSync(project.path("plugin/node_modules/x/index.js"), "changed")
    writeFileSync(project.path("plugin/.git/HEAD"), "changed")
    mkdirSync(project.path("plugin/src/new"))
    for (const name of ["a", "b", "c"]) writeFileSync(project.path(`plugin/src/new/${name}.js`), name)
    writeFileSync(project.path("plugin/src/index.js"), "changed")
    const expected = ["plugin/src/index.js", ...["a", "b", "c"].map((name) => `plugin/src/new/${name}.js`)]
    assert.deepEqual(await files.next(), expected)
    writeFileSync(project.path("plugin/src/new/a.js"), "again")
    assert.deepEqual(await files.next(), ["plugin/src/new/a.js"])
  })

  it("waits for what is not there yet, and for what went away", async () => {
    using project = createProject({ "plugins/one/index.js": "" })
    using files = watching(project, ["plugins/one", "plugins/two"])
    mkdirSync(project.path("plugins/two"))
    writeFileSync(project.path("plugins/two/index.js"), "")
    assert.ok((await files.next()).includes("plugins/two/index.js"))
    rmSync(project.path("plugins"), { recursive: true })
    assert.ok((await files.next()).includes("plugins/one/index.js"))
    mkdirSync(project.path("plugins/one"), { recursive: true })
    writeFileSync(project.path("plugins/one/index.js"), "back")
    assert.ok((await files.next()).includes("plugins/one/index.js"))
  })

  it("does not forget a change when it is told to watch something else as well", async () => {
    using project = createProject({ "a.toml": "", "b.toml": "" })
    using files = watching(project, ["a.toml"])
    writeFileSync(project.path("a.toml"), "changed")
    files.watcher.watch([project.path("a.toml"), project.path("b.toml")])
    assert.deepEqual(await files.next(), ["a.toml"])
  })
})
