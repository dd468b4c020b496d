import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { describe, it } from "node:test"
import { serve } from "./support/serve.ts"

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8")

describe("README.md", () => {
  it("shows a whole plugin that works as it stands", async () => {
    const blocks = Array.from(readme.matchAll(/^```\w+\n(?:\/\/|#) (\S+)\n(.*?)^```/gms))
    const files = Object.fromEntries(blocks.map(([, file, text]) => [file!, text!]))
    await using site = await serve(files["bext.config.toml"]!, files)
    assert.equal(await textOf(`${site.url}/hello?name=Ada`), "Hello, Ada")
    assert.equal(await textOf(`${site.url}/hello`), "Hello, world")
    assert.equal(await textOf(site.url), "<h1>home</h1>")
  })
})

async function textOf(url: string): Promise<string> {
  return (await fetch(url)).text()
}
