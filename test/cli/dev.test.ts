import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, it, type TestContext } from "node:test"
import { createProject, type Project } from "../support/serve.ts"
import { runBext, temporaryFolder } from "./run-bext.ts"

const ENTRY = join(import.meta.dirname, "../../src/cli/bext.ts")

const MANIFEST = '[manifest]\nname = "hello"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n'
const greet = (word: string) => `export const onRequest = () => new Response("${word}")\n`

function project(t: TestContext, more: Record<string, string> = {}): Project {
  const made = createProject({
    "bext.config.toml": "[plugins.hello]\n",
    "plugins/hello/plugin.toml": MANIFEST,
    "plugins/hello/index.js": greet("one"),
    ...more,
  })
  t.after(() => made[Symbol.dispose]())
  return made
}

/** `bext dev` in a process of its own. */
function dev(t: TestContext, { folder }: Project) {
  const child = spawn(process.execPath, [ENTRY, "dev"], {
    cwd: folder,
    env: { PATH: process.env.PATH, PORT: "0" },
    stdio: ["ignore", "pipe", "pipe"],
  })
  t.after(() => child.kill("SIGKILL"))
  let output = ""
  let wake = () => {}
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text
      wake()
    })
  }
  const exited = once(child, "exit")
  let seen = 0
  /** Waits for new output that matches. */
  const says = async (expected: RegExp): Promise<string> => {
    for (;;) {
      const match = expected.exec(output.slice(seen))
      if (match !== null) {
        seen += match.index + match[0].length
        return match[0]
      }
      await new Promise<void>((done) => {
        wake = done
      })
    }
  }
  const get = async (path = "/") => {
    const url = [...output.matchAll(/listens on (http:\S+)/g)].at(-1)![1]!
    return (await fetch(url + path)).text()
  }
  const stop = async () => {
    child.kill("SIGINT")
    return (await exited)[0] as number | null
  }
  return { says, get, stop, output: () => output }
}

