import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { describe, it } from "node:test"

const SCRIPT = `
import { registerHooks } from "node:module"
registerHooks({ load(url, context, next) { console.log(url); return next(url, context) } })
await import(${JSON.stringify(import.meta.resolve("../../src/cli/serve.ts"))})
`

describe("the supervisor", () => {
  it("loads neither a sandbox nor a store nor an HTTP client", () => {
    const loaded = execFileSync(process.execPath, ["--input-type=module", "-e", SCRIPT], { encoding: "utf8" })
    assert.match(loaded, /src\/processes\/supervisor\.ts/)
    assert.doesNotMatch(
      loaded,
      /create-server|\/sandbox\/|\/load-plugin|hook-runner|quickjs|node_modules\/(lmdb|undici|jose)\//,
    )
  })
})
