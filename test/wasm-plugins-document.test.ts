import assert from "node:assert/strict"
import { readFileSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import { describe, it } from "node:test"
import { runBext, temporaryFolder } from "./cli/run-bext.ts"
import { COMPILED_LANGUAGES, runInShell } from "./support/compiled-plugin.ts"
import { missing } from "./support/programs.ts"
import { serveChild } from "./support/serve.ts"

const text = readFileSync(new URL("../docs/wasm-plugins.md", import.meta.url), "utf8")

describe("docs/wasm-plugins.md", () => {
  for (const compiled of COMPILED_LANGUAGES) {
    const { language, title, programs, code } = compiled
    it(`has a plugin in ${title} that its command builds and that does what it says`, {
      skip: missing(...programs),
    }, async (t) => {
      const cwd = temporaryFolder(t)
      writeFileSync(join(cwd, "bext.config.toml"), SERVER)
      const init = await runBext(["plugin", "init", "hello", "--language", language], { cwd })
      assert.equal(init.code, 0, init.err)
      const folder = join(cwd, "plugins/hello")
      writeFileSync(join(folder, code), plugin(title, basename(code)))
      const built = await runInShell(buildCommand(title), folder, compiled)
      assert.equal(built.code, 0, built.out + built.err)

      writeFileSync(join(cwd, "bext.config.toml"), `${SERVER}\n${block("toml", "# bext.config.toml")}`)
      await using server = await serveChild([], { folder: cwd })
      const statuses: number[] = []
      for (let i = 0; i < 3; i++) statuses.push((await fetch(`${server.url}/plugins/hello/plugin.toml`)).status)
      assert.deepEqual(statuses, [200, 200, 429])
      const refused = await fetch(server.url)
      assert.equal(refused.headers.get("retry-after"), "60")
      assert.equal(await refused.text(), "slow down\n")
      assert.match(server.output(), /too many requests/)
    })
  }

  it("has the commands that the READMEs of new plugins have", async (t) => {
    for (const { language, title } of COMPILED_LANGUAGES) {
      const cwd = temporaryFolder(t)
      await runBext(["plugin", "init", "hello", "--language", language], { cwd })
      const readme = readFileSync(join(cwd, "hello/README.md"), "utf8")
      assert.ok(readme.includes(`\n${buildCommand(title)}\n`), title)
    }
  })
})

const SERVER = `[server]
listen = "127.0.0.1:0"
[app]
static = "."
[admin]
listen = "off"
`

/** What follows "Go, `main.go`:". */
function plugin(title: string, file: string): string {
  const start = text.indexOf(`\n${title}, \`${file}\`:\n`)
  assert.notEqual(start, -1, `no code in ${title}`)
  return /```\w+\n(.*?\n)```/s.exec(text.slice(start))![1]!
}

function block(language: string, beginning: string): string {
  const start = text.indexOf(`\`\`\`${language}\n${beginning}`)
  assert.notEqual(start, -1)
  return /```\w+\n(.*?\n)```/s.exec(text.slice(start))![1]!
}

/** The last cell of the language's row. */
function buildCommand(title: string): string {
  const row = new RegExp(`^\\| ${title} \\| .* \\| \`(.*)\` \\|$`, "m").exec(text)
  assert.ok(row, `no command for ${title}`)
  return row[1]!
}
