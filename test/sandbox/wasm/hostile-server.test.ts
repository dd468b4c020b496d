import assert from "node:assert/strict"
import { it } from "node:test"
import { ERRORS } from "../../../src/errors.ts"
import { HOSTILE_MODULES } from "../../fixtures/guests/hostile-modules.ts"
import { serve } from "../../support/serve.ts"
import { toWasm } from "../metering/support.ts"
import { COUNTING_MODULE } from "./counting-module.ts"

it("hostile modules of one server, attacking together, end with codes while another plugin forgets nothing", async () => {
  const names = Object.keys(HOSTILE_MODULES)
  const files: Record<string, string | Uint8Array> = { ...plugin("neighbour", COUNTING_MODULE) }
  const sections = ['[plugins.neighbour]\nmatch = [{ path = "/neighbour" }]']
  for (const [index, { text }] of Object.values(HOSTILE_MODULES).entries()) {
    Object.assign(files, plugin(`hostile-${index}`, toWasm(text)))
    sections.push(`[plugins.hostile-${index}]\nmatch = [{ path = "/hostile-${index}" }]`)
  }
  const config = `[app]\nstatic = "public"\n${sections.join("\n")}\n`
  await using server = await serve(config, files)

  let attacking = true
  const attacks = Promise.all(
    names.map(async (name, index) => {
      for (let i = 0; i < 2; i++) {
        const response = await fetch(`${server.url}/hostile-${index}`, { method: "POST", body: "body" })
        const text = await response.text()
        if (response.status < 500) continue
        const { code } = JSON.parse(text) as { code: string }
        assert.ok(code in ERRORS && code !== "E_INTERNAL", `${name}: ${response.status} ${code}`)
      }
      const calm = await fetch(`${server.url}/hostile-${index}`)
      await calm.body?.cancel()
      assert.ok(calm.status < 500, `${name}: ${calm.status} without an attack`)
    }),
  ).finally(() => {
    attacking = false
  })
  const neighbour = async () => {
    for (let calls = 1; attacking || calls < 10; calls++) {
      const response = await fetch(`${server.url}/neighbour`)
      await response.body?.cancel()
      assert.equal(response.status, 210 + (calls % 80))
    }
  }
  await Promise.all([attacks, neighbour()])
})

function plugin(name: string, module: Uint8Array): Record<string, string | Uint8Array> {
  const manifest = `[manifest]\nname = "${name}"\nversion = "1.0.0"\ncapabilities = ["middleware"]`
  return {
    [`plugins/${name}/plugin.toml`]: `${manifest}\n[sandbox]\ntype = "wasm"\nbody = "request"\n`,
    [`plugins/${name}/plugin.wasm`]: module,
  }
}
