import assert from "node:assert/strict"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, it } from "node:test"
import { readCatalogue } from "../../src/registry/catalogue.ts"
import { serve } from "../support/serve.ts"

describe("READMEs of first-party plugins", () => {
  for (const { name, folder } of readCatalogue().values()) {
    const file = join(folder, "README.md")
    if (!existsSync(file)) continue
    it(`${name}: the example is one that loads`, async () => {
      const blocks = [...readFileSync(file, "utf8").matchAll(/^```toml\n(.*?)^```$/gms)].map(([, text]) => text!)
      assert.equal(blocks.length, 1)
      await using served = await serve(blocks[0]!)
      assert.equal((await fetch(`${served.url}/absent`)).status, 404)
    })
  }
})