describe("bext dev", { concurrency: 2 }, () => {
  it("takes over changed plugins, however an editor writes them, and ends well", async (t) => {
    const site = project(t)
    const server = dev(t, site)
    await server.says(/listens on .* watches bext\.config\.toml and 1 plugin;/)
    assert.equal(await server.get(), "one")
    writeFileSync(site.path("plugins/hello/index.js"), greet("two"))
    await server.says(/loaded hello: plugins\/hello\/index\.js changed, in \d+ ms/)
    assert.equal(await server.get(), "two")
    writeFileSync(site.path("plugins/hello/.index.js.swp"), greet("three"))
    renameSync(site.path("plugins/hello/.index.js.swp"), site.path("plugins/hello/index.js"))
    await server.says(/loaded hello/)
    assert.equal(await server.get(), "three")
    assert.equal(await server.stop(), 0)
  })

  it("shows a mistake with its line, goes on serving, and says when it is fixed", async (t) => {
    const site = project(t)
    const server = dev(t, site)
    await server.says(/listens on/)
    writeFileSync(site.path("plugins/hello/index.js"), "export const a = 1\nexport const onRequest = ( => 1\n")
    await server.says(/error E_PLUGIN_LOAD_FAILED: hello: .*index\.js:2:\d+/)
    await server.says(/plugins\/hello\/index\.js:2:\d+\n +2 \| export const onRequest = \( => 1\n +\| +\^/)
    await server.says(/the version before goes on serving/)
    assert.equal(await server.get(), "one")
    writeFileSync(site.path("plugins/hello/index.js"), greet("two"))
    await server.says(/fixed: loaded hello/)
    assert.equal(await server.get(), "two")

    writeFileSync(site.path("bext.config.toml"), "[plugin.hello]\n")
    await server.says(
      /bext\.config\.toml:1:2 {2}plugin: unknown key\n +1 \| \[plugin\.hello\]\n +\| +\^+\n +did you mean plugins\?/,
    )
    assert.equal(await server.get(), "two")
    writeFileSync(site.path("bext.config.toml"), "[plugins.hello]\n[plugins.hello.config]\n")
    await server.says(/fixed: /)
    assert.equal(await server.get(), "two")
  })

  it("notices plugins that are deleted, made again, added and removed", async (t) => {
    const site = project(t)
    const server = dev(t, site)
    await server.says(/listens on/)
    rmSync(site.path("plugins"), { recursive: true })
    await server.says(/E_PLUGIN_NOT_FOUND[\s\S]*goes on serving/)
    assert.equal(await server.get(), "one")
    mkdirSync(site.path("plugins/hello"), { recursive: true })
    writeFileSync(site.path("plugins/hello/plugin.toml"), MANIFEST)
    writeFileSync(site.path("plugins/hello/index.js"), greet("back"))
    await server.says(/fixed: loaded hello/)
    assert.equal(await server.get(), "back")
    writeFileSync(site.path("one.js"), greet("from one file"))
    writeFileSync(site.path("bext.config.toml"), '[plugins.single]\npath = "one.js"\n')
    await server.says(/loaded single, removed hello/)
    assert.equal(await server.get(), "from one file")
    writeFileSync(site.path("one.js"), greet("changed"))
    await server.says(/loaded single: one\.js changed/)
    assert.equal(await server.get(), "changed")
  })

  it("starts with a mistake, waits, and serves once it is gone", async (t) => {
    const site = project(t, { "bext.config.toml": "[plugins.hello]\nenable = true\n" })
    const server = dev(t, site)
    await server.says(/enable: unknown key[\s\S]*waiting for a change/)
    writeFileSync(site.path("bext.config.toml"), "[plugins.hello]\n")
    await server.says(/listens on/)
    assert.equal(await server.get(), "one")
    assert.equal(await server.stop(), 0)
  })

  it("starts again for what only a new server can change", async (t) => {
    const site = project(t)
    const server = dev(t, site)
    await server.says(/listens on/)
    writeFileSync(site.path("bext.config.toml"), '[server]\ngrace = "1s"\n[plugins.hello]\n')
    await server.says(/starting again: .*server[\s\S]*listens on/)
    assert.equal(await server.get(), "one")
  })

  it("grants plugins of the project what they ask for and says so; prints what they log for people", async (t) => {
    const site = project(t, {
      "plugins/hello/plugin.toml": `${MANIFEST}[permissions]\nrewrite_path = true\n`,
      "plugins/hello/index.js":
        'export function onRequest(ctx) { console.log("seen", { path: ctx.path }); ctx.request.setPath("/x"); return new Response("allowed") }',
    })
    const server = dev(t, site)
    await server.says(/hello is a folder of this project and was granted what it asks for/)
    await server.says(/listens on/)
    assert.equal(await server.get("/y"), "allowed")
    await server.says(/INFO: seen \{ ?path: "\/y" ?\}/)
    const serve = await runBext(["check"], { cwd: site.folder })
    assert.match(serve.err, /E_GRANT_MISSING/)
  })

  it("says how to begin where there is no configuration", async (t) => {
    const cwd = temporaryFolder(t)
    const { code, err } = await runBext(["dev"], { cwd })
    assert.equal(code, 1)
    assert.match(err, /E_CONFIG_NOT_FOUND: there is no file .*; bext init writes one/)
    assert.ok(!existsSync(join(cwd, ".bext")))
  })

  it("follows what plugin install writes while it runs", async (t) => {
    const site = project(t)
    const server = dev(t, site)
    await server.says(/listens on/)
    const { code } = await runBext(["plugin", "install", "security-headers"], { cwd: site.folder })
    assert.equal(code, 0)
    await server.says(/loaded security-headers: bext\.config\.toml changed/)
    assert.match(
      readFileSync(site.path("bext.config.toml"), "utf8"),
      /^\[plugins\.hello\]\n\n\[plugins\.security-headers\]\n/,
    )
  })
})
