import assert from "node:assert/strict"
import { writeFileSync } from "node:fs"
import { describe, it } from "node:test"
import { createProject, serveChild } from "../support/serve.ts"
import { runBext } from "./run-bext.ts"

const MANIFEST = '[manifest]\nname = "hello"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n'
const greet = (word: string) => `export const onRequest = () => new Response("${word}")\n`

const config = (more = "") =>
  `[server]\nlisten = "127.0.0.1:0"\n[log]\nformat = "json"\naccess = false\n[plugins.hello]\n${more}`

describe("bext serve --watch", () => {
  for (const processes of [1, 2]) {
    it(`takes over changed plugins and settings, and nothing that is wrong, with ${processes === 1 ? "one process" : "two processes"}`, async () => {
      using project = createProject({
        "bext.config.toml": config(),
        "plugins/hello/plugin.toml": MANIFEST,
        "plugins/hello/index.js": greet("one"),
      })
      await using site = await serveChild(["--watch"], { folder: project.folder, processes })
      const answer = async () => (await fetch(site.url)).text()
      const answers = async (expected: string) => {
        // Every process took it over, or none: one answer is as good as many.
        while ((await answer()) !== expected) await new Promise((done) => setTimeout(done, 20))
      }
      assert.equal(await answer(), "one")
      writeFileSync(project.path("plugins/hello/index.js"), greet("two"))
      await answers("two")
      writeFileSync(project.path("bext.config.toml"), "[server\n")
      while (!site.output().includes('"by":"watch","code":"E_CONFIG_INVALID"')) await answers("two")
      writeFileSync(project.path("bext.config.toml"), config('match = [{ path = "/only" }]\n'))
      while ((await fetch(site.url)).status !== 404) await new Promise((done) => setTimeout(done, 20))
      assert.equal(await site.end("SIGTERM"), 0)
    })
  }

  it("is refused where there is no configuration to watch", async () => {
    const { code, err } = await runBext(["serve", "--watch", "--static", "."])
    assert.equal(code, 2)
    assert.match(err, /--watch is for a configuration/)
  })
})
